//! The capturing thread: waits, links, and looks at what it holds.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jobmeter_daemon::admin::SourceBoard;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{InitFlags, Inotify, WatchDescriptor},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    CaptureError, Standings,
    inbox::Inbox,
    spool::{self, Pods},
    tree::Directory,
};
use crate::{
    logs::{LogsOptions, SealedLog},
    metrics::CaptureMetrics,
};

/// Standing, sizes, room.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks, whoever asks; and as many times what a look takes, which is long where thousands of logs wait for a store.
const GAP: Duration = Duration::from_millis(20);
const REST: u32 = 9;
const LONGEST_GAP: Duration = Duration::from_secs(5);
/// While something is copied that cannot be linked.
const COPY: Duration = Duration::from_millis(200);
/// Paths whose problems were told; then it is forgotten which, and they are told again.
const MOST_KNOWN_PROBLEMS: usize = 1_024;

pub(super) struct Thread {
    pub(super) pod_logs: PathBuf,
    pub(super) options: LogsOptions,
    pub(super) inotify: Inotify,
    pub(super) directories: HashMap<WatchDescriptor, Directory>,
    /// Directories that could not be watched: they are looked at every second.
    pub(super) unwatched: usize,
    pub(super) overflowed: bool,
    pub(super) pods: Pods,
    pub(super) standings: Option<Arc<dyn Standings>>,
    pub(super) sealed: mpsc::Sender<SealedLog>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) metrics: CaptureMetrics,
    pub(super) board: SourceBoard,
    pub(super) awaited: Vec<(String, oneshot::Sender<()>)>,
    /// Why something is copied in place of linked.
    pub(super) copies: Option<String>,
    /// The spool may hold no more: what can only be copied is not.
    pub(super) full: bool,
    pub(super) next_look: Instant,
    looked: Instant,
    gap: Duration,
    problems: HashSet<PathBuf>,
    next_rescan: Instant,
}

impl Thread {
    pub(super) fn new(
        pod_logs: PathBuf,
        options: LogsOptions,
        sealed: mpsc::Sender<SealedLog>,
        inbox: Arc<Inbox>,
        metrics: CaptureMetrics,
        board: SourceBoard,
    ) -> Result<Self, CaptureError> {
        let setup = |errno: Errno| CaptureError::Setup { what: "inotify", source: errno.into() };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(setup)?;
        let mut told = |path: PathBuf, error: &(dyn std::error::Error + 'static)| {
            tracing::error!(path = %path.display(), error, "a directory of the spool cannot be read; it is left as it is");
        };
        let spooled = spool::load(&options.spool, &mut told);
        let pods = spooled.map_err(|source| CaptureError::Spool { path: options.spool.clone(), source })?;
        Ok(Self {
            pod_logs,
            options,
            inotify,
            directories: HashMap::new(),
            unwatched: 0,
            overflowed: false,
            pods,
            standings: None,
            sealed,
            inbox,
            metrics,
            board,
            awaited: Vec::new(),
            copies: None,
            full: false,
            looked: Instant::now(),
            gap: GAP,
            problems: HashSet::new(),
            next_look: Instant::now(),
            next_rescan: Instant::now(),
        })
    }

    pub(super) fn run(mut self, attached: impl FnOnce()) {
        self.rescan();
        self.mark_what_went_meanwhile();
        self.publish();
        attached();
        while self.turn() {}
    }

    /// `false`: told to stop.
    pub(super) fn turn(&mut self) -> bool {
        if let Err(errno) = self.wait() {
            self.problem("poll".into(), &io::Error::from(errno));
            return false;
        }
        // Files first: whatever else is to be done can wait, and they may not.
        self.follow_events();
        let pending = self.inbox.take();
        for (pod_uid, answer) in pending.awaited {
            self.scan_by_uid(&pod_uid);
            self.awaited.push((pod_uid, answer));
            self.hurry();
        }
        if let Some(standings) = pending.standings {
            self.standings = Some(standings);
        }
        if pending.woken || !pending.outcomes.is_empty() {
            self.hurry();
        }
        for outcome in pending.outcomes {
            self.take_outcome(outcome);
        }
        if pending.stop {
            return false;
        }
        let now = Instant::now();
        if std::mem::take(&mut self.overflowed) || now >= self.next_rescan {
            self.rescan();
        }
        self.copy();
        if now >= self.next_look {
            (self.looked, self.next_look) = (now, now + LOOK);
            self.look();
            self.publish();
            self.gap = (now.elapsed() * REST).clamp(GAP, LONGEST_GAP);
            self.next_look = self.next_look.max(now + self.gap);
        }
        true
    }

    /// Something is to be looked at; on a busy node that is said hundreds of times a second.
    pub(super) fn hurry(&mut self) {
        self.next_look = self.next_look.min(self.looked + self.gap);
    }

    pub(super) fn rescan_after(&mut self, delay: Duration) {
        self.next_rescan = Instant::now() + delay;
    }

    fn wait(&self) -> nix::Result<()> {
        let now = Instant::now();
        let mut until = self.next_look.min(self.next_rescan).saturating_duration_since(now);
        if self.copies_wait() {
            until = until.min(COPY);
        }
        if self.overflowed || self.copies_are_behind() {
            until = Duration::ZERO;
        }
        // Rounded up: waking before the time would spin.
        let millis = u16::try_from(until.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut ready =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(self.inbox.bell().as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(millis)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Told once for each path.
    pub(super) fn problem(&mut self, path: PathBuf, error: &(dyn std::error::Error + 'static)) {
        self.metrics.problems.inc();
        if self.problems.len() >= MOST_KNOWN_PROBLEMS {
            self.problems.clear();
        }
        if self.problems.insert(path.clone()) {
            tracing::warn!(path = %path.display(), error, "the capture of logs has a problem; it goes on, and looks again");
        }
    }
}
