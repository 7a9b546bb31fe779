//! What is stored of the runs, in memory: the same changes make the same state.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobmeter_protocol::runs::{NodeRun, RunChange, StoredRun};

#[derive(Clone, Debug, Default)]
pub struct Mirror {
    runs: BTreeMap<String, Arc<StoredRun>>,
}

impl Mirror {
    pub fn new(runs: Vec<StoredRun>) -> Self {
        Self { runs: runs.into_iter().map(|run| (run.run.id.clone(), Arc::new(run))).collect() }
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
                if self.takes_result(&run, &result.node, result.attempt)
                    && let Some(known) = self.runs.get_mut(&run)
                {
                    Arc::make_mut(known).results.insert(result.node.clone(), Arc::new(*result));
                }
            }
            RunChange::Memory(_) => {}
            RunChange::Forget { run } => {
                self.runs.remove(&run);
            }
        }
    }
}
