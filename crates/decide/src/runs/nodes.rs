//! Nodes of the cluster, and which of them a definition's runs go to.
//!
//! In: nodes as the API server has them. Out: who is usable, and why the others are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::runs::RunSettings;

use crate::pool::NodeFacts;

#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    known: BTreeMap<Arc<str>, Node>,
}

#[derive(Clone, Debug)]
struct Node {
    facts: NodeFacts,
    /// Since when it is as ready and as cordoned as it is.
    since: Timestamp,
    /// Since when it has the labels that it has.
    labelled: Timestamp,
}

/// Whether a node can take a pod of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usable {
    Yes,
    /// Not now.
    No {
        why: &'static str,
        since: Timestamp,
    },
    NotSelected {
        since: Timestamp,
    },
}

impl Usable {
    /// Why not, and since when.
    pub(super) fn obstacle(self) -> Option<(&'static str, Timestamp)> {
        match self {
            Self::Yes => None,
            Self::No { why, since } => Some((why, since)),
            Self::NotSelected { since } => Some(("its labels are not those that the node selector asks for", since)),
        }
    }
}

impl Nodes {
    pub(super) fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    pub(super) fn is_as_it_was(&self, facts: &NodeFacts) -> bool {
        self.known.get(&facts.name).is_some_and(|node| node.facts == *facts)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known.keys()
    }

    pub(super) fn put(&mut self, facts: NodeFacts, now: Timestamp) {
        let same = |node: &&Node| (node.facts.ready, node.facts.unschedulable) == (facts.ready, facts.unschedulable);
        let before = self.known.get(&facts.name);
        let since = before.filter(same).map_or(now, |node| node.since);
        let labelled = before.filter(|node| node.facts.labels == facts.labels).map_or(now, |node| node.labelled);
        self.known.insert(facts.name.clone(), Node { facts, since, labelled });
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.known.remove(name).is_some()
    }

    /// In the order of names: those that its labels ask for.
    pub(super) fn selected<'a>(&'a self, settings: &'a RunSettings) -> impl Iterator<Item = (&'a Arc<str>, Usable)> {
        let judged = self.known.iter().map(|(name, node)| (name, node.usable(settings)));
        judged.filter(|(_, usable)| !matches!(usable, Usable::NotSelected { .. }))
    }

    /// `None`: there is no such node.
    pub(super) fn usable(&self, name: &str, settings: &RunSettings) -> Option<Usable> {
        self.known.get(name).map(|node| node.usable(settings))
    }
}

impl Node {
    fn usable(&self, settings: &RunSettings) -> Usable {
        let labels = &self.facts.labels;
        let since = self.since;
        if !settings.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            Usable::NotSelected { since: self.labelled }
        } else if !self.facts.ready {
            Usable::No { why: "the node is not ready", since }
        } else if self.facts.unschedulable && !settings.unschedulable_nodes {
            Usable::No { why: "the node is cordoned", since }
        } else {
            Usable::Yes
        }
    }
}
