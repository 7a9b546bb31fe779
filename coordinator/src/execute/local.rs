//! Runs jobs as processes of this machine, by the steps of [`jobmeter_decide::local`].
//!
//! ```text
//! LocalJob ─▶ Controller ─▶ steps ─▶ this ─▶ cgroup, process, log file        ─▶ NodeAgent: pods, exits, "final"
//!                ▲                   │                                        ─▶ world: pods, jobs
//!                └── ends, time ◀────┘                                        ─▶ ExecutorEvents, for people
//! ```
//! In: submissions, signals, a request to stop. Out: processes, and what an API server would say of them. Owner: one task.

mod child;
mod clock;
mod forker;
mod identity;
mod job_book;
mod leftovers;
mod logs;
mod pod_book;
mod pools;
mod run;
mod settle;
mod spawner;
mod submit_route;
mod task;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::local::{JobOutcome, PodOutcome, Settings, WaitReason};
use jobmeter_decide::pool::PoolSettings;
use jobmeter_hostfs::own_tree::OwnTree;
use jobmeter_jobfile::LocalJob;
use jobmeter_protocol::{ApiPod, ContainerExit, ExitStatus, Resources};
use tokio::sync::{mpsc, oneshot, watch};

use crate::world::LocalEvent;

pub use forker::Forker;
pub use pools::LocalPools;
pub use submit_route::submit_route;

/// Kubernetes waits 10 s before the first retry: on one machine somebody is looking.
pub const BACKOFF_BASE: Duration = Duration::from_secs(1);
pub const BACKOFF_CAP: Duration = Duration::from_secs(300);

/// Submissions and signals come from people: a few at a time.
const COMMANDS: usize = 16;
/// Events are for people too; whoever takes them must keep taking them.
const EVENTS: usize = 256;

#[derive(Clone, Debug)]
pub struct LocalOptions {
    pub node: String,
    pub settings: Settings,
    /// That jobs may name, besides the machine's own total; until [`LocalPools`] has others.
    pub pools: Vec<PoolSettings>,
    /// `<namespace>_<pod>_<uid>/<container>/<attempt>.log` below it, as a kubelet names them. A pod's directory is removed once
    /// the agent says that its logs are stored.
    pub log_root: PathBuf,
    /// `None`: no cgroups; figures come from `wait4(2)` and from sampling.
    pub cgroups: Option<OwnTree>,
    pub streams: Streams,
    /// What a container without a limit can use.
    pub node_millicores: u64,
    pub node_memory_bytes: u64,
}

/// Where a container's standard streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Standard input is empty, output and error go to the log file; the container gets a session of its own.
    Log,
    /// Those of this process, in its process group: a command that is run in place.
    Inherit,
}

/// Who keeps the books of this node, as the executor needs it.
pub trait NodeAgent: Send + Sync + 'static {
    /// In the order of events.
    fn pod_event(&self, event: PodNews) -> BoxFuture<'_, ()>;
    /// Takes the last reading; when it answers, that is durable and the cgroups may go.
    fn pod_final<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), NotFinal>>;
    /// Waits until all logs of a pod that has ended are stored, or it is settled that they never will be; then their files may
    /// go. Never answers while the store is away.
    fn logs_stored<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), NotStored>>;
}

#[derive(Debug, thiserror::Error)]
#[error("the agent could not close the books of the pod")]
pub struct NotFinal(#[source] pub Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug, thiserror::Error)]
#[error("the agent could not say what became of the pod's logs")]
pub struct NotStored(#[source] pub Box<dyn std::error::Error + Send + Sync>);

#[derive(Clone, Debug)]
pub enum PodNews {
    Applied(Box<ApiPod>),
    /// A container without a cgroup runs: this is its first process.
    Started {
        pod_uid: String,
        container_id: String,
        pid: i32,
    },
    Exited(Box<ContainerExit>),
    Gone {
        pod_uid: String,
    },
}

/// A job as it was named on submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Clone, Debug)]
pub enum ExecutorEvent {
    PodStarted {
        job: Arc<JobRef>,
        pod: String,
    },
    /// Its books are closed.
    PodEnded {
        job: Arc<JobRef>,
        pod: String,
        pod_uid: String,
        outcome: PodOutcome,
        exit: Option<ExitStatus>,
    },
    /// A container that could not be run.
    CouldNotRun {
        job: Arc<JobRef>,
        pod: String,
        container: String,
        why: String,
    },
    Retry {
        job: Arc<JobRef>,
        at: Timestamp,
    },
    JobFinished {
        job: Arc<JobRef>,
        outcome: JobOutcome,
    },
    /// It is suspended, or has a parallelism of 0: nothing of it will run.
    JobHeld {
        job: Arc<JobRef>,
    },
}

/// What runs and what does not, and why. At most a tenth of a second old.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    pub running: usize,
    pub unfinished_jobs: usize,
    pub waiting: Vec<WaitingPods>,
}

#[derive(Clone, Debug)]
pub struct WaitingPods {
    pub job: Arc<JobRef>,
    pub pods: u32,
    pub why: WaitReason,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to start the thread that starts processes")]
    Thread(#[source] std::io::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("job {namespace}/{name} is running already")]
    AlreadyExists { namespace: String, name: String },
    #[error("two jobs of the submission are named {namespace}/{name}")]
    NamedTwice { namespace: String, name: String },
    #[error("job {namespace}/{name} names pool {pool:?}, which is not configured: {}", configured(.known))]
    NoSuchPool { namespace: String, name: String, pool: String, known: Vec<String> },
    #[error("the executor is stopping")]
    Stopping,
}

fn configured(pools: &[String]) -> String {
    if pools.is_empty() { "no pool is".to_owned() } else { format!("there are {}", pools.join(", ")) }
}

/// A handle on the executor; cheap to clone.
#[derive(Clone)]
pub struct LocalExecutor {
    commands: mpsc::Sender<Command>,
    overview: watch::Receiver<Overview>,
    /// There are cgroups to hold containers to their limits.
    limits: bool,
}

enum Command {
    Submit { jobs: Vec<LocalJob>, reply: oneshot::Sender<Result<Vec<JobRef>, SubmitError>> },
    Forward { signal: i32 },
    Stop { at_once: bool, idle: Option<oneshot::Sender<()>> },
}

/// Starts the executor's task. The events must be taken for as long as it runs.
pub fn start(
    options: LocalOptions,
    forker: Forker,
    agent: Arc<dyn NodeAgent>,
    world: mpsc::Sender<LocalEvent>,
    pools: LocalPools,
    supervisor: &mut Supervisor,
) -> Result<(LocalExecutor, mpsc::Receiver<ExecutorEvent>), StartError> {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (events, news) = mpsc::channel(EVENTS);
    let (publish, overview) = watch::channel(Overview::default());
    let clock = clock::Clock::start();
    let spawner = spawner::Spawner::start(clock, forker).map_err(StartError::Thread)?;
    let outlets = task::Outlets { agent, world, events, overview: publish, pools };
    let limits = options.cgroups.is_some();
    let task = task::Executor::new(options, clock, spawner, outlets);
    supervisor.spawn("local executor", task.run(inbox, supervisor.token()));
    Ok((LocalExecutor { commands, overview, limits }, news))
}

impl LocalExecutor {
    /// All of the jobs or none.
    pub async fn submit(&self, jobs: Vec<LocalJob>) -> Result<Vec<JobRef>, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Submit { jobs, reply }).await.map_err(|_| SubmitError::Stopping)?;
        answer.await.map_err(|_| SubmitError::Stopping)?
    }

    /// Sends a signal to every container that runs.
    pub async fn forward(&self, signal: i32) {
        // An executor that has ended has no containers.
        self.commands.send(Command::Forward { signal }).await.unwrap_or_default();
    }

    /// Starts nothing more and ends what runs, with its grace period or at once. Returns when all books are closed and the logs
    /// are stored; for those it does not wait long.
    pub async fn stop(&self, at_once: bool) {
        let (idle, ended) = oneshot::channel();
        if self.commands.send(Command::Stop { at_once, idle: Some(idle) }).await.is_ok() {
            ended.await.unwrap_or_default();
        }
    }

    /// As [`Self::stop`], without waiting: for whoever takes the events.
    pub async fn begin_stop(&self, at_once: bool) {
        // An executor that has ended has stopped.
        self.commands.send(Command::Stop { at_once, idle: None }).await.unwrap_or_default();
    }

    /// A sentence for people, where a job has a limit that nothing will hold it to.
    pub fn unenforced(&self, jobs: &[LocalJob]) -> Option<&'static str> {
        let resources = || jobs.iter().flat_map(|job| &job.pod.containers).map(|container| container.resources);
        let is_limited = |limits: Resources| limits.memory_limit_bytes.is_some() || limits.cpu_limit_millicores.is_some();
        (!self.limits && resources().any(is_limited))
            .then_some("limits on memory and CPU are not enforced here: that takes cgroups of our own")
    }

    pub fn overview(&self) -> watch::Receiver<Overview> {
        self.overview.clone()
    }
}

#[cfg(test)]
mod tests;
