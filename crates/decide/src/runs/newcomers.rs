//! Nodes that come: into the run that goes on, or into a run of their own.
//!
//! A node is new to a definition if none of its runs, back to the last one of all nodes, had it. Where no such run is kept, only a
//! node that was seen to become usable is new.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeRunState, RunSettings, Trigger};

use super::Runs;
use super::kept::{Kept, Scope};
use super::naming::{first_attempt, of_attempt};
use super::nodes::Usable;
use super::trigger::Wanted;

impl Runs {
    /// A node changed; it is fresh to all that could not use it before.
    pub(super) fn is_fresh(&mut self, node: &str, before: &BTreeSet<String>) {
        for (name, definition) in &self.definitions {
            let fresh = self.fresh.entry(name.clone()).or_default();
            match self.nodes.usable(node, &definition.settings) {
                Some(Usable::Yes) if !before.contains(name) => fresh.insert(node.to_owned()),
                Some(Usable::Yes) => false,
                _ => fresh.remove(node),
            };
        }
        self.look.newcomers = true;
    }

    /// Definitions that can use it.
    pub(super) fn users(&self, node: &str) -> BTreeSet<String> {
        let uses = |settings: &RunSettings| self.nodes.usable(node, settings) == Some(Usable::Yes);
        self.definitions.iter().filter(|(_, definition)| uses(&definition.settings)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn look_at_newcomers(&mut self, now: Timestamp) {
        for run in self.book.active() {
            let Some(kept) = self.book.get(&run) else { continue };
            if !kept.settings.new_nodes || kept.run.stopping {
                continue;
            }
            let joins = |node: &Arc<str>| match kept.node(node) {
                // Nothing else bounds how long it would wait for a pod that does not go.
                Some(known) => known.state == NodeRunState::Skipped && !self.is_occupied(&run, node),
                None => kept.scope == Scope::All || kept.scope == Scope::Fresh && self.came(&kept.run.definition, node),
            };
            let joining: Vec<_> = self.usable(&kept.settings).filter(|node| joins(node)).cloned().collect();
            for node in joining {
                self.join(&run, &node, now);
            }
        }
        for name in self.definitions.keys().cloned().collect::<Vec<_>>() {
            let newcomers = self.newcomers(&name);
            if !newcomers.is_empty() {
                self.pull(&name, Trigger::NewNodes, Wanted::Again(newcomers), now);
            }
        }
    }

    fn join(&mut self, run: &str, node: &str, now: Timestamp) {
        let skipped = self.book.get(run).and_then(|kept| kept.node(node)).is_some_and(|node| !node.pod.is_empty());
        if !skipped {
            return self.add(run, node, None, now);
        }
        // It had a pod that was taken back; the next one has another name.
        self.change_node(run, node, now, |node| {
            let pod = of_attempt(first_attempt(&node.pod, node.attempt), node.attempt + 1);
            node.attempt += 1;
            (node.state, node.why, node.pod, node.pod_uid, node.created) = (NodeRunState::Waiting, None, pod, None, None);
        });
    }

    fn usable<'a>(&'a self, settings: &'a RunSettings) -> impl Iterator<Item = &'a Arc<str>> {
        self.nodes.selected(settings).filter(|(_, usable)| *usable == Usable::Yes).map(|(node, _)| node)
    }

    fn came(&self, definition: &str, node: &str) -> bool {
        self.fresh.get(definition).is_some_and(|fresh| fresh.contains(node))
    }

    /// Of a definition none of whose runs goes on.
    fn newcomers(&self, name: &str) -> Vec<String> {
        let Some(definition) = self.definitions.get(name).filter(|definition| !definition.suspended) else { return Vec::new() };
        let runs: Vec<&Kept> = self.book.of_definition(name).rev().collect();
        if !definition.settings.new_nodes || runs.is_empty() || runs.iter().any(|kept| kept.is_active()) {
            return Vec::new();
        }
        let of_all =
            |kept: &&Kept| matches!(kept.run.trigger, Trigger::Schedule { .. } | Trigger::CatchUp { .. } | Trigger::Startup);
        let last = runs.iter().position(of_all);
        let since = &runs[..last.map_or(runs.len(), |last| last + 1)];
        let is_new = |node: &&Arc<str>| {
            let seen = since.iter().any(|kept| kept.node(node).is_some());
            !seen && (last.is_some() || self.came(name, node))
        };
        self.usable(&definition.settings).filter(is_new).map(|node| node.to_string()).collect()
    }
}
