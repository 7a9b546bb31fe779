//! One OS thread that makes cgroups, opens log files and has the [`Forker`] start processes: each of it blocks, shortly.

use jobmeter_daemon::error::chain;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jobmeter_hostfs::own_tree::{ContainerCgroup, Limits, OwnTree, OwnTreeError};
use jobmeter_hostfs::pidfd;
use jobmeter_jobfile::Invocation;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::clock::Clock;
use super::forker::{Birth, Born, Forker, NotBorn};
use super::{Streams, logs};

/// More starts than this at once wait in their runs; a start takes about a millisecond.
const QUEUE: usize = 32;

#[derive(Clone)]
pub(super) struct Spawner {
    requests: mpsc::Sender<Request>,
}

pub(super) struct Start {
    pub(super) cgroups: Option<OwnTree>,
    pub(super) pod_uid: String,
    pub(super) container_id: String,
    pub(super) limits: Limits,
    pub(super) invocation: Invocation,
    pub(super) streams: Streams,
    pub(super) log: PathBuf,
}

pub(super) struct Started {
    pub(super) pid: i32,
    /// See [`Born`].
    pub(super) rss_floor_bytes: u64,
    /// `None`: the kernel has no `pidfd_open(2)` (before Linux 5.3).
    pub(super) pidfd: Option<OwnedFd>,
    pub(super) cgroup: Option<ContainerCgroup>,
    pub(super) at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CannotStart {
    #[error(transparent)]
    Cgroup(#[from] OwnTreeError),
    #[error("failed to open log file {}", path.display())]
    Log {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("working directory {path:?} is not there")]
    WorkingDir { path: String },
    #[error("command {command:?} was not found")]
    NotFound { command: String },
    #[error("failed to execute {command:?}")]
    Execute {
        command: String,
        #[source]
        source: io::Error,
    },
    #[error("the process that starts processes does not answer")]
    Forker {
        #[source]
        source: io::Error,
    },
    #[error("the thread that starts processes has ended")]
    ThreadEnded,
}

struct Request {
    start: Start,
    reply: oneshot::Sender<Result<Started, CannotStart>>,
}

impl CannotStart {
    /// What a shell would exit with.
    pub(super) fn exit_code(&self) -> i32 {
        if matches!(self, Self::NotFound { .. }) { 127 } else { 126 }
    }
}

impl Spawner {
    pub(super) fn start(clock: Clock, forker: Forker) -> io::Result<Self> {
        let (requests, mut inbox) = mpsc::channel::<Request>(QUEUE);
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            while let Some(Request { start, reply }) = inbox.blocking_recv() {
                // A run that is not waited for any more was dropped with the whole executor.
                reply.send(spawn(start, &forker, clock)).unwrap_or_default();
            }
        })?;
        Ok(Self { requests })
    }

    pub(super) async fn spawn(&self, start: Start) -> Result<Started, CannotStart> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { start, reply }).await.map_err(|_| CannotStart::ThreadEnded)?;
        answer.await.map_err(|_| CannotStart::ThreadEnded)?
    }
}

fn spawn(start: Start, forker: &Forker, clock: Clock) -> Result<Started, CannotStart> {
    let log = match start.streams {
        Streams::Log => {
            let opened = logs::open(&start.log);
            Some(opened.map_err(|source| CannotStart::Log { path: start.log.clone(), source })?)
        }
        Streams::Inherit => None,
    };
    let started = spawn_into(&start, forker, log.as_ref(), clock);
    if let (Err(error), Some(mut log)) = (&started, log) {
        // The record has the reason as well: a full disk is no second error.
        writeln!(log, "jobmeter: {}", chain(error)).unwrap_or_default();
    }
    started
}

fn spawn_into(start: &Start, forker: &Forker, log: Option<&File>, clock: Clock) -> Result<Started, CannotStart> {
    let cgroup = start.cgroups.as_ref().map(|tree| make_cgroup(tree, start)).transpose()?;
    // Where it fails, the cgroup stays for the agent to read; it goes with the pod's.
    // Before it is born: until somebody has answered, a short command has ended.
    let at = clock.now();
    let Born { pid, rss_floor_bytes } = execute(start, forker, cgroup.as_ref(), log)?;
    Ok(Started { pid, rss_floor_bytes, at, pidfd: pidfd::open(pid).ok(), cgroup })
}

fn make_cgroup(tree: &OwnTree, start: &Start) -> Result<ContainerCgroup, OwnTreeError> {
    let pod = tree.pod(&start.pod_uid)?;
    match pod.container(&start.container_id, start.limits) {
        // The controller is not ours to use (a delegated subtree without it): the job runs, as it would without cgroups.
        Err(OwnTreeError::Write { path, source }) if source.kind() == io::ErrorKind::NotFound => {
            warn!(path = %path.display(), "a limit of the job cannot be enforced here");
            pod.container(&start.container_id, Limits::default())
        }
        made => made,
    }
}

fn execute(start: &Start, forker: &Forker, cgroup: Option<&ContainerCgroup>, log: Option<&File>) -> Result<Born, CannotStart> {
    let command = || start.invocation.argv.first().cloned().unwrap_or_default();
    if let Some(dir) = start.invocation.working_dir.as_ref().filter(|dir| !Path::new(dir).is_dir()) {
        return Err(CannotStart::WorkingDir { path: dir.clone() });
    }
    let join = cgroup.map(ContainerCgroup::join_files).transpose()?.unwrap_or_default();
    forker.spawn(&Birth { invocation: &start.invocation, log, join: &join }).map_err(|error| match error {
        NotBorn::Child(error) if error.kind() == io::ErrorKind::NotFound => CannotStart::NotFound { command: command() },
        NotBorn::Child(source) => CannotStart::Execute { command: command(), source },
        NotBorn::Forker(source) => CannotStart::Forker { source },
    })
}
