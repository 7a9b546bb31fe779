//! One run that is kept, and what follows from its nodes' states. All changes of a node pass through [`Kept::change`], so counts
//! and lists are always those of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeRun, NodeRunState, Run, RunChange, RunCounts, RunSettings, StoredRun, Trigger};

use super::naming::{PodNames, first_attempt};

/// Which nodes that come are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that match: it is a run of all nodes.
    All,
    /// Those that came in this term.
    Fresh,
    None,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) run: Run,
    pub(super) settings: Arc<RunSettings>,
    nodes: BTreeMap<String, NodeRun>,
    /// As it was handed out to be stored.
    stored: Option<Run>,
    changed: BTreeSet<String>,
    pub(super) names: PodNames,
    pub(super) scope: Scope,
    /// Never tried, in the order of names.
    pub(super) waiting: BTreeSet<String>,
    /// To be tried again then.
    pub(super) retrying: BTreeSet<(Timestamp, String)>,
    /// It was decided to make their pods; whether they were made is not known.
    pub(super) unmade: BTreeSet<String>,
    /// Their pods ended well; so long their results are waited for.
    pub(super) awaiting: BTreeMap<String, Timestamp>,
    /// A pod may have been made until then that nobody knows of yet.
    pub(super) unsure_until: Option<Timestamp>,
    /// Pods whose making is on its way.
    pub(super) making: u32,
}

impl Kept {
    pub(super) fn new(run: Run, settings: Arc<RunSettings>, names: PodNames, scope: Scope) -> Self {
        Self {
            run,
            settings,
            nodes: BTreeMap::new(),
            stored: None,
            changed: BTreeSet::new(),
            names,
            scope,
            waiting: BTreeSet::new(),
            retrying: BTreeSet::new(),
            unmade: BTreeSet::new(),
            awaiting: BTreeMap::new(),
            unsure_until: None,
            making: 0,
        }
    }

    pub(super) fn load(stored: StoredRun) -> Self {
        let scope = match stored.run.trigger {
            Trigger::Schedule { .. } | Trigger::CatchUp { .. } | Trigger::Startup => Scope::All,
            Trigger::NewNodes => Scope::Fresh,
            // Whether it was asked for on some nodes only is not stored.
            Trigger::Manual | Trigger::Retry { .. } => Scope::None,
        };
        let mut kept = Self::new(stored.run.clone(), stored.settings, PodNames::default(), scope);
        kept.run.nodes = RunCounts::default();
        for node in stored.nodes.into_values() {
            kept.names.keep(first_attempt(&node.pod, node.attempt));
            kept.put(node);
        }
        kept.stored = Some(stored.run);
        kept.changed.clear();
        kept
    }

    pub(super) fn nodes(&self) -> &BTreeMap<String, NodeRun> {
        &self.nodes
    }

    pub(super) fn node(&self, name: &str) -> Option<&NodeRun> {
        self.nodes.get(name)
    }

    pub(super) fn is_active(&self) -> bool {
        !self.run.state.is_over()
    }

    /// Its nodes are over; its pods may not be.
    pub(super) fn nodes_over(&self) -> bool {
        let counts = &self.run.nodes;
        counts.waiting + counts.queued + counts.starting + counts.running == 0
    }

    pub(super) fn unfinished(&self) -> Vec<String> {
        self.nodes.values().filter(|node| !node.state.is_over()).map(|node| node.node.clone()).collect()
    }

    /// A node that is new to the run, or instead of what was known of it.
    pub(super) fn put(&mut self, node: NodeRun) {
        let name = node.node.clone();
        if let Some(before) = self.nodes.remove(&name) {
            self.leave(&before);
        }
        self.enter(node);
        self.changed.insert(name);
    }

    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut NodeRun)) -> bool {
        let Some(before) = self.nodes.remove(name) else { return false };
        let mut after = before.clone();
        change(&mut after);
        let changed = after != before;
        if changed {
            self.leave(&before);
            self.enter(after);
            self.changed.insert(name.to_owned());
        } else {
            self.nodes.insert(name.to_owned(), before);
        }
        changed
    }

    fn enter(&mut self, node: NodeRun) {
        let name = node.node.clone();
        self.run.nodes.total += 1;
        *self.run.nodes.of_state(node.state) += 1;
        match (node.state, node.retry_at) {
            (NodeRunState::Waiting, None) => drop(self.waiting.insert(name.clone())),
            (NodeRunState::Waiting, Some(at)) => drop(self.retrying.insert((at, name.clone()))),
            (NodeRunState::Queued, _) if node.pod_uid.is_none() => drop(self.unmade.insert(name.clone())),
            _ => {}
        }
        if node.state != NodeRunState::Running {
            self.awaiting.remove(&name);
        }
        self.nodes.insert(name, node);
    }

    fn leave(&mut self, node: &NodeRun) {
        self.run.nodes.total -= 1;
        *self.run.nodes.of_state(node.state) -= 1;
        self.waiting.remove(&node.node);
        self.unmade.remove(&node.node);
        if let Some(at) = node.retry_at {
            self.retrying.remove(&(at, node.node.clone()));
        }
    }

    /// What is to be stored since the last time.
    pub(super) fn take_changes(&mut self, changes: &mut Vec<RunChange>) {
        if self.stored.as_ref() != Some(&self.run) {
            let settings = self.stored.is_none().then(|| self.settings.clone());
            changes.push(RunChange::Run { run: Box::new(self.run.clone()), settings });
            self.stored = Some(self.run.clone());
        }
        for name in std::mem::take(&mut self.changed) {
            if let Some(node) = self.nodes.get(&name) {
                changes.push(RunChange::Node { run: self.run.id.clone(), node: Box::new(node.clone()) });
            }
        }
    }
}
