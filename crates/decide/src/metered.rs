//! Which pods are jobs: the one rule by which agent and coordinator choose what to meter.

use std::collections::BTreeSet;

use jobmeter_protocol::{ApiPod, OwnerRef, RestartPolicy};

use crate::selector::Selector;

/// `true` meters a pod whatever it looks like, `false` leaves it alone.
pub const METER_LABEL: &str = "jobmeter.io/meter";

/// What the configuration asks for. Everything everywhere by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only these; all where empty.
    pub namespaces: BTreeSet<String>,
    pub excluded_namespaces: BTreeSet<String>,
    pub selector: Selector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metered {
    Yes(Why),
    No(WhyNot),
    /// Only the chain of owners can tell, and it was not given in full.
    AskOwners {
        /// What to do until it is known: metering costs little, and cumulative counters forgive a late start.
        meanwhile: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Label,
    OwnedByJob,
    RestartNever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    Namespace,
    Label,
    Selector,
    /// Restarted for ever, and nothing above it is a Job.
    LongRunning,
}

impl Metered {
    /// Whether to keep the books of this pod for now.
    pub const fn is_metered(self) -> bool {
        matches!(self, Self::Yes(_) | Self::AskOwners { meanwhile: true })
    }
}

impl WhyNot {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Label => "label",
            Self::Selector => "selector",
            Self::LongRunning => "long_running",
        }
    }
}

impl Scope {
    /// `chain` runs from the pod's direct owner to the top; `None` where it was not resolved (an agent sees only the direct
    /// owner, which the pod itself names).
    pub fn judge(&self, pod: &ApiPod, chain: Option<&[OwnerRef]>) -> Metered {
        if !self.covers(&pod.namespace) {
            return Metered::No(WhyNot::Namespace);
        }
        match pod.labels.get(METER_LABEL).map(String::as_str) {
            Some("true") => return Metered::Yes(Why::Label),
            Some("false") => return Metered::No(WhyNot::Label),
            _ => {}
        }
        if !self.selector.matches(&pod.labels) {
            return Metered::No(WhyNot::Selector);
        }
        if pod.owner.iter().chain(chain.unwrap_or_default()).any(is_job) {
            return Metered::Yes(Why::OwnedByJob);
        }
        if pod.restart_policy == RestartPolicy::Never {
            return Metered::Yes(Why::RestartNever);
        }
        match (&pod.owner, chain) {
            (Some(owner), None) if !is_long_running(owner) => {
                Metered::AskOwners { meanwhile: pod.restart_policy == RestartPolicy::OnFailure }
            }
            _ => Metered::No(WhyNot::LongRunning),
        }
    }

    pub fn covers(&self, namespace: &str) -> bool {
        (self.namespaces.is_empty() || self.namespaces.contains(namespace)) && !self.excluded_namespaces.contains(namespace)
    }
}

/// `batch/*` only: other groups use the kind's name for other things.
pub fn is_job(owner: &OwnerRef) -> bool {
    owner.kind == "Job" && owner.api_version.starts_with("batch/")
}

/// Kinds of Kubernetes itself whose pods never end by themselves; no chain above them is worth asking for.
fn is_long_running(owner: &OwnerRef) -> bool {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    matches!(
        (group, owner.kind.as_str()),
        ("apps", "ReplicaSet" | "StatefulSet" | "DaemonSet") | ("", "ReplicationController" | "Node")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn owned(mut pod: ApiPod, api_version: &str, kind: &str) -> ApiPod {
        pod.owner = Some(example::owner(api_version, kind, "top"));
        pod
    }

    fn long_lived() -> ApiPod {
        ApiPod { restart_policy: RestartPolicy::Always, owner: None, ..example::api_pod() }
    }

    #[test]
    fn a_pod_of_a_job_is_metered_whatever_its_restart_policy() {
        let pod = ApiPod { restart_policy: RestartPolicy::OnFailure, ..owned(long_lived(), "batch/v1", "Job") };
        assert_eq!(Scope::default().judge(&pod, None), Metered::Yes(Why::OwnedByJob));
    }

    #[test]
    fn a_job_of_another_api_group_is_not_a_batch_job() {
        let pod = owned(long_lived(), "volcano.sh/v1", "Job");
        assert_eq!(Scope::default().judge(&pod, Some(&[])), Metered::No(WhyNot::LongRunning));
    }

    #[test]
    fn a_job_further_up_the_chain_counts() {
        let pod = owned(long_lived(), "example.com/v1", "Worker");
        let chain = [example::owner("example.com/v1", "Worker", "w"), example::owner("batch/v1", "Job", "j")];
        assert_eq!(Scope::default().judge(&pod, None), Metered::AskOwners { meanwhile: false });
        assert_eq!(Scope::default().judge(&pod, Some(&chain)), Metered::Yes(Why::OwnedByJob));
    }

    #[test]
    fn services_are_left_alone_unless_labelled() {
        let mut pod = owned(long_lived(), "apps/v1", "ReplicaSet");
        assert_eq!(Scope::default().judge(&pod, None), Metered::No(WhyNot::LongRunning));
        pod.labels.insert(METER_LABEL.into(), "true".into());
        assert_eq!(Scope::default().judge(&pod, None), Metered::Yes(Why::Label));
        pod.labels.insert(METER_LABEL.into(), "false".into());
        pod.restart_policy = RestartPolicy::Never;
        assert_eq!(Scope::default().judge(&pod, None), Metered::No(WhyNot::Label));
    }

    #[test]
    fn the_label_does_not_reach_into_an_excluded_namespace() {
        let mut pod = long_lived();
        pod.labels.insert(METER_LABEL.into(), "true".into());
        let scope = Scope { excluded_namespaces: [pod.namespace.clone()].into(), ..Scope::default() };
        assert_eq!(scope.judge(&pod, None), Metered::No(WhyNot::Namespace));
    }

    #[test]
    fn a_bare_pod_that_is_never_restarted_is_a_job() {
        let pod = ApiPod { restart_policy: RestartPolicy::Never, ..long_lived() };
        assert_eq!(Scope::default().judge(&pod, None), Metered::Yes(Why::RestartNever));
        let scope = Scope { selector: "team=a".parse().unwrap(), ..Scope::default() };
        assert_eq!(scope.judge(&pod, None), Metered::No(WhyNot::Selector));
    }
}
