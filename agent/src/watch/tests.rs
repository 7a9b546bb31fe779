//! The thread's own steps, one by one, against real cgroups: what cannot be forced from outside.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use jobmeter_hostfs::{HostRoot, cgroup::Layout};
use nix::sys::epoll::EpollEvent;
use tokio::sync::{
    mpsc::{self, Receiver},
    oneshot,
};

use super::{
    KernelEvent, KubeletTrees, PodSnapshot, Trees, WatchOptions,
    inbox::{Inbox, Request},
    thread::Thread,
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A tree in the watched hierarchy alone, and a thread that is not running.
struct Still {
    thread: Thread,
    events: Receiver<KernelEvent>,
    root: PathBuf,
}

impl Still {
    fn new(capacity: usize) -> Option<Self> {
        let host = HostRoot::local();
        let name = format!("jobmeter-still-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = Layout::discover(&host).unwrap().watched().join(&name);
        if let Err(error) = fs::create_dir(&root) {
            println!("skipped: cannot make cgroups: {error}");
            return None;
        }
        fs::create_dir(root.join("kubepods")).unwrap();
        let kubelet = Some(KubeletTrees { below: Some(name), except: Vec::new(), holding: None });
        let options = WatchOptions { host, trees: Trees { kubelet, local: None }, priority: None, capacity };
        let (sender, events) = mpsc::channel(capacity);
        let thread = Thread::new(&options, sender, Arc::new(Inbox::new().unwrap())).unwrap();
        Some(Self { thread, events, root })
    }

    fn make(&self, path: &str) {
        fs::create_dir_all(self.root.join("kubepods").join(path)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir(self.root.join("kubepods").join(path)).unwrap();
    }

    fn seen(&mut self) -> Vec<KernelEvent> {
        let mut seen = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            seen.push(event);
            self.thread.outbox.flush();
        }
        seen
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        fn remove(path: &std::path::Path) {
            for entry in fs::read_dir(path).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
                remove(&entry.path());
            }
            fs::remove_dir(path).unwrap();
        }
        remove(&self.root);
    }
}

fn id(n: u32) -> String {
    format!("{n:064x}")
}

#[test]
fn after_an_overflow_all_that_came_and_went_meanwhile_is_known() {
    let Some(mut still) = Still::new(16) else { return };
    still.make("podstays");
    still.make(&format!("podstays/{}", id(1)));
    still.make("podgoes");
    still.thread.look_for_roots();
    assert_eq!(still.seen().len(), 3);
    // More than the queue of the kernel holds, while nobody listens.
    let limit: u32 =
        fs::read_to_string(HostRoot::local().proc.join("sys/fs/inotify/max_queued_events")).unwrap().trim().parse().unwrap();
    for _ in 0..limit / 2 + 10 {
        still.make("podflickers");
        still.remove("podflickers");
    }
    still.remove("podgoes");
    still.remove(&format!("podstays/{}", id(1)));
    still.make(&format!("podstays/{}", id(2)));
    still.make(&format!("podnew/{}", id(3)));
    still.thread.catch_up_with_news();
    let seen = still.seen();
    let gone = |uid: &str| seen.iter().any(|event| matches!(event, KernelEvent::PodGone { pod_uid, .. } if pod_uid == uid));
    let ended =
        seen.iter().any(|event| matches!(event, KernelEvent::ContainerEnded { container_id, .. } if *container_id == id(1)));
    let mut came: Vec<&str> = seen
        .iter()
        .filter_map(|event| match event {
            KernelEvent::ContainerAppeared { container_id, .. } => Some(container_id.as_str()),
            _ => None,
        })
        .collect();
    came.sort_unstable();
    assert!(gone("goes") && !gone("stays") && ended, "{} events", seen.len());
    assert_eq!(came, [id(2), id(3)]);
    assert!(matches!(seen.last(), Some(KernelEvent::Overflowed { .. })), "told after the rescan");
    assert!(seen.len() < 200, "what flickered in the lost part left no trace: {}", seen.len());
}

#[test]
fn a_pod_that_is_no_job_keeps_nothing_but_its_directory() {
    let Some(mut still) = Still::new(16) else { return };
    for n in 0..3 {
        still.make(&format!("podother/{}", id(n)));
    }
    still.thread.look_for_roots();
    let with = descriptors();
    still.thread.unfollow_pod("other");
    assert!(still.thread.containers.is_empty());
    assert_eq!(still.thread.directories.len(), 1, "the root");
    println!("descriptors: {with} with three containers followed, {} without", descriptors());
    still.seen();
    still.make(&format!("podother/{}", id(7)));
    still.thread.catch_up_with_news();
    assert!(still.seen().is_empty());
    (0..3).chain([7]).for_each(|n| still.remove(&format!("podother/{}", id(n))));
    still.remove("podother");
    still.thread.catch_up_with_news();
    assert!(matches!(still.seen()[..], [KernelEvent::PodGone { .. }]));
}

#[test]
fn a_reader_that_is_slow_gets_every_pod_and_container_in_the_end() {
    let Some(mut still) = Still::new(1) else { return };
    still.thread.look_for_roots();
    for n in 0..100 {
        still.make(&format!("podp{n}/{}", id(n)));
        still.thread.catch_up_with_news();
        still.remove(&format!("podp{n}/{}", id(n)));
        still.thread.catch_up_with_news();
        still.remove(&format!("podp{n}"));
        still.thread.catch_up_with_news();
    }
    let seen = still.seen();
    for n in 0..100 {
        let uid = format!("p{n}");
        let of_pod = seen.iter().filter(|event| match event {
            KernelEvent::PodAppeared { pod_uid, .. }
            | KernelEvent::ContainerAppeared { pod_uid, .. }
            | KernelEvent::ContainerEnded { pod_uid, .. }
            | KernelEvent::PodGone { pod_uid, .. } => *pod_uid == uid,
            _ => false,
        });
        assert_eq!(of_pod.count(), 4);
    }
}

fn ask(thread: &Thread, pod_uid: &str) -> oneshot::Receiver<Option<PodSnapshot>> {
    let (answer, response) = oneshot::channel();
    thread.inbox().put(|pending| pending.requests.push(Request::Read { pod_uid: pod_uid.to_owned(), answer }));
    response
}

#[test]
fn a_list_of_unknown_pods_costs_one_look_around_and_is_answered_between_deaths() {
    let Some(mut still) = Still::new(16) else { return };
    fs::remove_dir(still.root.join("kubepods")).unwrap();
    let mut events = vec![EpollEvent::empty(); 16];
    let (mut first, mut second) = (ask(&still.thread, "a"), ask(&still.thread, "b"));
    still.thread.turn(&mut events).unwrap();
    assert!(first.try_recv().is_err(), "taken, not answered yet");
    still.thread.turn(&mut events).unwrap();
    assert_eq!(first.try_recv(), Ok(None));
    assert!(second.try_recv().is_err(), "one question a turn, and each turn reads first what is dying");
    // A tree that no event tells of: whoever finds it has looked.
    still.make("podb");
    still.thread.turn(&mut events).unwrap();
    assert_eq!(second.try_recv(), Ok(None));
    let mut third = ask(&still.thread, "b");
    (0..2).for_each(|_| assert!(still.thread.turn(&mut events).unwrap()));
    assert!(third.try_recv().unwrap().is_some(), "what is asked later is looked for anew");
}

#[test]
fn a_pod_that_could_not_be_watched_is_watched_later() {
    let Some(mut still) = Still::new(16) else { return };
    still.make(&format!("podp/{}", id(1)));
    still.thread.look_for_roots();
    still.thread.unfollow_pod("p");
    still.seen();
    // As where watches have run out: it is there, and the kernel refuses.
    let pod = still.thread.pods.get_mut("p").unwrap();
    let path = pod.place.path.clone();
    pod.place.path = path.with_file_name("cgroup.procs");
    still.thread.follow_pod("p");
    assert!(matches!(still.seen()[0], KernelEvent::Problem { .. }));
    assert!(still.thread.watching_again, "a timer is set");
    still.thread.pods.get_mut("p").unwrap().place.path = path;
    still.thread.watch_again();
    let appeared = |seen: &[KernelEvent], n| {
        seen.iter().any(|event| matches!(event, KernelEvent::ContainerAppeared { container_id, .. } if *container_id == id(n)))
    };
    assert!(appeared(&still.seen(), 1));
    still.make(&format!("podp/{}", id(2)));
    still.thread.catch_up_with_news();
    assert!(appeared(&still.seen(), 2), "and from now on it is told");
    assert!(!still.thread.watching_again);
}

fn descriptors() -> usize {
    fs::read_dir(HostRoot::local().proc.join("self/fd")).unwrap().count()
}
