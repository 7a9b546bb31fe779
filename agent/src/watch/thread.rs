//! The loop: waits for anything, reads what is dying first, then looks at the rest.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use jobmeter_hostfs::{
    HostRoot, ReadError,
    cgroup::{Layout, Reader},
    machine,
    process::Scanner,
    realtime,
};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        inotify::{InitFlags, Inotify, InotifyEvent, WatchDescriptor},
    },
};
use tokio::sync::{mpsc, oneshot};

use super::{
    KernelEvent, PodSnapshot, Trees, WatchError, WatchOptions,
    directories::{Directory, RootSearch},
    inbox::{Inbox, Request},
    outbox::Outbox,
    pod::{Container, Key, Pod},
};

const INOTIFY: u64 = 0;
const INBOX: u64 = 1;
/// Descriptors of container `k` are `k * 2` (pidfd) and `k * 2 + 1` (`cgroup.events`).
const FIRST_KEY: Key = 1;
/// Deaths handled in one wake-up: all are read before any is thought about.
const MOST_EVENTS: usize = 512;
/// How often new deaths may come before anything else is done.
const MOST_ROUNDS: usize = 32;
/// How long a full channel is left alone.
const FLUSH_AGAIN: Duration = Duration::from_millis(5);
/// Paths with a reported problem: a malformed file is told once, not at every reading.
const MOST_KNOWN_PROBLEMS: usize = 1024;

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) layout: Arc<Layout>,
    pub(super) boot_id: String,
    pub(super) trees: Trees,
    pub(super) reader: Reader,
    pub(super) scanner: Scanner,
    pub(super) epoll: Epoll,
    pub(super) inotify: Inotify,
    pub(super) directories: HashMap<WatchDescriptor, Directory>,
    pub(super) pods: HashMap<String, Pod>,
    pub(super) containers: HashMap<Key, Container>,
    pub(super) outbox: Outbox,
    pub(super) overflowed: bool,
    /// Directory events that have been fetched, and when.
    pub(super) news: VecDeque<(InotifyEvent, Timestamp)>,
    /// Containers whose counters were caught and that have not been thought about.
    woken: VecDeque<(Key, Wake, Timestamp)>,
    /// A pid of a kubelet's container has been seen, so an empty `cgroup.procs` means empty and not another PID namespace.
    pub(super) pids_visible: bool,
    pub(super) roots: RootSearch,
    /// What is found now was there before: at the start, and when a pod is taken up again.
    pub(super) attaching: bool,
    /// Taken from the inbox and not yet answered.
    pub(super) requests: VecDeque<Request>,
    /// Since they were taken, every level of the trees was looked into.
    pub(super) looked_around: bool,
    pub(super) postponed: Vec<(String, oneshot::Sender<Option<PodSnapshot>>)>,
    /// A timer is set for directories that could not be watched.
    pub(super) watching_again: bool,
    inbox: Arc<Inbox>,
    timers: BinaryHeap<Reverse<(Instant, Due)>>,
    next_key: Key,
    problems: HashSet<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Look for the roots of pods (again); of several such the latest counts.
    Roots(u64),
    /// Look for the process to follow (again).
    Follow(Key),
    /// Report a container that has ended, if it has settled.
    Report(Key),
    /// A container that has emptied: stop waiting for its init's pidfd.
    Emptied(Key),
    /// Answer questions about pods in which something had just ended.
    Answers,
    /// Watch the directories that could not be watched (again).
    Watches,
}

/// Which descriptor of a container was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Pidfd,
    Events,
}

impl Thread {
    pub(super) fn new(options: &WatchOptions, channel: mpsc::Sender<KernelEvent>, inbox: Arc<Inbox>) -> Result<Self, WatchError> {
        let setup = |what| move |errno: Errno| WatchError::Setup { what, source: errno.into() };
        let host: &HostRoot = &options.host;
        let layout = Arc::new(Layout::discover(host)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(setup("epoll"))?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(setup("inotify"))?;
        epoll.add(&inotify, EpollEvent::new(EpollFlags::EPOLLIN, INOTIFY)).map_err(setup("epoll"))?;
        epoll.add(inbox.bell(), EpollEvent::new(EpollFlags::EPOLLIN, INBOX)).map_err(setup("epoll"))?;
        Ok(Self {
            boot_id: machine::boot_id(host).map_err(WatchError::BootId)?,
            trees: options.trees.clone(),
            reader: Reader::new(Arc::clone(&layout)),
            scanner: Scanner::new(host),
            layout,
            epoll,
            inotify,
            directories: HashMap::new(),
            pods: HashMap::new(),
            containers: HashMap::new(),
            outbox: Outbox::new(channel),
            overflowed: false,
            news: VecDeque::new(),
            woken: VecDeque::new(),
            pids_visible: false,
            roots: RootSearch::default(),
            attaching: false,
            requests: VecDeque::new(),
            looked_around: false,
            postponed: Vec::new(),
            watching_again: false,
            inbox,
            timers: BinaryHeap::new(),
            next_key: FIRST_KEY,
            problems: HashSet::new(),
        })
    }

    /// Attaches to what is there at normal priority, then waits at real-time priority where that is granted.
    pub(super) fn run(mut self, priority: Option<u8>, granted: impl FnOnce(Result<(), String>)) {
        self.look_for_roots_regularly();
        granted(match priority {
            None => Err("not asked for".to_owned()),
            Some(priority) => realtime::raise(priority).map_err(|error| error.to_string()),
        });
        let mut events = vec![EpollEvent::empty(); MOST_EVENTS];
        while !self.outbox.is_closed() {
            match self.turn(&mut events) {
                Ok(true) => {}
                Ok(false) => break,
                Err(errno) => {
                    self.problem_at("epoll".into(), io::Error::from(errno).to_string());
                    break;
                }
            }
        }
        self.outbox.drain();
    }

    /// Reads what is dying, then does one other thing: thinking about one death takes ten times as long as reading its
    /// counters, and removers of others may be on their way. `false`: told to stop.
    pub(super) fn turn(&mut self, events: &mut [EpollEvent]) -> nix::Result<bool> {
        let commands = self.catch_all(events)?;
        if let Some((event, at)) = self.news.pop_front() {
            self.directory_event(&event, at);
        } else if std::mem::take(&mut self.overflowed) {
            self.rescan();
        } else if let Some((key, wake, at)) = self.woken.pop_front() {
            self.woken(key, wake, at);
        } else if let Some(due) = self.next_due() {
            self.fulfil(due);
        } else if let Some(request) = self.requests.pop_front() {
            self.answer(request);
        } else if commands {
            return Ok(self.obey());
        }
        self.outbox.flush();
        Ok(true)
    }

    /// Waits, if nothing is left to do, and reads the counters of all that is dying. Whether there are commands.
    fn catch_all(&mut self, events: &mut [EpollEvent]) -> nix::Result<bool> {
        let busy = self.overflowed || !self.news.is_empty() || !self.woken.is_empty() || !self.requests.is_empty();
        let mut timeout = if busy { EpollTimeout::ZERO } else { self.timeout() };
        let (mut directories, mut commands) = (false, false);
        for _ in 0..MOST_ROUNDS {
            let ready = match self.epoll.wait(events, timeout) {
                Ok(ready) => &events[..ready],
                Err(Errno::EINTR) => break,
                Err(errno) => return Err(errno),
            };
            let (at, before) = (Timestamp::now(), self.woken.len());
            for event in ready {
                match event.data() {
                    INOTIFY => directories = true,
                    INBOX => commands = true,
                    data => {
                        let (key, wake) = (data / 2, if data % 2 == 0 { Wake::Pidfd } else { Wake::Events });
                        self.catch(key, wake, at);
                        self.woken.push_back((key, wake, at));
                    }
                }
            }
            if self.woken.len() == before {
                break;
            }
            timeout = EpollTimeout::ZERO;
        }
        if directories {
            self.fetch_news(Timestamp::now());
        }
        Ok(commands)
    }

    fn next_due(&mut self) -> Option<Due> {
        let Reverse((when, _)) = self.timers.peek()?;
        if *when > Instant::now() {
            return None;
        }
        self.timers.pop().map(|Reverse((_, due))| due)
    }

    fn fulfil(&mut self, due: Due) {
        match due {
            Due::Roots(round) if round == self.roots.round => self.look_for_roots_regularly(),
            Due::Roots(_) => {}
            Due::Follow(key) => self.follow_process(key, Timestamp::now()),
            Due::Report(key) => self.settle(key),
            Due::Emptied(key) => self.stop_waiting_for_init(key),
            Due::Answers => self.answer_the_postponed(),
            Due::Watches => self.watch_again(),
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let flush = self.outbox.is_waiting().then_some(FLUSH_AGAIN);
        let timer = self.timers.peek().map(|Reverse((when, _))| when.saturating_duration_since(Instant::now()));
        let next = match (flush, timer) {
            (Some(flush), Some(timer)) => flush.min(timer),
            (flush, timer) => match flush.or(timer) {
                Some(next) => next,
                None => return EpollTimeout::NONE,
            },
        };
        // Rounded up: waking before the time would spin.
        let millis = next.as_micros().div_ceil(1000);
        EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE)
    }

    pub(super) fn after(&mut self, delay: Duration, due: Due) {
        self.timers.push(Reverse((Instant::now() + delay, due)));
    }

    pub(super) fn new_key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    pub(super) fn problems(&mut self, problems: impl IntoIterator<Item = ReadError>) {
        for problem in problems {
            let why = match std::error::Error::source(&problem) {
                Some(source) => format!("{problem}: {source}"),
                None => problem.to_string(),
            };
            self.problem_at(problem.path().to_owned(), why);
        }
    }

    pub(super) fn problem_at(&mut self, path: std::path::PathBuf, why: String) {
        if self.problems.len() >= MOST_KNOWN_PROBLEMS {
            self.problems.clear();
        }
        if self.problems.insert(path.clone()) {
            self.outbox.push(KernelEvent::Problem { path, why });
        }
    }
}
