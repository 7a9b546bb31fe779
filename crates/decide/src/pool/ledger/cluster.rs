//! The nodes, and which of them may be in a list of several: those that their hostname label tells apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pool::NodeFacts;

const HOSTNAME: &str = "kubernetes.io/hostname";

#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<Arc<str>, NodeFacts>,
    hostnames: BTreeMap<String, u32>,
}

impl Cluster {
    /// Whether that is news.
    pub(super) fn apply(&mut self, node: NodeFacts) -> bool {
        if self.nodes.get(&node.name) == Some(&node) {
            return false;
        }
        self.remove(&node.name);
        if let Some(hostname) = node.labels.get(HOSTNAME) {
            *self.hostnames.entry(hostname.clone()).or_default() += 1;
        }
        self.nodes.insert(node.name.clone(), node);
        true
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some(node) = self.nodes.remove(name) else { return false };
        if let Some(hostname) = node.labels.get(HOSTNAME)
            && let Some(nodes) = self.hostnames.get_mut(hostname)
        {
            *nodes -= 1;
            if *nodes == 0 {
                self.hostnames.remove(hostname);
            }
        }
        true
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        let hostname = self.nodes.get(name).and_then(|node| node.labels.get(HOSTNAME));
        hostname.is_some_and(|hostname| self.hostnames.get(hostname) == Some(&1))
    }
}
