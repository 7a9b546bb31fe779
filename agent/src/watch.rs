//! The kernel thread: sees pods and containers come and end, reads their counters at that moment, hands them over.
//!
//! One OS thread at real-time priority where that is granted, doing only wake → pread → hand over. In: directory events
//! (inotify), ends of processes (pidfd), emptied cgroups (`cgroup.events`), commands (eventfd). Out: [`KernelEvent`]s on a
//! bounded channel. Counters are cumulative, so a full channel makes it coalesce (the latest reading of each pod), never
//! block. The channel closes when the thread ends, for whatever reason.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc as handshake},
    thread::Builder,
};

use jiff::Timestamp;
pub use jobmeter_hostfs::cgroup::{PodPlace, TreeKind};
use jobmeter_hostfs::{HostRoot, cgroup::LayoutError};
use jobmeter_protocol::{Reading, SegmentId};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot};

use self::{
    inbox::{Inbox, Request},
    thread::Thread,
};

mod commands;
mod containers;
mod directories;
mod inbox;
mod outbox;
mod pod;
mod pods;
mod readings;
mod roots;
#[cfg(test)]
mod tests;
mod thread;

#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "moved once, through a channel; the large one is the common one")]
pub enum KernelEvent {
    PodAppeared {
        pod_uid: String,
        segment: SegmentId,
        at: Timestamp,
        kind: TreeKind,
    },
    ContainerAppeared {
        pod_uid: String,
        container_id: String,
        /// 0 = the first cgroup made in this pod: the sandbox, on kubelet trees.
        order: u32,
        at: Timestamp,
        /// It was there before the watcher looked: `at` is no start.
        late: bool,
    },
    ContainerEnded {
        pod_uid: String,
        container_id: String,
        at: Timestamp,
        /// `None`: its cgroup went before it could be read.
        container: Option<Reading>,
        pod: Option<Reading>,
        seen_by: SeenBy,
        /// It was over before the watcher looked: `at` is when that was found out.
        late: bool,
    },
    PodRead {
        pod_uid: String,
        reading: Reading,
    },
    PodGone {
        pod_uid: String,
        segment: SegmentId,
        /// The last good one.
        reading: Option<Reading>,
        at: Timestamp,
    },
    /// The inotify queue overflowed; a rescan has been done.
    Overflowed {
        at: Timestamp,
    },
    Problem {
        path: PathBuf,
        why: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenBy {
    Pidfd,
    /// Its cgroup was found to have emptied.
    CgroupEvents,
    /// Its directory was removed.
    Removal,
    /// Somebody asked for the pod, and it was found ended.
    Command,
}

#[derive(Clone, Debug)]
pub struct WatchOptions {
    pub host: HostRoot,
    pub trees: Trees,
    /// `SCHED_FIFO` priority to ask for, 1 to 99; `None`: do not ask.
    pub priority: Option<u8>,
    /// Size of the event channel.
    pub capacity: usize,
}

/// Which pods are this agent's.
#[derive(Clone, Debug, Default)]
pub struct Trees {
    /// Pods of a kubelet.
    pub kubelet: Option<KubeletTrees>,
    /// Pods of our own executor: [`jobmeter_hostfs::own_tree::OwnTree::root`].
    pub local: Option<PathBuf>,
}

#[derive(Clone, Debug, Default)]
pub struct KubeletTrees {
    /// The kubelet's `--cgroup-root`, such as `/node-b`; `None`: wherever a `kubepods` tree is found.
    pub below: Option<String>,
    /// Prefixes that belong to other nodes of the same machine.
    pub except: Vec<String>,
    /// A pod that is known to be on this node (the agent's own): of several trees only the one that holds it is this node's.
    /// Where none holds it, the agent runs outside the cluster and all of them are.
    pub holding: Option<String>,
}

/// A handle on the thread; cheap to clone. The thread ends with the last one, or with the receiver of its events.
#[derive(Clone, Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inbox: Arc<Inbox>,
    realtime: Result<(), String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodSnapshot {
    pub pod_uid: String,
    pub segment: SegmentId,
    pub kind: TreeKind,
    pub reading: Option<Reading>,
    /// Those whose cgroup is there now.
    pub containers: Vec<ContainerSnapshot>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSnapshot {
    pub container_id: String,
    pub order: u32,
    /// Whether it still has processes.
    pub running: bool,
    pub reading: Option<Reading>,
}

#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("failed to find the cgroup hierarchies")]
    Layout(#[from] LayoutError),
    #[error("failed to read the machine's boot ID")]
    BootId(#[source] jobmeter_hostfs::ReadError),
    #[error("failed to set up {what}")]
    Setup {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel watcher has ended")]
pub struct WatchClosed;

impl Watch {
    /// Attaches to all pods that are there, then returns; their events are in the channel, or wait for room in it.
    pub fn start(options: WatchOptions) -> Result<(Self, mpsc::Receiver<KernelEvent>), WatchError> {
        let setup = |what| move |source| WatchError::Setup { what, source };
        if options.trees.kubelet.is_some() {
            raise_descriptor_limit().map_err(|errno| setup("the limit of descriptors")(errno.into()))?;
        }
        let (sender, receiver) = mpsc::channel(options.capacity.max(1));
        let inbox = Arc::new(Inbox::new().map_err(|errno| setup("eventfd")(errno.into()))?);
        let thread = Thread::new(&options, sender, Arc::clone(&inbox))?;
        let (granted, answer) = handshake::sync_channel(1);
        let closing = Closing(Arc::clone(&inbox));
        let body = move || {
            let _closing = closing;
            // Nobody waits for the answer only if `start` itself has died.
            thread.run(options.priority, |outcome| granted.send(outcome).unwrap_or_default());
        };
        Builder::new().name("jobmeter-watch".to_owned()).spawn(body).map_err(setup("a thread"))?;
        let died = |_closed| setup("the watching thread")(std::io::Error::other("it ended at once"));
        let realtime = answer.recv().map_err(died)?;
        Ok((Self { shared: Arc::new(Shared { inbox, realtime }) }, receiver))
    }

    /// The pod and its containers right now; `None`: no such cgroup. Finds a directory whose event was not handled yet, and
    /// emits the events that this implies before it answers. Where something has just ended it answers 2 ms later, when the
    /// kernel has charged all of it.
    pub async fn read_pod(&self, pod_uid: &str) -> Result<Option<PodSnapshot>, WatchClosed> {
        let pod_uid = pod_uid.to_owned();
        self.ask(|answer| Request::Read { pod_uid, answer }).await
    }

    /// Where the pod's cgroup is, for the sampler.
    pub async fn locate(&self, pod_uid: &str) -> Result<Option<PodPlace>, WatchClosed> {
        let pod_uid = pod_uid.to_owned();
        self.ask(|answer| Request::Locate { pod_uid, answer }).await
    }

    /// `false`: not a job, drop its descriptors and keep only its directory known. Pods are followed until told otherwise.
    pub fn follow(&self, pod_uid: &str, on: bool) {
        self.shared.inbox.put(|pending| {
            pending.follow.insert(pod_uid.to_owned(), on);
        });
    }

    /// Whether the thread got its real-time priority; else why not.
    pub fn realtime(&self) -> Result<(), String> {
        self.shared.realtime.clone()
    }

    /// Ends the thread; the event channel closes once what was seen is handed over.
    pub fn stop(&self) {
        self.shared.inbox.put(|pending| pending.stop = true);
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, WatchClosed> {
        let (answer, response) = oneshot::channel();
        self.shared.inbox.put(|pending| pending.requests.push(request(answer)));
        response.await.map_err(|_dropped| WatchClosed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.inbox.put(|pending| pending.stop = true);
    }
}

/// Closes the inbox when the thread ends, in whatever way.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Seven descriptors a container exceed the usual soft limit. Only for the agent of a node, which starts no processes that
/// would inherit the change.
fn raise_descriptor_limit() -> nix::Result<()> {
    let (_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}
