//! The task that keeps the books: all that is observed on this node goes through it, one thing after the other.
//!
//! Inputs: the kernel watcher, the pod source, the sampler, the coordinator's answers, requests of the executor, time.
//! Outputs: the journal, reports and heartbeats, commands to watcher and sampler. What to do is decided by
//! `jobmeter_decide::books`; here it is done. Nothing here waits for the network: calls run beside the loop.

mod beat;
mod inbox;
mod kernel;
mod outbox;
mod sending;
mod steps;
mod work;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_decide::books::{Books, Observation, Step};
use jobmeter_hostfs::HostRoot;
use jobmeter_protocol::{LostLog, NodeStatus, PodEvidence};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    journal::Journal,
    logs::Capture,
    metrics::{JobSeries, OwnMetrics},
    pods::PodEvent,
    sampler,
    uplink::Uplink,
    watch::Watch,
};
pub use inbox::Inbox;
use inbox::Input;
use outbox::Outbox;
use work::{Purpose, Work};

#[derive(Clone, Copy, Debug)]
pub struct KeeperPace {
    /// Reports wait this long for others.
    pub batch: Duration,
    pub heartbeat: Duration,
    /// What may be spent on last reports when the process stops.
    pub drain: Duration,
}

impl Default for KeeperPace {
    fn default() -> Self {
        Self { batch: Duration::from_millis(100), heartbeat: Duration::from_secs(10), drain: Duration::from_secs(2) }
    }
}

/// What an executor asks of the agent beside it.
pub enum Request {
    /// Take the last reading of a pod and make it durable.
    Final { pod_uid: String, reply: oneshot::Sender<Result<PodEvidence, FinalError>> },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinalError {
    #[error("the agent keeps no books of pod {pod_uid}")]
    NotMetered { pod_uid: String },
    #[error("the last reading of pod {pod_uid} could not be made durable")]
    NotDurable { pod_uid: String },
    #[error("the agent is stopping")]
    Stopping,
}

pub struct Keeper {
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) journal: Journal,
    /// None: there are no cgroups to watch.
    pub(crate) watch: Option<Watch>,
    pub(crate) sampler: mpsc::Sender<sampler::Command>,
    pub(crate) uplink: Arc<dyn Uplink>,
    pub(crate) status: NodeStatus,
    pub(crate) host: HostRoot,
    pub(crate) pace: KeeperPace,
    pub(crate) metrics: OwnMetrics,
    pub(crate) series: JobSeries,
    pub(crate) sources: SourceBoard,
    /// None: logs are not captured.
    pub(crate) logs: Option<Capture>,
}

/// What is under way.
struct State {
    outbox: Outbox,
    work: FuturesUnordered<Work>,
    /// Pods to write to the journal, and those to drop from it, at the end of this turn.
    to_journal: BTreeSet<String>,
    to_forget: BTreeSet<String>,
    finals: Vec<(PodEvidence, oneshot::Sender<Result<PodEvidence, FinalError>>)>,
    /// Asked for by the coordinator and not known here.
    unknown: BTreeSet<String>,
    /// Logs that were asked for and are not here.
    logs_unknown: Vec<LostLog>,
    next_heartbeat: Instant,
    heartbeat_under_way: bool,
    heartbeats_fail: bool,
}

impl Keeper {
    /// `begin`: what the restored books ask for.
    pub async fn run(self, mut inbox: Inbox, begin: Vec<Step>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut state = State {
            outbox: Outbox::new(self.pace.batch),
            work: FuturesUnordered::new(),
            to_journal: BTreeSet::new(),
            to_forget: BTreeSet::new(),
            finals: Vec::new(),
            unknown: BTreeSet::new(),
            logs_unknown: Vec::new(),
            next_heartbeat: Instant::now(),
            heartbeat_under_way: false,
            heartbeats_fail: false,
        };
        self.perform(&mut state, begin).await?;
        loop {
            let heartbeat = (!state.heartbeat_under_way).then_some(state.next_heartbeat);
            let input = inbox.next(&mut state.work, state.outbox.due(), heartbeat, &stop).await;
            if matches!(input, Input::Stop) {
                return self.drain(state, inbox).await;
            }
            let is_news = matches!(input, Input::Kernel(_) | Input::Pods(_) | Input::Done(_));
            self.take(&mut state, &mut inbox, input).await?;
            self.settle(&mut state).await?;
            if let Some(logs) = self.logs.as_ref().filter(|_| is_news) {
                logs.wake();
            }
        }
    }

    async fn take(&self, state: &mut State, inbox: &mut Inbox, input: Input) -> anyhow::Result<()> {
        match input {
            Input::Kernel(events) => self.take_kernel(state, events).await,
            Input::WatchEnded => anyhow::bail!("the kernel watcher ended"),
            Input::Pods(events) => self.take_pods(state, events).await,
            Input::Samples(samples) => {
                for sampled in samples {
                    self.observe(state, &sampled.pod_uid, Observation::Sampled(sampled.sample)).await?;
                }
                Ok(())
            }
            Input::Request(Request::Final { pod_uid, reply }) => {
                self.look(state, pod_uid, Purpose::Final(reply));
                Ok(())
            }
            Input::Done(done) => self.finish(state, inbox, done).await,
            Input::Heartbeat => {
                self.beat(state);
                Ok(())
            }
            Input::Tick => {
                let steps = self.books().tick(Timestamp::now());
                self.show_sizes();
                self.perform(state, steps).await
            }
            Input::Flush | Input::Stop => Ok(()),
        }
    }

    async fn observe(&self, state: &mut State, pod_uid: &str, observation: Observation) -> anyhow::Result<()> {
        let steps = self.books().observe(pod_uid, observation, Timestamp::now());
        self.perform(state, steps).await
    }

    async fn take_pods(&self, state: &mut State, events: Vec<PodEvent>) -> anyhow::Result<()> {
        for event in events {
            match event {
                PodEvent::Resynced(pods) => {
                    let steps = self.books().resync(pods, Timestamp::now());
                    self.perform(state, steps).await?;
                }
                PodEvent::Applied(pod) => {
                    let uid = pod.uid.clone();
                    self.observe(state, &uid, Observation::Api(Box::new(pod))).await?;
                }
                PodEvent::Gone { pod_uid } => self.observe(state, &pod_uid, Observation::ApiGone).await?,
                PodEvent::Started { pod_uid, container_id, pid } => {
                    let started = Observation::Started { container_id: container_id.clone() };
                    self.observe(state, &pod_uid, started).await?;
                    self.command(sampler::Command::Root { pod_uid, container_id, pid }).await?;
                }
                PodEvent::Exited(exit) => {
                    let (pod_uid, container_id) = (exit.pod_uid.clone(), exit.container_id.clone());
                    self.command(sampler::Command::RootEnded { pod_uid: pod_uid.clone(), container_id }).await?;
                    self.observe(state, &pod_uid, Observation::Exited(Box::new(exit))).await?;
                }
            }
        }
        Ok(())
    }

    /// The end of a turn: what was learned goes to the disk, and what is due on its way.
    async fn settle(&self, state: &mut State) -> anyhow::Result<()> {
        self.write_journal(state).await?;
        self.send_due(state);
        Ok(())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_sizes(&self) {
        let (followed, unacknowledged) = {
            let books = self.books();
            (books.followed().count(), books.unacknowledged())
        };
        self.metrics.pods_followed.set(i64::try_from(followed).unwrap_or(i64::MAX));
        self.metrics.unacknowledged.set(i64::try_from(unacknowledged).unwrap_or(i64::MAX));
    }
}
