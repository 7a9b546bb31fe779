//! What a release has to know besides the place itself: the pools' node selectors, and the nodes' hostname labels. Kept by the
//! watches, read by the writes. In: pools and nodes. Out: the [`Restriction`] of a place.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use jobmeter_decide::pool::{NodeFacts, PoolSettings};
use jobmeter_protocol::PoolSlot;
use serde_json::{Value, json};

const HOSTNAME: &str = "kubernetes.io/hostname";

#[derive(Debug, Default)]
pub struct Surroundings {
    selectors: RwLock<BTreeMap<String, BTreeMap<String, String>>>,
    hostnames: RwLock<HashMap<Arc<str>, String>>,
}

/// What is added to each term of a pod's required node affinity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Restriction {
    pub(super) expressions: Vec<Value>,
    pub(super) fields: Vec<Value>,
}

impl Restriction {
    pub(super) fn is_empty(&self) -> bool {
        self.expressions.is_empty() && self.fields.is_empty()
    }

    /// As the only term.
    pub(super) fn term(&self) -> Value {
        let parts = [("matchExpressions", &self.expressions), ("matchFields", &self.fields)];
        parts.into_iter().filter(|(_, more)| !more.is_empty()).map(|(key, more)| (key.to_owned(), json!(more))).collect()
    }
}

impl Surroundings {
    pub(crate) fn pools(&self, pools: &[PoolSettings]) {
        let selectors = pools.iter().map(|pool| (pool.name.clone(), pool.nodes.node_selector.clone())).collect();
        *self.selectors.write().unwrap_or_else(PoisonError::into_inner) = selectors;
    }

    pub(crate) fn nodes_listed(&self, nodes: &[NodeFacts]) {
        let hostname = |node: &NodeFacts| Some((node.name.clone(), node.labels.get(HOSTNAME)?.clone()));
        *self.hostnames.write().unwrap_or_else(PoisonError::into_inner) = nodes.iter().filter_map(hostname).collect();
    }

    pub(crate) fn node(&self, node: &NodeFacts) {
        let mut hostnames = self.hostnames.write().unwrap_or_else(PoisonError::into_inner);
        match node.labels.get(HOSTNAME) {
            Some(hostname) => hostnames.insert(node.name.clone(), hostname.clone()),
            None => hostnames.remove(&node.name),
        };
    }

    pub(crate) fn node_gone(&self, name: &str) {
        self.hostnames.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// One node by its name: a field selector takes exactly one value. Several by their hostname labels; one that has lost its
    /// label, or is gone, is left out. Without a list the pool's own selector.
    pub(super) fn restriction(&self, slot: &PoolSlot) -> Result<Restriction, String> {
        match slot.nodes.as_slice() {
            [] => self.selector(&slot.pool),
            [node] => {
                let name = json!({"key": "metadata.name", "operator": "In", "values": [node]});
                Ok(Restriction { expressions: Vec::new(), fields: vec![name] })
            }
            nodes => {
                let hostnames = self.hostnames.read().unwrap_or_else(PoisonError::into_inner);
                let values: Vec<&String> = nodes.iter().filter_map(|node| hostnames.get(node.as_str())).collect();
                if values.is_empty() {
                    return Err(format!("none of the nodes {} has a label {HOSTNAME} now", nodes.join(", ")));
                }
                let hosts = json!({"key": HOSTNAME, "operator": "In", "values": values});
                Ok(Restriction { expressions: vec![hosts], fields: Vec::new() })
            }
        }
    }

    fn selector(&self, pool: &str) -> Result<Restriction, String> {
        let selectors = self.selectors.read().unwrap_or_else(PoisonError::into_inner);
        let selector = selectors.get(pool).ok_or_else(|| format!("the pool {pool} is not configured any more"))?;
        let expression = |(key, value): (&String, &String)| json!({"key": key, "operator": "In", "values": [value]});
        Ok(Restriction { expressions: selector.iter().map(expression).collect(), fields: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, hostname: &str) -> NodeFacts {
        NodeFacts {
            name: name.into(),
            labels: [(HOSTNAME.to_owned(), hostname.to_owned())].into(),
            taints: vec![],
            ready: true,
            unschedulable: false,
        }
    }

    fn slot(nodes: &[&str]) -> PoolSlot {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        PoolSlot { pool: "gpu".to_owned(), epoch: 0, given: jiff::Timestamp::UNIX_EPOCH, nodes }
    }

    #[test]
    fn one_node_is_named_and_several_are_known_by_their_hostnames() {
        let surroundings = Surroundings::default();
        surroundings.nodes_listed(&[node("a.example", "a"), node("b.example", "b")]);
        surroundings.node(&node("c.example", "c"));
        surroundings.node_gone("b.example");
        let one = surroundings.restriction(&slot(&["a.example"])).unwrap();
        assert_eq!(one.fields, [json!({"key": "metadata.name", "operator": "In", "values": ["a.example"]})]);
        let several = surroundings.restriction(&slot(&["a.example", "b.example", "c.example"])).unwrap();
        assert_eq!(several.expressions, [json!({"key": HOSTNAME, "operator": "In", "values": ["a", "c"]})]);
        assert!(surroundings.restriction(&slot(&["x", "y"])).unwrap_err().contains("x, y"));
    }

    #[test]
    fn without_a_list_the_pools_selector_holds_and_a_pool_that_went_lets_nobody_go() {
        let surroundings = Surroundings::default();
        assert!(surroundings.restriction(&slot(&[])).is_err());
        surroundings.pools(
            &crate::config::pools::parse(
                "pools: {gpu: {size: 1, nodeSelector: {accelerator: a100}}}",
                std::path::Path::new("pools.yaml"),
            )
            .unwrap(),
        );
        let own = surroundings.restriction(&slot(&[])).unwrap();
        assert_eq!(own.term(), json!({"matchExpressions": [{"key": "accelerator", "operator": "In", "values": ["a100"]}]}));
    }
}
