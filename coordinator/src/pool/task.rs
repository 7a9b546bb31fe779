//! The loop of the pools: observations in, steps out. Dull on purpose: what is decided, the ledger decides.
//!
//! In: [`Seen`] observations, outcomes of steps, questions. Out: steps, statuses, figures. Owner: itself, for one term.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::pool::{Answer, Kind, Ledger, Observation, Step, Write};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::StoredPods;
use super::held::Held;
use super::steps::{Outcome, Steps};
use super::{PoolDesk, Question};
use crate::execute::places::Places;
use crate::leadership::Authority;
use crate::metrics::Metrics;

/// Something that was observed, and when.
#[derive(Debug)]
pub struct Seen<W = Observation> {
    pub at: Instant,
    pub what: W,
}

pub type Inbox<W = Observation> = mpsc::Sender<Seen<W>>;

/// Statuses are this old at most.
const PUBLISH: Duration = Duration::from_millis(100);
/// Observations that are taken together before the ledger plans.
const TOGETHER: usize = 256;
/// Reservations whose cause is remembered; beyond it those go that never came to a release.
const CAUSES: usize = 4096;
const CAUSE_KEPT: Duration = Duration::from_secs(600);

pub struct Task {
    ledger: Ledger,
    seen: mpsc::Receiver<Seen>,
    steps: Steps,
    desk: PoolDesk,
    metrics: Metrics,
    /// When what led to a reservation was observed, by UID.
    causes: HashMap<Arc<str>, Instant>,
    held: Held,
    stored: Option<watch::Receiver<StoredPods>>,
    publish_at: Option<Instant>,
}

impl Task {
    pub fn new(
        kinds: &[Kind],
        seen: mpsc::Receiver<Seen>,
        places: Arc<dyn Places>,
        desk: PoolDesk,
        metrics: Metrics,
        authority: Authority,
    ) -> Self {
        Self {
            ledger: Ledger::new(authority.epoch(), kinds),
            seen,
            steps: Steps::new(places, authority, metrics.clone()),
            desk,
            metrics,
            causes: HashMap::new(),
            held: Held::default(),
            stored: None,
            publish_at: None,
        }
    }

    /// Pods of runs are let go only after they were stored.
    #[must_use]
    pub fn after(self, stored: watch::Receiver<StoredPods>) -> Self {
        Self { stored: Some(stored), ..self }
    }

    pub async fn run(mut self, token: CancellationToken) -> anyhow::Result<()> {
        let mut asked = true;
        loop {
            let wake = self.ledger.next_wake().map(moment);
            // Every arm is cancel-safe: channels, a `JoinSet`, timers.
            let cause = tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                outcome = self.steps.next() => {
                    self.take(outcome?);
                    Instant::now()
                }
                seen = self.seen.recv() => {
                    let Some(seen) = seen else { anyhow::bail!("nobody observes the cluster for the pools any more") };
                    let at = seen.at;
                    self.observe(seen);
                    at
                }
                () = changed(self.stored.as_mut()) => {
                    self.free();
                    Instant::now()
                }
                question = self.desk.question(), if asked => {
                    match question {
                        Some(question) => self.answer(question),
                        None => asked = false,
                    }
                    continue;
                }
                () = at(self.publish_at) => {
                    self.publish();
                    continue;
                }
                () = at(wake) => Instant::now(),
            };
            let cause = self.take_together()?.map_or(cause, |earlier| earlier.min(cause));
            self.plan(cause);
            self.publish_at.get_or_insert_with(|| Instant::now() + PUBLISH);
        }
    }

    /// What else is there already. Returns when the earliest of it was seen.
    fn take_together(&mut self) -> anyhow::Result<Option<Instant>> {
        let mut earliest: Option<Instant> = None;
        for _ in 0..TOGETHER {
            let Some(outcome) = self.steps.try_next()? else { break };
            self.take(outcome);
        }
        for _ in 0..TOGETHER {
            let Ok(seen) = self.seen.try_recv() else { break };
            earliest = Some(earliest.map_or(seen.at, |earliest| earliest.min(seen.at)));
            self.observe(seen);
        }
        Ok(earliest)
    }

    fn observe(&mut self, seen: Seen) {
        let counted = self.ledger.is_ready();
        let passed = match &self.stored {
            Some(stored) => self.held.pass(seen.what, &stored.borrow()),
            None => Some(seen.what),
        };
        if let Some(what) = passed {
            self.ledger.observe(what, Timestamp::now());
        }
        if !counted && self.ledger.is_ready() {
            self.publish();
            tracing::info!(epoch = self.ledger.epoch(), "the pools were counted");
        }
    }

    fn free(&mut self) {
        let Some(stored) = &mut self.stored else { return };
        for what in self.held.free(&stored.borrow_and_update()) {
            self.ledger.observe(what, Timestamp::now());
        }
    }

    fn take(&mut self, outcome: Outcome) {
        let now = Timestamp::now();
        let observation = match outcome {
            Outcome::Answered { uid, what, answer } => {
                if what == Write::Release
                    && let Answer::Done(member) = &answer
                {
                    let took = self.causes.remove(&uid).map(|cause| cause.elapsed());
                    let pool = member.slot.as_ref().map_or(&*member.pool, |slot| slot.pool.as_str());
                    self.metrics.pool_released(pool, took, now.duration_since(member.created));
                } else if matches!(answer, Answer::Gone) {
                    self.causes.remove(&uid);
                }
                Observation::Answered { uid, what, answer }
            }
            Outcome::Looked { uid, found: Some(member) } => Observation::Found { uid, member },
            Outcome::Looked { uid, found: None } => Observation::Unseen { uid },
        };
        self.ledger.observe(observation, now);
    }

    fn plan(&mut self, cause: Instant) {
        for step in self.ledger.plan(Timestamp::now()) {
            match &step {
                Step::Reserve { target, .. } => {
                    self.causes.insert(target.uid.clone(), cause);
                }
                // Reserved by another one before: this is where it begins for us.
                Step::Release { target, .. } => {
                    self.causes.entry(target.uid.clone()).or_insert(cause);
                }
                Step::Look { .. } => {}
            }
            self.steps.start(step);
        }
        if self.causes.len() > CAUSES {
            self.causes.retain(|_, cause| cause.elapsed() < CAUSE_KEPT);
        }
    }

    /// Nothing is told before everything was counted: half of it would be wrong.
    fn publish(&mut self) {
        self.publish_at = None;
        if self.ledger.is_ready() {
            self.desk.publish(self.ledger.pools(Timestamp::now()));
        }
    }

    fn answer(&self, question: Question) {
        let detail = self.ledger.pool(&question.pool, question.limit, Timestamp::now());
        // Whoever asked may have left.
        drop(question.answer.send(detail));
    }
}

/// Never, where there are no runs, or nobody keeps them any more. Cancel-safe.
async fn changed(stored: Option<&mut watch::Receiver<StoredPods>>) {
    let told = match stored {
        Some(stored) => stored.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

pub(crate) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn moment(time: Timestamp) -> Instant {
    let ahead = time.duration_since(Timestamp::now());
    // Whole milliseconds, rounded up: woken too early, it would spin.
    let ahead = Duration::try_from(ahead).unwrap_or_default() + Duration::from_millis(1);
    Instant::now() + ahead
}

#[cfg(test)]
mod tests;
