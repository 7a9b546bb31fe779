//! The task of one candidate: makes the elector's calls, publishes what comes of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::leadership::{Answer, Elector, Lost, Step, Timing};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Authority, Leader, LeadershipMetrics, Standing};
use crate::execute::lease::LeaseObject;

/// Its name at `/status`.
const SOURCE: &str = "leadership";

pub struct Candidate {
    pub lease: LeaseObject,
    pub timing: Timing,
    /// No epoch up to this one is used again.
    pub floor: u64,
    /// How identities of earlier processes of the same pod begin.
    pub predecessors: Option<String>,
    /// Otherwise it only looks who leads, until [`Leadership::stand`].
    pub stands: bool,
    pub metrics: LeadershipMetrics,
    pub sources: SourceBoard,
}

/// What others see of the task. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    identity: Arc<str>,
    standing: watch::Receiver<Standing>,
    authority: watch::Receiver<Option<Authority>>,
    stands: Arc<AtomicBool>,
    /// Left by the task at its clean end.
    left: Arc<Mutex<Option<Task>>>,
}

/// The end of a leader. The process ends with it: what it had under way is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[error("this coordinator no longer leads: it lost the Lease {lease}: {why}{}", last(trouble))]
pub struct LostLeadership {
    pub lease: String,
    pub why: Lost,
    /// What the last call failed with.
    pub trouble: Option<String>,
}

fn last(trouble: &Option<String>) -> String {
    trouble.as_ref().map_or_else(String::new, |trouble| format!("; the last call failed: {trouble}"))
}

struct Task {
    elector: Elector,
    lease: LeaseObject,
    /// When the elector's clock was zero.
    began: Instant,
    authority: Option<Authority>,
    stands: Arc<AtomicBool>,
    seen_epoch: Option<u64>,
    trouble: Option<String>,
    metrics: LeadershipMetrics,
    sources: SourceBoard,
    standing: watch::Sender<Standing>,
    authorities: watch::Sender<Option<Authority>>,
}

/// Stands for election until the process ends.
pub fn start(candidate: Candidate, supervisor: &mut Supervisor) -> Leadership {
    let Candidate { lease, timing, floor, predecessors, stands, metrics, sources } = candidate;
    let stands = Arc::new(AtomicBool::new(stands));
    let (standing, standing_view) = watch::channel(Standing::unknown());
    let (authorities, authority) = watch::channel(None);
    let left = Arc::new(Mutex::new(None));
    let (identity, left_by_task) = (lease.identity().into(), left.clone());
    let leadership = Leadership { identity, standing: standing_view, authority, stands: stands.clone(), left: left_by_task };
    let task = Task {
        elector: Elector::new(timing, lease.identity().to_owned(), floor).succeeding(predecessors),
        lease,
        began: Instant::now(),
        authority: None,
        stands,
        seen_epoch: None,
        trouble: None,
        metrics,
        sources,
        standing,
        authorities,
    };
    supervisor.spawn("leadership", task.run(left, supervisor.token()));
    leadership
}

impl Leadership {
    /// `<pod>_<uuid>` of this process.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// From now on it takes the Lease when it can. Who could not lead must not keep it from those who can.
    pub fn stand(&self) {
        self.stands.store(true, Ordering::Release);
    }

    /// Waits until this process leads. Cancel-safe.
    pub async fn authority(&self) -> Authority {
        let mut authorities = self.authority.clone();
        loop {
            if let Some(authority) = &*authorities.borrow_and_update() {
                return authority.clone();
            }
            if authorities.changed().await.is_err() {
                // The task has ended, and the process ends with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Gives the Lease back. To be called when all work has ended and the store is closed; best effort: it ends by itself.
    /// `floor`: who leads next must have a later epoch than that one.
    pub async fn release(&self, floor: u64) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = left else { return };
        if let Some(authority) = &task.authority {
            authority.revoke();
        }
        let Some(step) = task.elector.release(task.now(), floor) else { return };
        match task.call(step).await {
            Some(Answer::Written(_)) => tracing::info!(lease = %task.lease, "the Lease was given back"),
            _ => tracing::warn!(lease = %task.lease, trouble = task.trouble, "the Lease was not given back, and ends by itself"),
        }
    }
}

impl Task {
    async fn run(mut self, left: Arc<Mutex<Option<Self>>>, token: CancellationToken) -> anyhow::Result<()> {
        while !token.is_cancelled() {
            if let Some(until) = self.step().await? {
                // Cancel-safe: a sleep that is dropped has done nothing.
                tokio::select! {
                    () = token.cancelled() => {}
                    () = tokio::time::sleep_until(self.began + until) => {}
                }
            }
        }
        // The others end their work now and may write still: for as long as possible.
        self.elector.hurry();
        self.step().await?;
        *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
        Ok(())
    }

    /// One step; until when to wait before the next one.
    async fn step(&mut self) -> Result<Option<Duration>, LostLeadership> {
        let step = self.elector.next(self.now());
        match step {
            Step::Wait { until, why } => {
                tracing::trace!(?why, "waiting");
                return Ok(Some(until));
            }
            Step::BecomeLeader { epoch } => self.lead(epoch),
            Step::Lost { why } => return Err(self.lose(why)),
            call => {
                let leads = self.elector.holds_until().is_some();
                if let Some(answer) = self.call(call).await {
                    self.take(answer, leads);
                }
            }
        }
        Ok(None)
    }

    /// `None`: it was no call.
    async fn call(&mut self, step: Step) -> Option<Answer> {
        let called = match step {
            Step::Create { .. } | Step::Replace { .. } if !self.stands.load(Ordering::Acquire) => return Some(Answer::Conflict),
            Step::Get { within } => self.lease.get(within).await,
            Step::Create { claim, within } => self.lease.create(&claim, within).await,
            Step::Replace { resource_version, claim, within } => self.lease.replace(&resource_version, &claim, within).await,
            Step::Wait { .. } | Step::BecomeLeader { .. } | Step::Lost { .. } => return None,
        };
        let answer = called.map_err(|err| {
            tracing::warn!(error = &err as &dyn std::error::Error, "a call for the Lease failed");
            self.trouble = Some(full(&err));
        });
        if answer.is_ok() {
            self.trouble = None;
        }
        Some(answer.unwrap_or(Answer::Unknown))
    }

    fn take(&mut self, answer: Answer, leads: bool) {
        match &answer {
            Answer::Written(_) => self.metrics.renewed(Timestamp::now()),
            Answer::Unknown | Answer::Conflict if leads => self.metrics.renew_failed(),
            _ => {}
        }
        if let Answer::Found(lease) | Answer::Written(lease) = &answer {
            self.metrics.moved(self.seen_epoch.unwrap_or(lease.transitions), lease.transitions);
            self.seen_epoch = Some(lease.transitions);
        }
        self.elector.answered(self.now(), answer, jitter());
        match (&self.authority, self.elector.holds_until()) {
            (Some(authority), Some(until)) => authority.extend(until),
            (None, Some(_)) => {}
            (_, None) => self.follow(),
        }
    }

    fn lead(&mut self, epoch: u64) {
        let Some(until) = self.elector.holds_until() else { return };
        let authority = Authority::of(epoch, self.began, until);
        self.authority = Some(authority.clone());
        self.metrics.leads(true);
        tracing::info!(lease = %self.lease, epoch, "this coordinator leads");
        self.publish(Standing::Leading { epoch });
        self.authorities.send_replace(Some(authority));
    }

    fn follow(&self) {
        if self.authority.is_some() {
            // Lost: the next step says so.
            return;
        }
        let leader =
            self.elector.holder().map(|holder| Leader { holder: holder.to_owned(), address: self.lease.address_of(holder) });
        self.publish(Standing::Following { leader, trouble: self.trouble.clone() });
    }

    fn lose(&mut self, why: Lost) -> LostLeadership {
        if let Some(authority) = &self.authority {
            authority.revoke();
        }
        self.metrics.leads(false);
        let lost = LostLeadership { lease: self.lease.to_string(), why, trouble: self.trouble.clone() };
        self.publish(Standing::Following { leader: None, trouble: Some(lost.to_string()) });
        lost
    }

    fn publish(&self, standing: Standing) {
        match &standing {
            Standing::Following { trouble: Some(error), .. } => {
                self.sources.set_with_detail(SOURCE, SourceState::Failed { error: error.clone() }, standing.to_string());
            }
            standing => self.sources.set_with_detail(SOURCE, SourceState::Active, standing.to_string()),
        }
        self.standing.send_if_modified(|now| {
            let changed = *now != standing;
            *now = standing;
            changed
        });
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

/// From -1 to 1.
fn jitter() -> f64 {
    let random = uuid::Uuid::new_v4().as_u64_pair().1 as u32;
    f64::from(random) / f64::from(u32::MAX) * 2.0 - 1.0
}

fn full(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| cause.source());
    causes.fold(err.to_string(), |text, cause| format!("{text}: {cause}"))
}
