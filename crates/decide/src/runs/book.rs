//! All runs that are kept, by ID, and which definition's they are.

use std::collections::{BTreeMap, BTreeSet};

use jobmeter_protocol::runs::{NodeRun, RunChange};

use super::kept::Kept;

#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    runs: BTreeMap<String, Kept>,
    active: BTreeSet<String>,
    of_definition: BTreeMap<String, BTreeSet<String>>,
    changed: BTreeSet<String>,
    forgotten: Vec<String>,
}

impl Book {
    pub(super) fn get(&self, run: &str) -> Option<&Kept> {
        self.runs.get(run)
    }

    /// In the order of IDs.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Kept> {
        self.runs.values()
    }

    /// The oldest first.
    pub(super) fn active(&self) -> Vec<String> {
        self.active.iter().cloned().collect()
    }

    pub(super) fn active_runs(&self) -> impl Iterator<Item = &Kept> {
        self.active.iter().filter_map(|run| self.runs.get(run))
    }

    /// The oldest first.
    pub(super) fn of_definition(&self, definition: &str) -> impl DoubleEndedIterator<Item = &Kept> {
        self.of_definition.get(definition).into_iter().flatten().filter_map(|run| self.runs.get(run))
    }

    pub(super) fn active_of(&self, definition: &str) -> Vec<String> {
        self.of_definition(definition).filter(|kept| kept.is_active()).map(|kept| kept.run.id.clone()).collect()
    }

    pub(super) fn put(&mut self, kept: Kept) {
        let id = kept.run.id.clone();
        if kept.is_active() {
            self.active.insert(id.clone());
        }
        self.of_definition.entry(kept.run.definition.clone()).or_default().insert(id.clone());
        self.changed.insert(id.clone());
        self.runs.insert(id, kept);
    }

    pub(super) fn forget(&mut self, run: &str) {
        let Some(kept) = self.runs.remove(run) else { return };
        self.active.remove(run);
        self.changed.remove(run);
        if let Some(runs) = self.of_definition.get_mut(&kept.run.definition) {
            runs.remove(run);
        }
        self.forgotten.push(run.to_owned());
    }

    /// The run itself, its lists; not its nodes.
    pub(super) fn change(&mut self, run: &str, change: impl FnOnce(&mut Kept)) {
        let Some(kept) = self.runs.get_mut(run) else { return };
        change(kept);
        if !kept.is_active() {
            self.active.remove(run);
        }
        self.changed.insert(run.to_owned());
    }

    pub(super) fn change_node(&mut self, run: &str, node: &str, change: impl FnOnce(&mut NodeRun)) -> bool {
        let changed = self.runs.get_mut(run).is_some_and(|kept| kept.change(node, change));
        if changed {
            self.changed.insert(run.to_owned());
        }
        changed
    }

    pub(super) fn take_changes(&mut self, changes: &mut Vec<RunChange>) {
        for run in std::mem::take(&mut self.changed) {
            if let Some(kept) = self.runs.get_mut(&run) {
                kept.take_changes(changes);
            }
        }
        changes.extend(std::mem::take(&mut self.forgotten).into_iter().map(|run| RunChange::Forget { run }));
    }
}
