//! Owns every long task of a process: named, watched, told to stop by one token, waited for within a grace period.
//!
//! Takes futures and signals, gives one [`Code`]. A task that ends although nobody asked it to (with `Ok`, an error or a
//! panic) ends the process: a half-dead process that still answers probes is worse than a restart.

mod signals;
mod tasks;

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use crate::exit::Code;
use signals::Signals;
use tasks::{Ended, Lifetime, Outcome, Task, Tasks};

/// Requests to start a task wait here only until `run` is polled next; this is the burst at start-up, before `run`.
const WAITING_TASKS: usize = 64;

pub struct Supervisor {
    grace: Duration,
    token: CancellationToken,
    /// Listened to from the beginning, so that a signal that arrives during start-up is not lost (PID 1 of a container
    /// has no default action for it). A failure is reported by `run`.
    signals: io::Result<Signals>,
    tasks: Tasks,
    spawner: Spawner,
    waiting: mpsc::Receiver<Task>,
    signals_seen: u32,
    /// Why the process is to stop, if that was seen before `run`.
    stopped: Option<Code>,
    /// A supervisor that is dropped before `run`, because the start failed half-way, still stops what listens to the token.
    stop_on_drop: DropGuard,
}

/// Starts tasks after the supervisor itself has been handed to `run`. Cheap to clone.
#[derive(Clone)]
pub struct Spawner {
    waiting: mpsc::Sender<Task>,
}

/// The task was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process is stopping")]
pub struct Stopping;

impl Supervisor {
    /// Stops on SIGTERM and SIGINT. To be called within a tokio runtime.
    pub fn new(grace: Duration) -> Self {
        Self::listening(grace, Signals::from_os())
    }

    /// For a process whose signals mean something to somebody else, such as `jobmeter run`. It stops by [`Self::token`].
    pub fn without_signals(grace: Duration) -> Self {
        Self::listening(grace, Ok(Signals::Ignored))
    }

    fn listening(grace: Duration, signals: io::Result<Signals>) -> Self {
        let token = CancellationToken::new();
        let (spawner, waiting) = mpsc::channel(WAITING_TASKS);
        Self {
            grace,
            signals,
            tasks: Tasks::default(),
            spawner: Spawner { waiting: spawner },
            waiting,
            signals_seen: 0,
            stopped: None,
            stop_on_drop: token.clone().drop_guard(),
            token,
        }
    }

    /// Cancelled when the process is to stop. Cancelling it stops the process, with [`Code::Done`].
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a task that lasts as long as the process and returns `Ok` once the token is cancelled.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.start(Task::new(name, Lifetime::Process, task));
    }

    /// Starts a task that may end with `Ok` at any time. Its error or panic ends the process all the same.
    pub fn spawn_finite(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.start(Task::new(name, Lifetime::Finite, task));
    }

    /// Does what comes before [`Self::run`] and may take long, while the tasks that run already are watched. `None`: the process
    /// is to stop, and the work was dropped; `run` drains the tasks and says why.
    pub async fn until<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (None, Ok(signals)) = (self.stopped, &mut self.signals) else { return None };
        let mut watch = Watch { tasks: &mut self.tasks, signals, signals_seen: self.signals_seen };
        // Cancel-safe: `until_stop` loses nothing between two rounds, and the work is dropped only when it is not wanted any more.
        let cause = tokio::select! {
            biased;
            cause = watch.until_stop(&self.token, &mut self.waiting) => cause,
            done = work => return Some(done),
        };
        self.signals_seen = watch.signals_seen;
        self.stopped = Some(cause);
        self.token.cancel();
        None
    }

    /// Returns when every task has ended, the grace period is over, or a second signal asked not to wait.
    ///
    /// A task that fails while it is being drained makes the code [`Code::TaskDied`], too: an unwritten journal at shutdown
    /// must not look like a clean stop.
    pub async fn run(self) -> Code {
        let Self { grace, token, signals, mut tasks, spawner, mut waiting, signals_seen, stopped, stop_on_drop } = self;
        drop(spawner);
        let mut signals = match signals {
            Ok(signals) => signals,
            Err(error) => {
                error!(error = &error as &dyn Error, "failed to listen for signals");
                return Code::TaskDied;
            }
        };

        let mut watch = Watch { tasks: &mut tasks, signals: &mut signals, signals_seen };
        let cause = match stopped {
            Some(cause) => cause,
            None => watch.until_stop(&token, &mut waiting).await,
        };
        drop(stop_on_drop);
        // What was not started never will be; let go of what it holds, so that nobody drains in wait for it.
        drop(waiting);
        let drained = watch.drain(grace).await;
        if cause == Code::Done { drained } else { cause }
    }
}

impl Spawner {
    /// As [`Supervisor::spawn`]; the task begins once `run` is polled.
    pub async fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Result<(), Stopping> {
        self.waiting.send(Task::new(name, Lifetime::Process, task)).await.map_err(|_| Stopping)
    }

    /// As [`Supervisor::spawn_finite`]; the task begins once `run` is polled.
    pub async fn spawn_finite(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Result<(), Stopping> {
        self.waiting.send(Task::new(name, Lifetime::Finite, task)).await.map_err(|_| Stopping)
    }
}

struct Watch<'a> {
    tasks: &'a mut Tasks,
    signals: &'a mut Signals,
    signals_seen: u32,
}

impl Watch<'_> {
    async fn until_stop(&mut self, token: &CancellationToken, waiting: &mut mpsc::Receiver<Task>) -> Code {
        loop {
            // Every arm is cancel-safe: each waits on a channel, a signal stream or a `JoinSet`.
            tokio::select! {
                biased;
                () = token.cancelled() => {
                    info!("stopping: asked to");
                    return Code::Done;
                }
                signal = self.signals.next() => {
                    self.signals_seen += 1;
                    info!(signal, "stopping: signal received");
                    return Code::Done;
                }
                Some(ended) = self.tasks.next_ended() => {
                    // The token may have been cancelled since this loop looked at it.
                    if failed(&ended, token.is_cancelled()) {
                        report(&ended);
                        return Code::TaskDied;
                    }
                }
                Some(task) = waiting.recv() => self.tasks.start(task),
            }
        }
    }

    async fn drain(&mut self, grace: Duration) -> Code {
        let deadline = Instant::now() + grace;
        let mut code = Code::Done;
        loop {
            // Every arm is cancel-safe, as above.
            tokio::select! {
                biased;
                ended = self.tasks.next_ended() => match ended {
                    None => return code,
                    Some(ended) if failed(&ended, true) => {
                        report(&ended);
                        code = Code::TaskDied;
                    }
                    Some(_) => {}
                },
                signal = self.signals.next() => {
                    self.signals_seen += 1;
                    if self.signals_seen > 1 {
                        warn!(signal, tasks = ?self.tasks.names(), "aborted by a second signal");
                        return Code::GraceOverrun;
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    error!(tasks = ?self.tasks.names(), ?grace, "shutdown overran its grace");
                    return Code::GraceOverrun;
                }
            }
        }
    }
}

fn failed(ended: &Ended, stopping: bool) -> bool {
    match ended.outcome {
        Outcome::Returned => ended.lifetime == Lifetime::Process && !stopping,
        Outcome::Failed(_) | Outcome::Panicked(_) => true,
    }
}

fn report(ended: &Ended) {
    let task = ended.name;
    match &ended.outcome {
        Outcome::Returned => error!(task, "task ended although nobody asked it to"),
        Outcome::Failed(error) => error!(task, error = AsRef::<dyn Error>::as_ref(error), "task failed"),
        Outcome::Panicked(message) => error!(task, message_of_panic = message, "task panicked"),
    }
}

#[cfg(test)]
mod tests;
