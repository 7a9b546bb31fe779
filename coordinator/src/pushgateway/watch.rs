//! Which jobs are finished. A record that was closed makes its job a candidate; it is looked at soon, and then less and less
//! often, until the store says that nothing of it is open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jobmeter_protocol::Quality;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::PushMetrics;
use super::page::{self, Page};
use crate::store::{AppliedPod, Store, StoreError};

/// A job's pods tend to end together, and its own end is told a moment later.
const SOON: Duration = Duration::from_millis(500);
const LATEST: Duration = Duration::from_secs(300);
/// Jobs that have a closed record and are not finished; beyond it new ones are not pushed.
const CANDIDATES: usize = 10_000;

pub(super) struct Watch {
    store: Store,
    benchmark_label: String,
    pages: mpsc::Sender<Page>,
    metrics: PushMetrics,
    /// By namespace and name.
    candidates: BTreeMap<(String, String), Candidate>,
}

struct Candidate {
    benchmark: String,
    due: Instant,
    pause: Duration,
}

impl Watch {
    pub(super) fn new(store: Store, benchmark_label: String, pages: mpsc::Sender<Page>, metrics: PushMetrics) -> Self {
        Self { store, benchmark_label, pages, metrics, candidates: BTreeMap::new() }
    }

    pub(super) async fn run(
        mut self,
        mut changes: broadcast::Receiver<Arc<AppliedPod>>,
        token: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let due = self.candidates.values().map(|candidate| candidate.due).min();
            let next = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            // Cancel-safe per docs of `recv` and `sleep_until`.
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                change = changes.recv() => match change {
                    Ok(pod) => self.heard(&pod, Instant::now()),
                    // Jobs whose every record was among those are not pushed.
                    Err(broadcast::error::RecvError::Lagged(missed)) => self.metrics.failed("queue", missed),
                    Err(broadcast::error::RecvError::Closed) => {
                        token.cancelled().await;
                        return Ok(());
                    }
                },
                () = next => self.look(Instant::now()).await,
            }
        }
    }

    fn heard(&mut self, pod: &AppliedPod, now: Instant) {
        let identity = &pod.record.identity;
        if matches!(pod.record.quality, Quality::Provisional) || (pod.closed.is_none() && pod.amended.is_none()) {
            return;
        }
        let key = (identity.namespace.clone(), identity.job.name.clone());
        if self.candidates.len() >= CANDIDATES && !self.candidates.contains_key(&key) {
            self.metrics.failed("queue", 1);
            return;
        }
        let benchmark = pod.labels.get(&self.benchmark_label).unwrap_or(&identity.namespace).clone();
        self.candidates.insert(key, Candidate { benchmark, due: now + SOON, pause: SOON });
    }

    /// At all that are due.
    async fn look(&mut self, now: Instant) {
        let due: Vec<_> =
            self.candidates.iter().filter(|(_, candidate)| candidate.due <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            match self.finished(&key).await {
                Ok(true) => drop(self.candidates.remove(&key)),
                Ok(false) => self.later(&key, now),
                Err(err) => {
                    tracing::warn!(error = &err as &dyn std::error::Error, "failed to read a job to push its figures");
                    self.later(&key, now);
                }
            }
        }
    }

    fn later(&mut self, key: &(String, String), now: Instant) {
        if let Some(candidate) = self.candidates.get_mut(key) {
            candidate.pause = (candidate.pause * 2).min(LATEST);
            candidate.due = now + candidate.pause;
        }
    }

    /// Whether there is nothing more to wait for.
    async fn finished(&self, key: &(String, String)) -> Result<bool, StoreError> {
        let Some(detail) = self.store.job(&key.0, &key.1).await? else { return Ok(true) };
        if !page::is_finished(&detail) {
            return Ok(false);
        }
        let benchmark = self.candidates.get(key).map_or(key.0.as_str(), |candidate| candidate.benchmark.as_str());
        match page::page(&detail, benchmark) {
            Ok(page) => {
                if self.pages.try_send(page).is_err() {
                    self.metrics.failed("queue", 1);
                }
            }
            Err(err) => {
                self.metrics.failed("queue", 1);
                tracing::warn!(error = &err as &dyn std::error::Error, job = key.1, "failed to write the figures of a job");
            }
        }
        Ok(true)
    }
}
