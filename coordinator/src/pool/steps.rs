//! Does the ledger's steps. In: [`Step`]s. Out: an [`Outcome`] for each, in whatever order they end. Owner: the pool task.
//!
//! At most [`AT_ONCE`] calls are on their way; the steps behind them are no more than there are places. A write asks for the
//! authority when its turn has come, and not before.

use std::sync::Arc;
use std::time::Duration;

use jobmeter_decide::pool::{Answer, Member, Step, Target, Write};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::execute::places::Places;
use crate::leadership::Authority;
use crate::metrics::Metrics;

pub(super) const AT_ONCE: usize = 32;
/// An API server that takes longer may have written all the same.
const CALL: Duration = Duration::from_secs(5);

pub(super) enum Outcome {
    Answered {
        uid: Arc<str>,
        what: Write,
        answer: Answer,
    },
    /// `found` is absent where nobody knows.
    Looked {
        uid: Arc<str>,
        found: Option<Option<Member>>,
    },
}

pub(super) struct Steps {
    hands: Hands,
    running: JoinSet<Outcome>,
}

#[derive(Clone)]
struct Hands {
    places: Arc<dyn Places>,
    permits: Arc<Semaphore>,
    authority: Authority,
    metrics: Metrics,
}

impl Steps {
    pub(super) fn new(places: Arc<dyn Places>, authority: Authority, metrics: Metrics) -> Self {
        let hands = Hands { places, permits: Arc::new(Semaphore::new(AT_ONCE)), authority, metrics };
        Self { hands, running: JoinSet::new() }
    }

    pub(super) fn start(&mut self, step: Step) {
        let hands = self.hands.clone();
        self.running.spawn(async move { hands.take(step).await });
    }

    /// The next that ends; never, where nothing was started. Cancel-safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<Outcome> {
        match self.running.join_next().await {
            Some(outcome) => Ok(outcome?),
            None => std::future::pending().await,
        }
    }

    pub(super) fn try_next(&mut self) -> anyhow::Result<Option<Outcome>> {
        Ok(self.running.try_join_next().transpose()?)
    }
}

impl Hands {
    async fn take(self, step: Step) -> Outcome {
        match step {
            Step::Reserve { target, slot } => {
                let answer = self.write(&target, Write::Reserve, || self.places.reserve(&target, &slot)).await;
                Outcome::Answered { uid: target.uid, what: Write::Reserve, answer }
            }
            Step::Release { target, slot } => {
                let answer = self.write(&target, Write::Release, || self.places.release(&target, &slot)).await;
                Outcome::Answered { uid: target.uid, what: Write::Release, answer }
            }
            Step::Look { target } => {
                let found = self.look(&target).await;
                Outcome::Looked { uid: target.uid, found }
            }
        }
    }

    async fn write<F: Future<Output = Answer>>(&self, target: &Target, what: Write, call: impl FnOnce() -> F) -> Answer {
        // Never closed.
        let _permit = self.permits.acquire().await;
        let answer = if self.authority.holds() {
            let late = || Answer::Unknown { why: format!("no answer within {} seconds", CALL.as_secs()) };
            timeout(CALL, call()).await.unwrap_or_else(|_| late())
        } else {
            Answer::Refused { why: "this coordinator does not lead any more".to_owned() }
        };
        let outcome = match &answer {
            Answer::Done(_) => "done",
            Answer::Gone => "gone",
            Answer::Refused { why } => {
                tell(target, what, "refused", why);
                "refused"
            }
            Answer::Unknown { why } => {
                tell(target, what, "unknown", why);
                "unknown"
            }
        };
        self.metrics.pool_write(word(what), outcome);
        answer
    }

    /// `None`: nobody knows.
    async fn look(&self, target: &Target) -> Option<Option<Member>> {
        // Never closed.
        let _permit = self.permits.acquire().await;
        let late = || Err(format!("no answer within {} seconds", CALL.as_secs()));
        let looked = timeout(CALL, self.places.look(target)).await.unwrap_or_else(|_| late());
        let outcome = match &looked {
            Ok(Some(_)) => "done",
            Ok(None) => "gone",
            Err(why) => {
                let (namespace, name) = (&target.namespace, &target.name);
                tracing::warn!(%namespace, %name, why, "nobody knows what became of a member of a pool");
                "unknown"
            }
        };
        self.metrics.pool_write("look", outcome);
        looked.ok()
    }
}

fn tell(target: &Target, what: Write, outcome: &str, why: &str) {
    let (namespace, name, write) = (&target.namespace, &target.name, word(what));
    tracing::warn!(%namespace, %name, write, outcome, why, "a place in a pool was not written");
}

fn word(what: Write) -> &'static str {
    match what {
        Write::Reserve => "reserve",
        Write::Release => "release",
    }
}
