//! What reading costs: `cargo bench -p jobmeter-hostfs`. Real cgroups and processes of this machine; needs root for the former.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs::File,
    io::BufReader,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock},
};

use divan::Bencher;
use jiff::Timestamp;
use jobmeter_hostfs::{
    HostRoot,
    cgroup::{Held, Layout, Reader},
    own_tree::{Limits, OwnTree, PodCgroup},
    process::{Scanner, status},
};
use procfs_core::{FromBufRead, process::Status};

const PROCESSES: usize = 500;
const CGROUPS: usize = 100;

fn main() {
    divan::main();
    // divan leaves by returning, and statics are not dropped.
    for child in SLEEPERS.iter() {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("our own child");
    }
    if let Some(pod) = TREE.as_ref().map(|(_, pod)| pod) {
        pod.remove().expect("no process was in it");
    }
}

/// A pod with a hundred containers in a tree of our own, where that is allowed.
static TREE: LazyLock<Option<(OwnTree, PodCgroup)>> = LazyLock::new(|| {
    let tree = OwnTree::establish(&HostRoot::local()).map_err(|refusal| println!("no cgroups: {refusal}")).ok()?;
    let pod = tree.pod(&format!("bench-{}", std::process::id())).ok()?;
    for n in 0..CGROUPS {
        pod.container(&format!("c{n}"), Limits::default()).expect("a cgroup");
    }
    Some((tree, pod))
});

static SLEEPERS: LazyLock<Vec<Child>> = LazyLock::new(|| {
    let sleep = |_| Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
    (0..PROCESSES).map(sleep).collect()
});

fn containers() -> Vec<PathBuf> {
    let pod = TREE.as_ref().map(|(_, pod)| pod.path().to_owned());
    pod.into_iter().flat_map(|pod| (0..CGROUPS).map(move |n| pod.join(format!("c{n}")))).collect()
}

fn layout() -> Arc<Layout> {
    Arc::new(Layout::discover(&HostRoot::local()).expect("a layout"))
}

/// The exit path: all counters of 100 containers from descriptors that are held open.
#[divan::bench]
fn read_100_containers_held(bencher: Bencher<'_, '_>) {
    let (layout, paths) = (layout(), containers());
    let held: Vec<Held> = paths.iter().map(|path| Held::open(&layout, path).0).collect();
    bencher.bench_local(|| {
        held.iter().zip(&paths).filter(|(held, path)| held.read(&layout, path, Timestamp::UNIX_EPOCH).reading.is_some()).count()
    });
}

/// The same by path, with pressure and block I/O.
#[divan::bench]
fn read_100_containers_by_path(bencher: Bencher<'_, '_>) {
    let paths = containers();
    let mut reader = Reader::new(layout());
    bencher.bench_local(|| paths.iter().filter(|path| reader.read(path, Timestamp::UNIX_EPOCH).reading.is_some()).count());
}

/// The sampler's look at memory.
#[divan::bench]
fn sample_memory_of_100_containers(bencher: Bencher<'_, '_>) {
    let paths = containers();
    let mut reader = Reader::new(layout());
    bencher.bench_local(|| paths.iter().filter(|path| reader.memory_now(path).is_ok_and(|now| now.is_some())).count());
}

/// Whether anything happened in a pod at all: one file each.
#[divan::bench]
fn pulse_of_100_containers(bencher: Bencher<'_, '_>) {
    let paths = containers();
    let mut reader = Reader::new(layout());
    bencher.bench_local(|| paths.iter().filter(|path| reader.cpu_now(path).is_ok_and(|now| now.is_some())).count());
}

/// The first look at each.
#[divan::bench]
fn scan_500_new_processes(bencher: Bencher<'_, '_>) {
    let pids: Vec<i32> = SLEEPERS.iter().map(|child| i32::try_from(child.id()).expect("a pid")).collect();
    bencher.bench_local(|| {
        let mut scanner = Scanner::new(&HostRoot::local());
        pids.iter().filter(|pid| scanner.read(**pid).is_ok_and(|sample| sample.is_some())).count()
    });
}

/// Later looks, at processes that have not grown.
#[divan::bench]
fn scan_500_known_processes(bencher: Bencher<'_, '_>) {
    let mut scanner = Scanner::new(&HostRoot::local());
    let pids: Vec<i32> = SLEEPERS.iter().map(|child| i32::try_from(child.id()).expect("a pid")).collect();
    bencher.bench_local(|| pids.iter().filter(|pid| scanner.read(**pid).is_ok_and(|sample| sample.is_some())).count());
}

/// Why `status` has a parser of its own: the whole file through `procfs-core` …
#[divan::bench]
fn status_by_procfs_core(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let file = BufReader::new(File::open("/proc/self/status").expect("status"));
        Status::from_buf_read(file).expect("parsed").vmhwm
    });
}

/// … and the three lines that are needed.
#[divan::bench]
fn status_by_three_lines(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let bytes = std::fs::read("/proc/self/status").expect("status");
        status::memory(&bytes).expect("parsed").hwm_bytes
    });
}
