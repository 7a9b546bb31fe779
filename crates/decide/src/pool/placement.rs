//! Which nodes a pod may go to, by its own words and by the node's: nodeSelector, required node affinity, taints and tolerations.
//! The scheduler's rules (Kubernetes 1.36), without resources: those are its business.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Taint that every cordoned node has, or gets in a moment.
const CORDONED: &str = "node.kubernetes.io/unschedulable";
/// The only field of a node that a term may ask for.
const NAME_FIELD: &str = "metadata.name";

/// A node as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub name: Arc<str>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    /// Its `Ready` condition is `True`.
    pub ready: bool,
    /// Cordoned.
    pub unschedulable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// What a pod (or a pool) asks of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirements {
    pub node_selector: BTreeMap<String, String>,
    /// Terms of the required node affinity: one of them must match; absent is no condition.
    pub affinity: Option<Vec<Term>>,
    pub tolerations: Vec<Toleration>,
}

/// All of it must hold; an empty term matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    pub labels: Vec<Expression>,
    /// Of the node's fields; only `metadata.name` exists.
    pub fields: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expression {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Toleration {
    /// Empty with `exists`: every taint.
    pub key: String,
    /// Any value of the key.
    pub exists: bool,
    pub value: String,
    /// All effects where absent.
    pub effect: Option<Effect>,
}

/// Why a node cannot take a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    NotReady,
    Cordoned,
    /// Its labels or name are not those that are asked for.
    NotSelected,
    /// This taint is not tolerated.
    Taint {
        key: String,
    },
}

/// Which nodes a pod may go to, and why it may not go to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub fits: Vec<Arc<str>>,
    /// How many nodes for each reason.
    pub unfit: BTreeMap<Unfit, u32>,
}

impl Survey {
    /// Of `nodes`, those that suit all of `requirements`.
    pub fn of<'a>(nodes: impl IntoIterator<Item = &'a NodeFacts>, requirements: &[&Requirements]) -> Self {
        let mut survey = Self::default();
        for node in nodes {
            match requirements.iter().try_for_each(|requirements| requirements.fits(node)) {
                Ok(()) => survey.fits.push(node.name.clone()),
                Err(why) => *survey.unfit.entry(why).or_default() += 1,
            }
        }
        survey
    }
}

impl Requirements {
    /// What the node's owner chose (its labels) is said before what happened to it.
    pub fn fits(&self, node: &NodeFacts) -> Result<(), Unfit> {
        if !self.selects(node) {
            return Err(Unfit::NotSelected);
        }
        if node.unschedulable && !self.tolerates(CORDONED, "", Effect::NoSchedule) {
            return Err(Unfit::Cordoned);
        }
        if !node.ready {
            return Err(Unfit::NotReady);
        }
        let repels =
            |taint: &&Taint| taint.effect != Effect::PreferNoSchedule && !self.tolerates(&taint.key, &taint.value, taint.effect);
        match node.taints.iter().find(repels) {
            Some(taint) => Err(Unfit::Taint { key: taint.key.clone() }),
            None => Ok(()),
        }
    }

    fn selects(&self, node: &NodeFacts) -> bool {
        let selected = self.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        selected && self.affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }

    fn tolerates(&self, key: &str, value: &str, effect: Effect) -> bool {
        self.tolerations.iter().any(|toleration| toleration.covers(key, value, effect))
    }
}

impl Term {
    fn matches(&self, node: &NodeFacts) -> bool {
        let empty = self.labels.is_empty() && self.fields.is_empty();
        !empty
            && self.labels.iter().all(|wanted| wanted.matches_label(node.labels.get(&wanted.key).map(String::as_str)))
            && self.fields.iter().all(|wanted| wanted.matches_field(&node.name))
    }
}

impl Expression {
    fn matches_label(&self, label: Option<&str>) -> bool {
        let listed = |label: &str| self.values.iter().any(|value| value == label);
        match self.operator {
            Operator::In => label.is_some_and(listed),
            Operator::NotIn => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::Gt => self.compares(label, |label, bound| label > bound),
            Operator::Lt => self.compares(label, |label, bound| label < bound),
        }
    }

    /// Whole numbers on both sides, or it does not match.
    fn compares(&self, label: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let [bound] = self.values.as_slice() else { return false };
        let number = |text: &str| text.parse().ok();
        matches!((label.and_then(number), number(bound)), (Some(label), Some(bound)) if holds(label, bound))
    }

    /// The scheduler knows one field, two operators and one value; what else is written makes the term match nothing.
    fn matches_field(&self, name: &str) -> bool {
        let [value] = self.values.as_slice() else { return false };
        match self.operator {
            _ if self.key != NAME_FIELD => false,
            Operator::In => value == name,
            Operator::NotIn => value != name,
            Operator::Exists | Operator::DoesNotExist | Operator::Gt | Operator::Lt => false,
        }
    }
}

impl Toleration {
    fn covers(&self, key: &str, value: &str, effect: Effect) -> bool {
        self.effect.is_none_or(|tolerated| tolerated == effect)
            && (self.key.is_empty() || self.key == key)
            && (self.exists || self.value == value)
    }
}

#[cfg(test)]
mod tests;
