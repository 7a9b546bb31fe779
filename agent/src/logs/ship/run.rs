//! The task: takes sealed logs, makes attempts as `jobmeter_decide::shipping` says, hands out outcomes.

use std::{error::Error, sync::Arc};

use anyhow::bail;
use backon::ExponentialBackoff;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use jobmeter_decide::shipping::{Ended, Lane, Next, Shipping, Ticket, WhyNot};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    ShipMetrics, ShipOptions, Shipper,
    attempt::Attempt,
    route::Route,
    trouble::{Cure, Trouble},
};
use crate::{
    logs::{Outcome, PieceForm, SealedLog},
    uplink::LogUplink,
};

/// What all attempts share.
pub(super) struct Ship {
    pub(super) uplink: Arc<dyn LogUplink>,
    pub(super) node: String,
    pub(super) metrics: ShipMetrics,
    pub(super) options: ShipOptions,
    pub(super) route: Route,
}

/// One log on its way.
struct Log {
    sealed: Arc<SealedLog>,
    backoff: ExponentialBackoff,
    failures: u32,
    disk_failures: u32,
}

/// A disk that fails as often does so for ever: the rest of the log is worth more than the hope.
const DISK_FAILURES: u32 = 3;

type Attempted = (Ticket, Log, Result<Outcome, Trouble>);

struct State {
    shipping: Shipping,
    /// Those that are not under way.
    logs: std::collections::BTreeMap<Ticket, Log>,
    under_way: FuturesUnordered<BoxFuture<'static, Attempted>>,
    /// Of all, while the store is away.
    backoff: ExponentialBackoff,
}

impl Shipper {
    /// Ends when told to, or when nobody seals logs any more and all of them are shipped.
    pub async fn run(
        self,
        mut sealed: mpsc::Receiver<SealedLog>,
        outcomes: mpsc::Sender<Outcome>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { uplink, node, metrics, options } = self;
        let mut state = State {
            shipping: Shipping::new(options.limits),
            logs: std::collections::BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            backoff: options.backoff(),
        };
        let ship = Arc::new(Ship { uplink, node, metrics, options, route: Route::default() });
        let mut open = true;
        while open || !state.shipping.is_empty() {
            let until = state.start_all(&ship, &outcomes);
            let takes = open && state.shipping.has_room();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                log = sealed.recv(), if takes => match log {
                    Some(log) => state.offer(&ship, log),
                    None => open = false,
                },
                Some(attempted) = state.under_way.next(), if !state.under_way.is_empty() => {
                    if outcomes.is_closed() && !stop.is_cancelled() {
                        bail!("nobody takes the outcomes of shipped logs any more");
                    }
                    state.ended(&ship, attempted);
                }
                () = sleep_until(until) => {}
            }
        }
        Ok(())
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl State {
    fn offer(&mut self, ship: &Ship, sealed: SealedLog) {
        // What is compressed may become anything.
        let known = sealed.pieces.iter().all(|piece| piece.form == PieceForm::Plain);
        let ticket = self.shipping.offer(known.then_some(sealed.raw_bytes), now());
        let log = Log { sealed: Arc::new(sealed), backoff: ship.options.backoff(), failures: 0, disk_failures: 0 };
        self.logs.insert(ticket, log);
    }

    /// Returns when to look again, whatever happens.
    fn start_all(&mut self, ship: &Arc<Ship>, outcomes: &mpsc::Sender<Outcome>) -> Option<Instant> {
        let why_not = loop {
            match self.shipping.next(now()) {
                Next::Start(ticket, lane) => {
                    if let Some(log) = self.logs.remove(&ticket) {
                        self.under_way.push(attempt(Arc::clone(ship), ticket, log, lane, outcomes.clone()).boxed());
                    }
                }
                Next::Idle(why_not) => break why_not,
            }
        };
        ship.metrics.show(self.shipping.counts(now()), self.shipping.failures());
        match why_not {
            WhyNot::Empty | WhyNot::LanesFull => None,
            WhyNot::Parked { until } | WhyNot::StoreAway { until } => Some(until.into()),
        }
    }

    fn ended(&mut self, ship: &Ship, (ticket, mut log, outcome): Attempted) {
        let how = match outcome {
            Ok(outcome) => {
                if matches!(outcome, Outcome::Stored { .. }) {
                    if self.shipping.failures() > 0 {
                        tracing::info!(failures = self.shipping.failures(), "logs are uploaded again");
                    }
                    self.backoff = ship.options.backoff();
                    Ended::Stored
                } else {
                    Ended::Dropped
                }
            }
            Err(Trouble::Larger) => Ended::Larger,
            Err(trouble) => self.failed(ship, &mut log, &trouble),
        };
        if !matches!(how, Ended::Stored | Ended::Dropped) {
            self.logs.insert(ticket, log);
        }
        self.shipping.ended(ticket, how, now());
    }

    fn failed(&mut self, ship: &Ship, log: &mut Log, trouble: &Trouble) -> Ended {
        ship.metrics.failed(trouble);
        self.complain(log, trouble);
        log.failures += 1;
        log.disk_failures += u32::from(matches!(trouble, Trouble::Read { .. }));
        let at_least = trouble.at_least().unwrap_or_default().min(ship.options.longest_retry_after);
        let wait = log.backoff.next().unwrap_or(ship.options.waits.1).max(at_least);
        match trouble.cure() {
            Cure::Wait => Ended::Wait(wait),
            Cure::Away => {
                let all = self.backoff.next().unwrap_or(ship.options.waits.1).max(at_least);
                Ended::Away { log: wait, all }
            }
        }
    }

    /// One line when it begins; while it lasts the counters tell.
    fn complain(&self, log: &Log, trouble: &Trouble) {
        let begins = match trouble.cure() {
            Cure::Away => self.shipping.failures() == 0,
            Cure::Wait => log.failures == 0,
        };
        let (error, id) = (trouble as &dyn Error, &log.sealed.log);
        let (namespace, pod, container, attempt) = (&id.namespace, &id.pod, &id.container, id.attempt);
        if begins && !trouble.is_expected() {
            tracing::warn!(namespace, pod, container, attempt, error, "failed to ship a log, it is kept and tried again");
        } else {
            tracing::debug!(namespace, pod, container, attempt, error, "failed to ship a log");
        }
    }
}

async fn attempt(ship: Arc<Ship>, ticket: Ticket, log: Log, lane: Lane, outcomes: mpsc::Sender<Outcome>) -> Attempted {
    let skip_bad_disk = log.disk_failures >= DISK_FAILURES;
    let attempt = Attempt { ship: &ship, sealed: &log.sealed, lane, skip_bad_disk };
    let outcome = match attempt.run().await {
        Err(Trouble::Unreadable { why }) => Ok(Outcome::Unreadable { log: log.sealed.log.clone(), why }),
        other => other,
    };
    if let Ok(outcome) = &outcome {
        ship.metrics.shipped(outcome, Timestamp::now().duration_since(log.sealed.sealed_at));
        tracing::debug!(?outcome, "a log is shipped");
        // Whether anybody takes it is looked at where the task ends.
        drop(outcomes.send(outcome.clone()).await);
    }
    (ticket, log, outcome)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
