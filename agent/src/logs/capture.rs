//! The capture of logs: one OS thread that links every log file of every pod into the spool, the moment it is there.
//!
//! In: directory events (inotify), the standing of each pod (the books, pulled), outcomes of uploads. Out: [`SealedLog`]s on
//! a bounded channel. It never depends on being quick about anything but link(2): whether a pod is a job, what order its files
//! have, whether a container can still write, all that is found out later. The spool is the only state; a start reads it back.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc as handshake},
    thread::Builder,
};

use jobmeter_daemon::admin::SourceBoard;
use jobmeter_decide::books::{Books, Standing};
use jobmeter_protocol::{LogId, LostLog};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::{inbox::Inbox, thread::Thread};
use super::{LogsOptions, Outcome, SealedLog};
use crate::metrics::CaptureMetrics;

mod content;
mod copying;
mod inbox;
mod linking;
mod look;
mod lost;
mod names;
mod outcomes;
mod probe;
mod room;
mod run;
mod saved;
mod sealing;
mod spool;
#[cfg(test)]
mod tests;
mod thread;
mod tree;

pub use probe::probe;

/// Sealed logs that wait for an upload. What does not fit stays in the spool and is offered again.
const SEALED: usize = 64;
/// Uploads that end at the same time.
const OUTCOMES: usize = 64;

/// Who knows what a pod is. Asked every second, and when woken.
pub trait Standings: Send + Sync + 'static {
    fn standing(&self, pod_uid: &str) -> Standing;
}

impl Standings for Mutex<Books> {
    fn standing(&self, pod_uid: &str) -> Standing {
        self.lock().unwrap_or_else(PoisonError::into_inner).standing(pod_uid)
    }
}

/// A handle on the thread; cheap to clone. The thread ends with [`Capture::serve`].
#[derive(Clone)]
pub struct Capture {
    inbox: Arc<Inbox>,
}

/// What the shipping of logs holds of it.
pub struct CaptureEnds {
    pub sealed: mpsc::Receiver<SealedLog>,
    pub outcomes: mpsc::Sender<Outcome>,
    /// For [`Capture::serve`].
    pub serving: Serving,
}

/// The other ends, for the task that stands for the thread.
pub struct Serving {
    outcomes: mpsc::Receiver<Outcome>,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("failed to create the spool {}", path.display())]
    Spool {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to set up {what} for the capture of logs")]
    Setup {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl Capture {
    /// Links all that is there, then returns.
    pub fn start(
        pod_logs: PathBuf,
        options: LogsOptions,
        metrics: CaptureMetrics,
        board: SourceBoard,
    ) -> Result<(Self, CaptureEnds), CaptureError> {
        let setup = |what| move |source| CaptureError::Setup { what, source };
        let inbox = Arc::new(Inbox::new().map_err(|errno| setup("eventfd")(errno.into()))?);
        let (sealed, to_ship) = mpsc::channel(SEALED);
        let (outcomes, shipped) = mpsc::channel(OUTCOMES);
        let (ending, ended) = oneshot::channel();
        let (ready, attached) = handshake::sync_channel(1);
        let thread = Thread::new(pod_logs, options, sealed, Arc::clone(&inbox), metrics, board)?;
        let closing = Closing { inbox: Arc::clone(&inbox), _ending: ending };
        let body = move || {
            let _closing = closing;
            // Nobody waits only if `start` itself has died.
            thread.run(|| ready.send(()).unwrap_or_default());
        };
        Builder::new().name("log-capture".to_owned()).spawn(body).map_err(setup("a thread"))?;
        let died = |_closed| setup("the capturing thread")(std::io::Error::other("it ended at once"));
        attached.recv().map_err(died)?;
        let ends = CaptureEnds { sealed: to_ship, outcomes, serving: Serving { outcomes: shipped, ended } };
        Ok((Self { inbox }, ends))
    }

    /// From now on it is known what pods are; until then every log is kept and none is sealed.
    pub fn judge_by(&self, standings: Arc<dyn Standings>) {
        self.inbox.put(|pending| {
            pending.standings = Some(standings);
            pending.woken = true;
        });
    }

    /// A container has ended, or a pod's standing has changed.
    pub fn wake(&self) {
        self.inbox.put(|pending| pending.woken = true);
    }

    /// Why this node does not have a log that the coordinator asks for; `None`: it has it, and will send it.
    pub fn lost(&self, log: &LogId) -> Option<LostLog> {
        let known = self.inbox.known();
        let why = match (known.logs.get(log), known.lost.why(log)) {
            (Some(None), _) => return None,
            (Some(Some(why)), _) => why.clone(),
            (None, Some(why)) => why.to_owned(),
            (None, None) => "this agent has never seen a file of it: it was removed before the agent looked, or while it was \
                             down, or the container never started"
                .to_owned(),
        };
        Some(LostLog { log: log.clone(), why })
    }

    /// Resolves when nothing of the pod waits in the spool any more: all is stored, or given up. Also when the thread ends.
    pub async fn stored(&self, pod_uid: &str) {
        let (answer, answered) = oneshot::channel();
        self.inbox.put(|pending| pending.awaited.push((pod_uid.to_owned(), answer)));
        answered.await.unwrap_or_default();
    }

    /// Stands for the thread among the process's tasks: hands it the outcomes, and ends with it.
    pub async fn serve(self, serving: Serving, stop: CancellationToken) -> anyhow::Result<()> {
        let Serving { mut outcomes, mut ended } = serving;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = &mut ended => anyhow::bail!("the thread that captures logs ended"),
                Some(outcome) = outcomes.recv() => self.inbox.put(|pending| pending.outcomes.push(outcome)),
            }
        }
        while let Ok(outcome) = outcomes.try_recv() {
            self.inbox.put(|pending| pending.outcomes.push(outcome));
        }
        self.stop();
        ended.await.unwrap_or_default();
        Ok(())
    }

    pub fn stop(&self) {
        self.inbox.put(|pending| pending.stop = true);
    }
}

/// Tells everybody when the thread ends, in whatever way.
struct Closing {
    inbox: Arc<Inbox>,
    _ending: oneshot::Sender<()>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
