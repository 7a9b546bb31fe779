//! What is stored of the runs, in memory: the same changes make the same state. Of results, as much as there is room for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jobmeter_protocol::runs::{NodeResult, NodeRun, RunChange, StoredRun};

use super::held;

#[derive(Clone, Debug)]
pub struct Mirror {
    runs: BTreeMap<String, Arc<StoredRun>>,
    /// Bytes of results, by run and together.
    held: BTreeMap<String, usize>,
    room: usize,
    /// Of these runs values are missing.
    cut: BTreeSet<String>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self { runs: BTreeMap::new(), held: BTreeMap::new(), room: held::MOST_BYTES, cut: BTreeSet::new() }
    }
}

impl Mirror {
    pub fn new(runs: Vec<StoredRun>) -> Self {
        let mut mirror = Self::default();
        let mut results = BTreeMap::new();
        for mut run in runs {
            results.insert(run.run.id.clone(), std::mem::take(&mut run.results));
            mirror.runs.insert(run.run.id.clone(), Arc::new(run));
        }
        for (run, results) in results.into_iter().rev() {
            results.into_values().for_each(|result| mirror.hold(&run, result));
        }
        mirror
    }

    pub fn runs(&self) -> &BTreeMap<String, Arc<StoredRun>> {
        &self.runs
    }

    pub fn node(&self, run: &str, node: &str) -> Option<&NodeRun> {
        self.runs.get(run)?.nodes.get(node)
    }

    /// A result of that attempt is the latest there is.
    pub fn takes_result(&self, run: &str, node: &str, attempt: u32) -> bool {
        let known = self.runs.get(run).and_then(|run| run.results.get(node));
        known.is_none_or(|known| known.attempt <= attempt)
    }

    pub fn apply(&mut self, change: RunChange) {
        match change {
            RunChange::Run { run, settings } => match (self.runs.get_mut(&run.id), settings) {
                (Some(known), _) => Arc::make_mut(known).run = *run,
                (None, Some(settings)) => {
                    let stored = StoredRun { run: *run, settings, nodes: BTreeMap::new(), results: BTreeMap::new() };
                    self.runs.insert(stored.run.id.clone(), Arc::new(stored));
                }
                // A run begins with its settings: this one was forgotten.
                (None, None) => {}
            },
            RunChange::Node { run, node } => {
                if let Some(known) = self.runs.get_mut(&run) {
                    Arc::make_mut(known).nodes.insert(node.node.clone(), *node);
                }
            }
            RunChange::Result { run, result } => {
                if self.takes_result(&run, &result.node, result.attempt) {
                    self.hold(&run, Arc::new(*result));
                }
            }
            RunChange::Memory(_) => {}
            RunChange::Forget { run } => {
                self.runs.remove(&run);
                self.room += self.held.remove(&run).unwrap_or(0);
                self.cut.remove(&run);
            }
        }
    }

    /// Older runs make room; where that is too little, its values are not held.
    fn hold(&mut self, run: &str, result: Arc<NodeResult>) {
        let Some(before) =
            self.runs.get(run).map(|known| known.results.get(&result.node).map_or(0, |before| held::bytes(before)))
        else {
            return;
        };
        self.give_back(run, before);
        let wanted = held::bytes(&result);
        while self.room < wanted
            && let Some(oldest) = self.held.keys().next().filter(|oldest| oldest.as_str() < run).cloned()
        {
            self.empty(&oldest);
        }
        let fits = self.room >= wanted;
        if fits {
            self.room -= wanted;
            *self.held.entry(run.to_owned()).or_default() += wanted;
        } else {
            self.tell(run);
        }
        if let Some(known) = self.runs.get_mut(run) {
            let result = if fits { result } else { Arc::new(held::without_values(&result)) };
            Arc::make_mut(known).results.insert(result.node.clone(), result);
        }
    }

    fn give_back(&mut self, run: &str, bytes: usize) {
        if let Some(held) = self.held.get_mut(run) {
            let back = bytes.min(*held);
            *held -= back;
            self.room += back;
        }
    }

    fn empty(&mut self, run: &str) {
        self.room += self.held.remove(run).unwrap_or(0);
        if let Some(known) = self.runs.get_mut(run) {
            for result in Arc::make_mut(known).results.values_mut() {
                *result = Arc::new(held::without_values(result));
            }
        }
        self.tell(run);
    }

    fn tell(&mut self, run: &str) {
        if self.cut.insert(run.to_owned()) {
            let bytes = held::MOST_BYTES;
            tracing::warn!(
                run,
                bytes,
                "results are larger than what is held in memory of them: values of this run are missing in the metrics, and can be read with `jobmeter runs results`"
            );
        }
    }
}

#[cfg(test)]
mod tests;
