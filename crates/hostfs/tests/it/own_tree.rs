//! Our own tree under real hierarchies. Skipped, with the reason printed, where this process may not make one.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use jobmeter_hostfs::{
    HostRoot,
    cgroup::{Layout, Reader, place},
    own_tree::{ContainerCgroup, Limits, Mode, OwnTree, PodCgroup},
    process,
};
use nix::sys::{resource, time::TimeValLike};

fn tree() -> Option<OwnTree> {
    match OwnTree::establish(&HostRoot::local()) {
        Ok(tree) => Some(tree),
        Err(refusal) => {
            println!("skipped: {refusal}");
            None
        }
    }
}

/// Runs `sh -c script` inside the cgroup, as the executor does but without `pre_exec`: the shell joins by itself.
fn command(container: &ContainerCgroup, tree: &OwnTree, script: &str) -> Command {
    let file = if tree.mode() == Mode::V1 { "tasks" } else { "cgroup.procs" };
    let layout = Layout::discover(&HostRoot::local()).unwrap();
    let mounts =
        [&layout.controllers().cpuacct, &layout.controllers().memory, &layout.controllers().cpu, &layout.controllers().pids];
    let mut joins: String = mounts
        .into_iter()
        .flatten()
        .map(|mount| format!("echo 0 > {}; ", mount.join(container.path()).join(file).display()))
        .collect();
    if tree.mode() != Mode::V1 {
        joins = format!("echo 0 > {}; ", layout.watched().join(container.path()).join(file).display());
    }
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{joins}{script}")]);
    command
}

fn removed(pod: &PodCgroup) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        pod.kill().unwrap();
        match pod.remove() {
            Ok(()) => return,
            Err(error) if error.is_busy() && Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_container_of_our_own_tree_is_metered_to_the_microsecond_and_found_by_its_path() {
    let Some(tree) = tree() else { return };
    println!("{}", tree.describe());
    let pod = tree.pod("0f8e6c1a-0001-4c57-9f0c-6f1e4d3b2a10").unwrap();
    let container = pod.container("main-0", Limits::default()).unwrap();
    let place = place::recognise(container.path().to_str().unwrap()).unwrap();
    assert_eq!(place.pod.path, pod.path());
    let before = resource::getrusage(resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let status = command(&container, &tree, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").status().unwrap();
    let after = resource::getrusage(resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    assert!(status.success());
    let spent = |usage: &resource::Usage| (usage.user_time() + usage.system_time()).num_microseconds();
    let truth = spent(&after) - spent(&before);
    let mut reader = Reader::new(Arc::new(Layout::discover(&HostRoot::local()).unwrap()));
    for path in [container.path(), pod.path()] {
        let outcome = reader.read(path, Timestamp::now());
        assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
        let reading = outcome.reading.unwrap();
        let cpu = reading.cpu.unwrap().usage_ns / 1000;
        println!("{}: {cpu} µs, wait4 {truth} µs, {:?}", path.display(), reading.memory);
        // The shell's own start is in wait4 and not in the cgroup; other tests' children may be in RUSAGE_CHILDREN.
        assert!(cpu > 20_000 && (cpu as i64) < truth + 2_000, "{cpu} {truth}");
        assert!(reading.memory.unwrap().peak_bytes.unwrap() > 0);
    }
    removed(&pod);
    assert!(reader.read(pod.path(), Timestamp::now()).reading.is_none());
}

#[test]
fn a_limit_holds_and_its_oom_kill_is_counted_in_the_container() {
    let Some(tree) = tree() else { return };
    let pod = tree.pod("0f8e6c1a-0002-4c57-9f0c-6f1e4d3b2a10").unwrap();
    let limits = Limits { memory_bytes: Some(16 << 20), cpu_millicores: Some(500) };
    let container = pod.container("hungry", limits).unwrap();
    let status = command(&container, &tree, "exec tail /dev/zero").stderr(Stdio::null()).status().unwrap();
    assert!(!status.success());
    let mut reader = Reader::new(Arc::new(Layout::discover(&HostRoot::local()).unwrap()));
    let reading = reader.read(container.path(), Timestamp::now()).reading.unwrap();
    let memory = reading.memory.unwrap();
    assert_eq!((memory.oom_kills, memory.peak_bytes), (Some(1), Some(16 << 20)));
    assert!(reading.cpu.unwrap().periods.is_some());
    removed(&pod);
}

#[test]
fn kill_reaches_every_process_and_remove_says_busy_until_then() {
    let Some(tree) = tree() else { return };
    let pod = tree.pod("0f8e6c1a-0003-4c57-9f0c-6f1e4d3b2a10").unwrap();
    let container = pod.container("sleepers", Limits::default()).unwrap();
    let mut child = command(&container, &tree, "sleep 600 & sleep 600 & echo; wait").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let mut pids = Vec::new();
    process::pids_below(&Layout::discover(&HostRoot::local()).unwrap().watched().join(pod.path()), &mut pids).unwrap();
    assert_eq!(pids.len(), 3);
    assert!(pod.remove().unwrap_err().is_busy());
    assert!(container.kill().unwrap());
    child.wait().unwrap();
    removed(&pod);
    assert!(!pod.kill().unwrap());
}

#[test]
fn a_second_process_gets_another_tree_and_names_are_checked() {
    let Some(first) = tree() else { return };
    let second = tree().unwrap();
    assert_ne!(first.root(), second.root());
    assert!(first.pod("../x").is_err() && first.pod("").is_err());
    let pod = second.pod("0f8e6c1a-0004-4c57-9f0c-6f1e4d3b2a10").unwrap();
    assert!(pod.container("memory.max", Limits::default()).is_err());
    assert_eq!(second.pods().unwrap(), ["0f8e6c1a-0004-4c57-9f0c-6f1e4d3b2a10"]);
    let mut files = pod.container("c", Limits::default()).unwrap().join_files().unwrap();
    assert!(files.iter_mut().all(|file| file.write_all(b"x").is_err()), "only pids are taken");
    removed(&pod);
    let gone = Layout::discover(&HostRoot::local()).unwrap().watched().join(second.root());
    drop((pod, second));
    assert!(!gone.exists(), "an empty tree goes with its last user");
}
