//! Which reports wait, in which order, and when the next batch may go.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// Reports in one batch at most. A thousand short pods are about a megabyte.
const BATCH: usize = 1_000;

/// One report on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) pod_uid: String,
    pub(super) revision: u64,
}

pub(super) struct Outbox {
    queue: VecDeque<String>,
    queued: HashSet<String>,
    interval: Duration,
    /// When a batch may go; `None` while one is on its way.
    ready: Option<Instant>,
    size: usize,
    backoff: ExponentialBackoff,
    /// In a row.
    pub(super) failures: u32,
}

impl Outbox {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: HashSet::new(),
            interval,
            ready: Some(Instant::now()),
            size: BATCH,
            backoff: backoff(),
            failures: 0,
        }
    }

    pub(super) fn add(&mut self, pod_uid: String) {
        if self.queue.is_empty()
            && let Some(ready) = &mut self.ready
        {
            // The first report waits a little for others to travel with.
            *ready = (*ready).max(Instant::now() + self.interval);
        }
        if self.queued.insert(pod_uid.clone()) {
            self.queue.push_back(pod_uid);
        }
    }

    pub(super) fn remove(&mut self, pod_uid: &str) {
        if self.queued.remove(pod_uid) {
            self.queue.retain(|queued| queued != pod_uid);
        }
    }

    /// When to send; `None` while there is nothing to send or a batch is on its way.
    pub(super) fn due(&self) -> Option<Instant> {
        self.ready.filter(|_| !self.queue.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.ready.is_none()
    }

    /// Reports that may go into the next batch.
    pub(super) fn next(&mut self) -> Option<String> {
        let pod_uid = self.queue.pop_front()?;
        self.queued.remove(&pod_uid);
        Some(pod_uid)
    }

    pub(super) fn put_back(&mut self, pod_uid: String) {
        if self.queued.insert(pod_uid.clone()) {
            self.queue.push_front(pod_uid);
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn sent(&mut self) {
        self.ready = None;
    }

    pub(super) fn answered(&mut self) {
        self.ready = Some(Instant::now());
        self.size = self.size.saturating_mul(2).min(BATCH);
        self.backoff = backoff();
        self.failures = 0;
    }

    /// The batch comes back, oldest first, and waits.
    pub(super) fn failed(&mut self, sent: Vec<Sent>, at_least: Option<Duration>) {
        for report in sent.into_iter().rev() {
            self.put_back(report.pod_uid);
        }
        let wait = self.backoff.next().unwrap_or(MAX_WAIT).max(at_least.unwrap_or_default());
        self.ready = Some(Instant::now() + wait.min(RETRY_AFTER_LIMIT));
        self.failures = self.failures.saturating_add(1);
    }

    /// The batch was too large for the other side. `Err`: it was a single report, which can never be sent.
    pub(super) fn refused(&mut self, sent: Vec<Sent>) -> Result<(), Vec<Sent>> {
        self.ready = Some(Instant::now());
        self.failures = self.failures.saturating_add(1);
        if sent.len() < 2 {
            return Err(sent);
        }
        self.size = sent.len() / 2;
        for report in sent.into_iter().rev() {
            self.put_back(report.pod_uid);
        }
        Ok(())
    }
}

const MAX_WAIT: Duration = Duration::from_secs(30);
/// A coordinator that asks for more is not believed.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(300);

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(MAX_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}
