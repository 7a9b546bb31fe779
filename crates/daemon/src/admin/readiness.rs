//! Which parts of a process are not ready yet, and why. Each part owns its [`Gate`]; `/readyz` reads them all.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tracing::{info, warn};

#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// Name of the gate → why it is closed; `None` when it is open.
    gates: watch::Sender<BTreeMap<&'static str, Option<String>>>,
}

#[derive(Clone, Debug)]
pub struct Gate {
    name: &'static str,
    gates: watch::Sender<BTreeMap<&'static str, Option<String>>>,
}

impl Readiness {
    /// A new gate is closed. Make all gates before the server starts, or the process looks ready too early.
    pub fn gate(&self, name: &'static str) -> Gate {
        self.gates.send_modify(|gates| {
            gates.insert(name, Some("starting".to_owned()));
        });
        Gate { name, gates: self.gates.clone() }
    }

    pub fn not_ready(&self) -> BTreeMap<&'static str, String> {
        self.gates.borrow().iter().filter_map(|(name, why)| Some((*name, why.clone()?))).collect()
    }

    /// Returns once every gate is open. Cancel-safe.
    pub async fn all_ready(&self) {
        let mut gates = self.gates.subscribe();
        // The sender lives in `self`, so the wait cannot end without its value.
        if gates.wait_for(|gates| gates.values().all(Option::is_none)).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Gate {
    pub fn ready(&self) {
        if self.change(None) {
            info!(part = self.name, "ready");
        }
    }

    pub fn not_ready(&self, why: impl Into<String>) {
        let why = why.into();
        if self.change(Some(why.clone())) {
            warn!(part = self.name, why, "not ready");
        }
    }

    fn change(&self, state: Option<String>) -> bool {
        self.gates.send_if_modified(|gates| {
            let changed = gates.get(self.name) != Some(&state);
            gates.insert(self.name, state);
            changed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_is_ready_when_its_last_gate_opens_and_says_which_ones_are_closed() {
        let readiness = Readiness::default();
        let (journal, pods) = (readiness.gate("journal"), readiness.gate("pods"));
        journal.ready();
        pods.not_ready("waiting for the first list");
        assert_eq!(readiness.not_ready(), BTreeMap::from([("pods", "waiting for the first list".to_owned())]));

        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.all_ready().await }
        });
        pods.ready();
        waiting.await.unwrap();
    }
}
