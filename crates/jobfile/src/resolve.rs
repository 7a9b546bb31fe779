//! A container and the pod it is in → what `execve` takes. `$(VAR)` as Kubernetes expands it.

use std::collections::BTreeMap;

use crate::job::{Container, EnvSource, ResourceField};

const INDEX: &str = "JOB_COMPLETION_INDEX";

/// What a container may ask about its pod and node.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub node: String,
    pub service_account: String,
    /// Of an Indexed job.
    pub completion_index: Option<u32>,
    /// What a container without a limit can use.
    pub node_millicores: u64,
    pub node_memory_bytes: u64,
}

/// Ready to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Never empty.
    pub argv: Vec<String>,
    /// Added to what the executor passes on; later ones win.
    pub env: Vec<(String, String)>,
    pub working_dir: Option<String>,
}

impl Container {
    pub fn resolve(&self, pod: &PodFacts) -> Invocation {
        let mut env: Vec<(String, String)> = Vec::with_capacity(self.env.len() + 1);
        for var in &self.env {
            let value = match &var.source {
                EnvSource::Value(text) => expand(text, &env),
                source => fact(source, pod),
            };
            match env.iter_mut().find(|(name, _)| *name == var.name) {
                Some((_, earlier)) => *earlier = value,
                None => env.push((var.name.clone(), value)),
            }
        }
        // Last and only where it is not given, as the Job controller does: commands can refer to it, variables cannot.
        if let Some(index) = pod.completion_index
            && !env.iter().any(|(name, _)| name == INDEX)
        {
            env.push((INDEX.to_owned(), index.to_string()));
        }
        let argv = self.argv.iter().map(|word| expand(word, &env)).collect();
        Invocation { argv, env, working_dir: self.working_dir.clone() }
    }
}

fn fact(source: &EnvSource, pod: &PodFacts) -> String {
    match source {
        EnvSource::Value(text) => text.clone(),
        EnvSource::PodName => pod.name.clone(),
        EnvSource::PodNamespace => pod.namespace.clone(),
        EnvSource::PodUid => pod.uid.clone(),
        EnvSource::PodLabel(key) => pod.labels.get(key).cloned().unwrap_or_default(),
        EnvSource::PodAnnotation(key) => pod.annotations.get(key).cloned().unwrap_or_default(),
        EnvSource::NodeName => pod.node.clone(),
        EnvSource::ServiceAccountName => pod.service_account.clone(),
        EnvSource::Address => "127.0.0.1".to_owned(),
        EnvSource::Resource { of, field, divisor } => {
            let amount = match field {
                ResourceField::CpuLimit => of.cpu_limit_millicores.unwrap_or(pod.node_millicores),
                ResourceField::CpuRequest => of.cpu_request_millicores.unwrap_or(0),
                ResourceField::MemoryLimit => of.memory_limit_bytes.unwrap_or(pod.node_memory_bytes),
                ResourceField::MemoryRequest => of.memory_request_bytes.unwrap_or(0),
            };
            amount.div_ceil((*divisor).max(1)).to_string()
        }
    }
}

/// `$(NAME)` becomes the variable's value and stays as it is where there is none; `$$` becomes `$`.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.iter().find(|(have, _)| have == name) {
                Some((_, value)) => expanded.push_str(value),
                None => {
                    expanded.push_str("$(");
                    expanded.push_str(name);
                    expanded.push(')');
                }
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        expand(text, &[("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())])
    }

    /// Cases of Kubernetes' own `third_party/forked/golang/expansion` tests.
    #[test]
    fn variables_are_expanded_as_kubernetes_does_it() {
        for (text, expected) in [
            ("$(A)", "1"),
            ("___$(A)___$(B)$(EMPTY)!", "___1___$(B)!"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(A", "$(A"),
            ("$A $", "$A $"),
            ("f000-$$VAR", "f000-$VAR"),
            ("$()", "$()"),
            ("ü$ü(A)", "ü$ü(A)"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }
}
