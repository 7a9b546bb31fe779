//! One run of one container, from start to the last of its processes. In: what to start, signals. Out: a [`RunReport`].

use jobmeter_daemon::error::chain;
use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use jobmeter_decide::local::{Ending, RunKey};
use jobmeter_hostfs::own_tree::ContainerCgroup;
use jobmeter_protocol::ExitStatus;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::mpsc;
use tracing::warn;

use super::Streams;
use super::child::{self, Waited};
use super::clock::Clock;
use super::leftovers;
use super::spawner::{CannotStart, Spawner, Start, Started};

#[derive(Clone, Copy, Debug)]
pub(super) enum RunSignal {
    End(Ending),
    Forward(i32),
}

/// It runs.
pub(super) struct RunStarted {
    pub(super) run: RunKey,
    pub(super) pid: i32,
    pub(super) at: Timestamp,
}

pub(super) struct RunReport {
    pub(super) run: RunKey,
    pub(super) container_id: String,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) waited: Waited,
    /// Why it did not run at all.
    pub(super) could_not_run: Option<String>,
}

pub(super) struct Runner {
    pub(super) spawner: Spawner,
    pub(super) clock: Clock,
    pub(super) started: mpsc::Sender<RunStarted>,
}

impl Runner {
    pub(super) async fn run(self, run: RunKey, start: Start, mut signals: mpsc::Receiver<RunSignal>) -> RunReport {
        let container_id = start.container_id.clone();
        let own_group = start.streams == Streams::Log;
        let started = match self.spawner.spawn(start).await {
            Ok(started) => started,
            Err(error) => return self.not_started(run, container_id, &error),
        };
        let process = Process { pid: Pid::from_raw(started.pid), own_group };
        // The executor may be gone: the process is to be waited for all the same.
        let announced = RunStarted { run, pid: started.pid, at: started.at };
        self.started.send(announced).await.unwrap_or_default();
        let waited = process.wait(started.pidfd, &mut signals, started.cgroup.as_ref()).await;
        let ended = self.clock.now();
        if let Some(cgroup) = &started.cgroup {
            // A container is over when its first process is; what that left behind goes with it.
            leftovers::kill(cgroup.path(), || cgroup.kill()).await;
        }
        let waited = waited.unwrap_or_else(|error| {
            warn!(error = &error as &dyn std::error::Error, pid = started.pid, "failed to wait for a container");
            Waited::UNKNOWN
        });
        let waited = if started.cgroup.is_some() { waited.without_inheritance(started.rss_floor_bytes) } else { waited };
        let Started { at, .. } = started;
        RunReport { run, container_id, started: at, ended, waited, could_not_run: None }
    }

    fn not_started(&self, run: RunKey, container_id: String, error: &CannotStart) -> RunReport {
        let now = self.clock.now();
        let exit = ExitStatus { code: Some(error.exit_code()), signal: None };
        let waited = Waited { exit, ..Waited::UNKNOWN };
        RunReport { run, container_id, started: now, ended: now, waited, could_not_run: Some(chain(error)) }
    }
}

/// A child of this process that has not been reaped: its pid is its own until then.
struct Process {
    pid: Pid,
    own_group: bool,
}

impl Process {
    async fn wait(
        &self,
        pidfd: Option<OwnedFd>,
        signals: &mut mpsc::Receiver<RunSignal>,
        cgroup: Option<&ContainerCgroup>,
    ) -> io::Result<Waited> {
        let ended = has_ended(self.pid, pidfd);
        tokio::pin!(ended);
        loop {
            // Both arms are cancel-safe: one future, pinned, and a channel.
            tokio::select! {
                result = &mut ended => { result?; break }
                Some(signal) = signals.recv() => self.signal(signal, cgroup),
            }
        }
        // Before it is reaped: as long as it is a zombie, its group is no other's.
        if self.own_group {
            tell(killpg(self.pid, Signal::SIGKILL), "failed to end the rest of a process group");
        }
        child::reap(self.pid.as_raw())?.ok_or_else(|| io::Error::other("the kernel said that it had ended, and it runs"))
    }

    fn signal(&self, signal: RunSignal, cgroup: Option<&ContainerCgroup>) {
        let number = match signal {
            RunSignal::End(Ending::Terminate) => Signal::SIGTERM as i32,
            RunSignal::End(Ending::Kill) => Signal::SIGKILL as i32,
            RunSignal::Forward(number) => number,
        };
        let sent = match Signal::try_from(number) {
            // Everything in it: a shell does not pass on what it gets.
            Ok(signal) if self.own_group => killpg(self.pid, signal),
            Ok(signal) => kill(self.pid, signal),
            Err(error) => Err(error),
        };
        tell(sent, "failed to signal a container");
        if let (RunSignal::End(Ending::Kill), Some(cgroup)) = (signal, cgroup)
            && let Err(error) = cgroup.kill()
        {
            warn!(error = &error as &dyn std::error::Error, "failed to kill a container");
        }
    }
}

/// Readable descriptor where there is one, else a thread that waits. The process is not reaped.
async fn has_ended(pid: Pid, pidfd: Option<OwnedFd>) -> io::Result<()> {
    if let Some(pidfd) = pidfd {
        child::watch(pidfd)?.readable().await?.retain_ready();
        return Ok(());
    }
    let wait = move || waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?.map(drop).map_err(io::Error::from)
}

/// Nobody there to signal is what was wanted.
fn tell(sent: nix::Result<()>, event: &'static str) {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => warn!(error = &error as &dyn std::error::Error, event, "signal not delivered"),
    }
}
