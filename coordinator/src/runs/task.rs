//! The loop of the runs: observations in, changes and steps out. Dull on purpose: what is decided, `decide::runs` decides.
//!
//! In: [`Seen`] observations, outcomes of steps, requests of the desk. Out: changes for the store, and once they are durable steps,
//! snapshots and answers. Owner: itself, for one term.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::runs::{Observation, Plan, Runs};
use jobmeter_protocol::runs::RunChange;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pods::{self, Pods};
use super::requests::Requests;
use super::steps::{Outcome, Steps};
use super::storing::{Begun, Storing};
use super::{RunsDesk, RunsSnapshot};
use crate::pool::ToPools;
use crate::pool::task::{at, moment};

pub type Seen = crate::pool::task::Seen<Observation>;
pub type Inbox = mpsc::Sender<Seen>;

/// Snapshots are this old at most.
const PUBLISH: Duration = Duration::from_millis(100);
/// Of what is there already, so much is taken before it is planned.
const TOGETHER: usize = 256;

pub(super) struct Task {
    runs: Runs,
    storing: Storing,
    seen: mpsc::Receiver<Seen>,
    steps: Steps,
    pods: Pods,
    desk: RunsDesk,
    requests: Requests,
    told: ToPools,
    publish_at: Option<Instant>,
}

/// What a term's task works with.
pub(super) struct Parts {
    pub(super) seen: mpsc::Receiver<Seen>,
    pub(super) steps: Steps,
    pub(super) storing: Storing,
    pub(super) begun: Begun,
    pub(super) desk: RunsDesk,
    pub(super) told: ToPools,
}

impl Task {
    /// Shows at once what is stored: pods of runs may report.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { seen, steps, storing, begun: Begun { runs, memories, key }, desk, told } = parts;
        let began = Timestamp::now();
        desk.set_key(key);
        let mut kept = Runs::new(began);
        kept.observe(Observation::Stored { runs, memories }, began);
        let (pods, requests) = (Pods::new(began), Requests::default());
        let mut task = Self { runs: kept, storing, seen, steps, pods, desk, requests, told, publish_at: None };
        let nodes = task.storing.mirror().runs().values().flat_map(|run| run.nodes.values());
        let stored = nodes.filter(|node| !node.state.is_over()).filter_map(|node| node.pod_uid.as_deref().map(Arc::from));
        task.told.stored.send_replace(Some(stored.collect()));
        task.tell_pools();
        task.publish();
        task
    }

    pub(super) async fn run(mut self, token: CancellationToken) -> anyhow::Result<()> {
        let mut asked = true;
        loop {
            let wake = self.runs.next_wake().map(moment);
            // Every arm is cancel-safe: channels, a `JoinSet`, timers.
            tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                outcome = self.steps.next() => self.take(outcome?),
                seen = self.seen.recv() => {
                    let Some(seen) = seen else { anyhow::bail!("nobody observes the cluster for the runs any more") };
                    self.observe(seen.what);
                }
                request = self.desk.request(), if asked => {
                    match request {
                        Some(request) => self.requests.take(request, &mut self.runs, self.storing.mirror(), Timestamp::now()),
                        None => asked = false,
                    }
                }
                () = at(self.publish_at) => {
                    self.publish();
                    continue;
                }
                () = at(wake) => {}
            }
            self.take_together()?;
            let plan = self.runs.plan(Timestamp::now());
            tokio::select! {
                // What was not stored was not done either: the next term decides again, and whoever asked is told that nobody knows.
                () = token.cancelled() => return Ok(()),
                () = self.settle(plan) => {}
            }
        }
    }

    /// What else is there already.
    fn take_together(&mut self) -> anyhow::Result<()> {
        for _ in 0..TOGETHER {
            let Some(outcome) = self.steps.try_next()? else { break };
            self.take(outcome);
        }
        for _ in 0..TOGETHER {
            let Ok(seen) = self.seen.try_recv() else { break };
            self.observe(seen.what);
        }
        for _ in 0..TOGETHER {
            let Some(request) = self.desk.try_request() else { break };
            self.requests.take(request, &mut self.runs, self.storing.mirror(), Timestamp::now());
        }
        Ok(())
    }

    fn take(&mut self, Outcome { step, answer }: Outcome) {
        self.observe(Observation::Answered { step, answer });
    }

    fn observe(&mut self, what: Observation) {
        let Some(what) = pods::without_strangers(what, self.storing.mirror()) else { return };
        for ended in self.pods.observe(&what, self.storing.mirror()) {
            self.steps.save_log(ended);
        }
        self.runs.observe(what, Timestamp::now());
    }

    /// First durable, then seen, then done, then answered.
    async fn settle(&mut self, plan: Plan) {
        let Plan { changes, steps, answers } = plan;
        let posted = self.requests.posted();
        // Before the others: a run that is forgotten now takes them with it.
        let results = posted.results.into_iter().map(|(run, result)| RunChange::Result { run, result: Box::new(result) });
        let changes: Vec<RunChange> = results.chain(changes).collect();
        self.storing.store(&changes).await;
        let ended: Vec<_> = changes.iter().flat_map(|change| self.pods.ended(change, self.storing.mirror())).collect();
        self.tell_pods(&changes);
        self.storing.apply(changes);
        // Here as well: where there is always something to observe, the loop never comes to its timers.
        let late = self.publish_at.is_some_and(|at| at <= Instant::now());
        if late || !answers.is_empty() || !posted.answers.is_empty() {
            self.publish();
        } else {
            self.publish_at.get_or_insert_with(|| Instant::now() + PUBLISH);
        }
        self.tell_pools();
        for step in steps {
            let ended = self.pods.deleted(&step, self.storing.mirror());
            self.steps.start(step, ended);
        }
        ended.into_iter().for_each(|ended| self.steps.save_log(ended));
        self.requests.answer(answers, posted.answers);
    }

    /// Of what was stored: only these may be let go by their pools.
    fn tell_pods(&self, changes: &[RunChange]) {
        let runs = self.storing.mirror().runs();
        self.told.stored.send_if_modified(|stored| {
            let stored = stored.get_or_insert_default();
            let mut more = false;
            for change in changes {
                let RunChange::Node { run, node } = change else { continue };
                let before = runs.get(run).and_then(|run| run.nodes.get(&node.node)).and_then(|node| node.pod_uid.as_deref());
                if let Some(uid) = before {
                    stored.remove(uid);
                }
                let uid = node.pod_uid.as_deref().filter(|_| !node.state.is_over());
                more |= uid.is_some_and(|uid| stored.insert(uid.into()) && before != Some(uid));
            }
            more
        });
    }

    fn tell_pools(&self) {
        let pools = self.runs.own_pools();
        self.told.own.send_if_modified(|own| {
            let changed = *own != pools;
            *own = pools;
            changed
        });
    }

    fn publish(&mut self) {
        self.publish_at = None;
        let definitions = self.runs.definitions(Timestamp::now());
        self.desk.publish(RunsSnapshot { definitions, runs: self.storing.mirror().runs().clone() });
    }
}

#[cfg(test)]
mod tests;
