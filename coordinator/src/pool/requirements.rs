//! What pods ask of nodes, shared: thousands of pods of one template ask for the same. In: `v1.PodSpec`. Out: one [`Requirements`]
//! for all pods that ask for the same. Owner: each watch of pods or Jobs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jobmeter_decide::pool::placement::{Effect, Expression, Operator, Requirements, Term, Toleration};
use k8s_openapi::api::core::v1::{self as core, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Names and requirements that many members have in common. What nobody has any more goes when the number has doubled.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    names: HashSet<Arc<str>>,
    /// By their own text.
    requirements: HashMap<String, Arc<Requirements>>,
    sweep_at: usize,
}

/// Below this nothing is swept.
const SMALL: usize = 1024;

impl Shared {
    pub(crate) fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        self.sweep();
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    /// An expression that cannot be read matches nothing, as the scheduler has it.
    pub(crate) fn requirements(&mut self, spec: &PodSpec) -> Arc<Requirements> {
        let requirements = requirements(spec);
        let text = format!("{requirements:?}");
        if let Some(known) = self.requirements.get(&text) {
            return known.clone();
        }
        self.sweep();
        let requirements = Arc::new(requirements);
        self.requirements.insert(text, requirements.clone());
        requirements
    }

    fn sweep(&mut self) {
        if self.names.len() + self.requirements.len() < self.sweep_at.max(SMALL) {
            return;
        }
        self.names.retain(|name| Arc::strong_count(name) > 1);
        self.requirements.retain(|_, requirements| Arc::strong_count(requirements) > 1);
        self.sweep_at = 2 * (self.names.len() + self.requirements.len());
    }
}

fn requirements(spec: &PodSpec) -> Requirements {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    Requirements {
        node_selector: spec.node_selector.clone().unwrap_or_default(),
        affinity: required.map(|required| required.node_selector_terms.iter().map(term).collect()),
        tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
    }
}

fn term(term: &NodeSelectorTerm) -> Term {
    let labels: Option<Vec<_>> = term.match_expressions.iter().flatten().map(expression).collect();
    let fields: Option<Vec<_>> = term.match_fields.iter().flatten().map(expression).collect();
    match (labels, fields) {
        (Some(labels), Some(fields)) => Term { labels, fields },
        // The empty term matches nothing.
        _ => Term::default(),
    }
}

fn expression(requirement: &NodeSelectorRequirement) -> Option<Expression> {
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Gt,
        "Lt" => Operator::Lt,
        _ => return None,
    };
    Some(Expression { key: requirement.key.clone(), operator, values: requirement.values.clone().unwrap_or_default() })
}

fn toleration(toleration: &core::Toleration) -> Toleration {
    Toleration {
        key: toleration.key.clone().unwrap_or_default(),
        exists: toleration.operator.as_deref() == Some("Exists"),
        value: toleration.value.clone().unwrap_or_default(),
        effect: toleration.effect.as_deref().and_then(effect),
    }
}

/// `None` where it is not written, or not known.
pub(crate) fn effect(text: &str) -> Option<Effect> {
    match text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: serde_json::Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn pods_of_one_template_share_what_they_ask_for() {
        let mut shared = Shared::default();
        let template = serde_json::json!({"containers": [], "nodeSelector": {"gpu": "a100"}});
        let (one, two) = (shared.requirements(&spec(template.clone())), shared.requirements(&spec(template)));
        assert!(Arc::ptr_eq(&one, &two));
        assert!(Arc::ptr_eq(&shared.name("bench"), &shared.name("bench")));
    }

    #[test]
    fn what_nobody_has_any_more_is_let_go() {
        let mut shared = Shared::default();
        let kept = shared.name("kept");
        for n in 0..10 * SMALL {
            shared.name(&n.to_string());
        }
        assert!(shared.names.len() <= 2 * SMALL, "{}", shared.names.len());
        assert!(Arc::ptr_eq(&kept, &shared.name("kept")));
    }

    #[test]
    fn an_affinity_is_read_term_by_term_and_what_cannot_be_read_matches_nothing() {
        let required = serde_json::json!({"containers": [], "affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
             "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}]},
            {"matchExpressions": [{"key": "zone", "operator": "Somehow"}]}
        ]}}}});
        let required = requirements(&spec(required));
        let terms = required.affinity.unwrap();
        assert_eq!((terms[0].labels[0].operator, terms[0].fields[0].operator), (Operator::In, Operator::NotIn));
        assert_eq!(terms[1], Term::default());
        assert_eq!(requirements(&spec(serde_json::json!({"containers": []}))).affinity, None);
    }
}
