//! Real processes, a scripted agent. With cgroups where this machine gives them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::local::JobFailure;
use jobmeter_hostfs::HostRoot;
use jobmeter_hostfs::cgroup::{Layout, Reader};
use jobmeter_protocol::Reading;

use super::*;

/// Remembers what it was told; at the end of a pod reads what the kernel has of it.
#[derive(Default)]
struct Agent {
    news: Mutex<Vec<PodNews>>,
    finals: Mutex<Vec<String>>,
    tree: Option<PathBuf>,
    readings: Mutex<BTreeMap<String, Reading>>,
    /// No log is stored before this has a permit for it.
    store: Store,
}

struct Store(tokio::sync::Semaphore);

impl Default for Store {
    fn default() -> Self {
        Self(tokio::sync::Semaphore::new(0))
    }
}

impl NodeAgent for Agent {
    fn pod_event(&self, event: PodNews) -> BoxFuture<'_, ()> {
        self.news.lock().unwrap().push(event);
        Box::pin(std::future::ready(()))
    }

    fn pod_final<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), NotFinal>> {
        self.finals.lock().unwrap().push(pod_uid.to_owned());
        if let Some(tree) = &self.tree {
            let layout = Layout::discover(&HostRoot::default()).unwrap();
            let outcome = Reader::new(Arc::new(layout)).read(&tree.join(format!("pod{pod_uid}")), Timestamp::now());
            self.readings.lock().unwrap().insert(pod_uid.to_owned(), outcome.reading.expect("the pod's cgroup is there"));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn logs_stored<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), NotStored>> {
        Box::pin(async {
            self.store.0.acquire().await.unwrap().forget();
            Ok(())
        })
    }
}

impl Agent {
    fn exits(&self) -> Vec<ContainerExit> {
        let exit = |news: &PodNews| if let PodNews::Exited(exit) = news { Some((**exit).clone()) } else { None };
        self.news.lock().unwrap().iter().filter_map(exit).collect()
    }

    /// The last word on each pod.
    fn pods(&self) -> Vec<ApiPod> {
        let mut pods = BTreeMap::new();
        for news in self.news.lock().unwrap().iter() {
            if let PodNews::Applied(pod) = news {
                pods.insert(pod.uid.clone(), (**pod).clone());
            }
        }
        pods.into_values().collect()
    }
}

struct Rig {
    executor: LocalExecutor,
    events: mpsc::Receiver<ExecutorEvent>,
    agent: Arc<Agent>,
    logs: PathBuf,
    cgroups: Option<OwnTree>,
    _keep: (tempfile::TempDir, Supervisor, tokio::task::JoinHandle<()>),
}

impl Rig {
    fn new(pool: usize, cgroups: Option<OwnTree>) -> Self {
        Self::after(tempfile::tempdir().unwrap(), pool, cgroups)
    }

    /// With what an earlier run left.
    fn after(dir: tempfile::TempDir, pool: usize, cgroups: Option<OwnTree>) -> Self {
        let options = LocalOptions {
            node: "here".into(),
            settings: Settings { pool, backoff_base: Duration::from_millis(10), backoff_cap: BACKOFF_CAP },
            pools: Vec::new(),
            log_root: dir.path().to_owned(),
            cgroups: cgroups.clone(),
            streams: Streams::Log,
            node_millicores: 1000,
            node_memory_bytes: 1 << 30,
        };
        let agent = Arc::new(Agent { tree: cgroups.as_ref().map(|tree| tree.root().to_owned()), ..Agent::default() });
        let mut supervisor = Supervisor::without_signals(Duration::from_secs(1));
        let (world, mut heard) = mpsc::channel(64);
        let drain = tokio::spawn(async move { while heard.recv().await.is_some() {} });
        let (executor, events) =
            start(options, Forker::fork().unwrap(), agent.clone(), world, LocalPools::default(), &mut supervisor).unwrap();
        Self { executor, events, agent, logs: dir.path().to_owned(), cgroups, _keep: (dir, supervisor, drain) }
    }

    async fn submit(&self, yaml: &str) -> usize {
        let jobs = jobmeter_jobfile::read("test", yaml).unwrap().jobs;
        self.executor.submit(jobs).await.unwrap().len()
    }

    async fn finish(&mut self, jobs: usize) -> Vec<JobOutcome> {
        let mut outcomes = Vec::new();
        while outcomes.len() < jobs {
            let event = tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await.expect("jobs end in time");
            if let ExecutorEvent::JobFinished { outcome, .. } = event.unwrap() {
                outcomes.push(outcome);
            }
        }
        outcomes
    }

    async fn run(&mut self, yaml: &str) -> Vec<JobOutcome> {
        let jobs = self.submit(yaml).await;
        self.finish(jobs).await
    }

    /// Of the only pod.
    fn log(&self) -> Vec<u8> {
        let only = |dir: &Path| std::fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
        std::fs::read(only(&only(&only(&self.logs)))).unwrap()
    }
}

/// One container that runs a shell script.
fn job(name: &str, spec: &str, script: &str) -> String {
    format!(
        "
---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 0
  {spec}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, command: [sh, -c, {script:?}]}}]
"
    )
}

fn cgroups() -> Option<OwnTree> {
    let tree = OwnTree::establish(&HostRoot::default());
    if let Err(why) = &tree {
        eprintln!("skipped: no cgroups of our own here: {why}");
    }
    tree.ok()
}

/// Processes whose command line holds the mark.
fn alive(mark: &str) -> usize {
    let named = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.ok()?.path().join("cmdline")).ok();
    let marked = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(mark);
    std::fs::read_dir("/proc").unwrap().filter_map(named).filter(marked).count()
}

const FAILED: JobOutcome = JobOutcome::Failed(JobFailure::BackoffLimitExceeded);

#[tokio::test]
async fn output_and_error_are_in_the_log_byte_for_byte() {
    let mut rig = Rig::new(1, None);
    let outcomes = rig.run(&job("bytes", "", r"printf 'a\000\377'; printf b >&2; printf c")).await;
    assert_eq!(outcomes, [JobOutcome::Complete]);
    assert_eq!(rig.log(), b"a\0\xffbc");
}

#[tokio::test]
async fn an_exit_is_told_with_its_code_its_signal_and_its_usage() {
    let mut rig = Rig::new(2, None);
    let yaml = job("code", "", "exit 7")
        + &job("signal", "", "kill -9 $$$$")
        + &job("burn", "", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done");
    assert_eq!(rig.run(&yaml).await.len(), 3);
    let exits = rig.agent.exits();
    let mut statuses: Vec<_> = exits.iter().map(|exit| (exit.exit.code, exit.exit.signal)).collect();
    statuses.sort();
    assert_eq!(statuses, [(None, Some(9)), (Some(0), None), (Some(7), None)]);
    let burn = exits.iter().find(|exit| exit.exit.code == Some(0)).unwrap();
    assert!(burn.user_ns > 1_000_000 && burn.max_rss_bytes > 100_000, "{burn:?}");
    assert!(burn.ended > burn.started);
    assert_eq!(rig.agent.finals.lock().unwrap().len(), 3);
    assert!(rig.agent.pods().iter().all(|pod| pod.phase.is_terminal()));
}

#[tokio::test]
async fn what_cannot_run_fails_as_in_a_shell_and_says_why_in_the_log() {
    for (command, dir, code, why) in [
        ("no-such-command", "/", 127, "was not found"),
        ("/etc/passwd", "/", 126, "failed to execute"),
        ("echo", "/no/such/dir", 126, "is not there"),
    ] {
        let mut rig = Rig::new(1, cgroups());
        let yaml = job("none", "", "x").replace("command: [sh, -c, \"x\"]", &format!("command: [{command}], workingDir: {dir}"));
        assert_eq!(rig.run(&yaml).await, [FAILED]);
        assert_eq!(rig.agent.exits()[0].exit.code, Some(code));
        assert_eq!(rig.agent.pods()[0].containers[0].reason.as_deref(), Some("ContainerCannotRun"));
        let log = String::from_utf8(rig.log()).unwrap();
        assert!(log.contains(why), "{log}");
    }
}

#[tokio::test]
async fn a_script_without_an_interpreter_is_the_shells_and_path_is_the_jobs_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("bare-script");
    std::fs::write(&script, "echo \"$0 $1 $WHO\"; pwd; umask\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let env = format!("[{{name: PATH, value: '{}:/bin'}}, {{name: WHO, value: me}}]", dir.path().display());
    let yaml = job("bare", "", "x")
        .replace("command: [sh, -c, \"x\"]", &format!("command: [bare-script], args: [one], workingDir: /, env: {env}"));
    let mut rig = Rig::new(1, None);
    assert_eq!(rig.run(&yaml).await, [JobOutcome::Complete]);
    let log = String::from_utf8(rig.log()).unwrap();
    assert!(log.starts_with(&format!("{} one me\n/\n", script.display())), "{log}");
}

/// Forked from this test program, `true` would seem to use as much as it does.
#[tokio::test]
async fn the_memory_of_a_small_command_is_its_own() {
    let before = resident_bytes();
    let mut rig = Rig::new(1, None);
    // The tests beside this one are in its forker too.
    let forked_from = resident_bytes().max(before);
    let ballast = std::hint::black_box(vec![1_u8; 128 << 20]);
    rig.run(&job("small", "completions: 2", "exit 0")).await;
    drop(ballast);
    for exit in rig.agent.exits() {
        assert!(exit.max_rss_bytes < forked_from + (20 << 20), "{exit:?}");
    }
    let Some(tree) = cgroups() else { return };
    let mut rig = Rig::new(1, Some(tree));
    rig.run(&(job("none", "", "exit 0") + &job("some", "", "dd if=/dev/zero of=/dev/null bs=400M count=1"))).await;
    let of = |code: &str| rig.agent.exits().iter().find(|exit| exit.pod_uid == code).unwrap().max_rss_bytes;
    let pods = rig.agent.pods();
    let uid = |name: &str| pods.iter().find(|pod| pod.name.starts_with(name)).unwrap().uid.clone();
    // What a shell uses is less than a test program is born with: then nothing is claimed.
    assert_eq!(of(&uid("none")), 0);
    assert!((400 << 20..410 << 20).contains(&of(&uid("some"))));
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn what_a_container_leaves_behind_ends_with_it() {
    for cgroups in [None, cgroups()] {
        let mark = format!("30{}", std::process::id());
        let mut rig = Rig::new(1, cgroups);
        // Without cgroups a process that leaves the group is out of reach.
        let escape = if rig.cgroups.is_some() { "setsid " } else { "" };
        rig.run(&job("leaves", "", &format!("{escape}sleep {mark} & exec sleep 0.05"))).await;
        let give_up = std::time::Instant::now() + Duration::from_secs(5);
        while alive(&format!("sleep\0{mark}")) > 0 {
            assert!(std::time::Instant::now() < give_up, "it goes on");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn stopping_terminates_and_then_kills() {
    let mut rig = Rig::new(2, None);
    let jobs = rig
        .submit(
            &(job("obeys", "", "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done")
                + &job("ignores", "", "trap '' TERM; echo up; while :; do sleep 0.01; done")
                + &job("waits", "", "true")),
        )
        .await;
    let up = |logs: &Path| {
        let pods = std::fs::read_dir(logs).unwrap().map(|pod| pod.unwrap().path().join("main/0.log"));
        pods.filter(|log| std::fs::metadata(log).is_ok_and(|log| log.len() > 0)).count()
    };
    while up(&rig.logs) < 2 {
        tokio::task::yield_now().await;
    }
    rig.executor.begin_stop(false).await;
    assert_eq!(rig.finish(jobs).await, [JobOutcome::Failed(JobFailure::Interrupted); 3]);
    let mut statuses: Vec<_> = rig.agent.exits().iter().map(|exit| (exit.exit.code, exit.exit.signal)).collect();
    statuses.sort();
    assert_eq!(statuses, [(None, Some(9)), (Some(9), None)]);
    rig.executor.stop(false).await;
    assert!(matches!(rig.executor.submit(Vec::new()).await, Err(SubmitError::Stopping)));
}

#[tokio::test]
async fn a_name_is_taken_for_as_long_as_its_job_runs() {
    let mut rig = Rig::new(1, None);
    rig.submit(&job("one", "", "sleep 0.2")).await;
    let again = jobmeter_jobfile::read("test", &job("one", "", "true")).unwrap().jobs;
    assert!(matches!(rig.executor.submit(again.clone()).await, Err(SubmitError::AlreadyExists { .. })));
    rig.finish(1).await;
    let twice = [again.clone(), again.clone()].concat();
    assert!(matches!(rig.executor.submit(twice).await, Err(SubmitError::NamedTwice { .. })));
    rig.executor.submit(again).await.unwrap();
    rig.finish(1).await;
}

#[tokio::test]
async fn three_hundred_short_pods_in_cgroups_leave_nothing_behind() {
    let mut rig = Rig::new(4, cgroups());
    let begun = std::time::Instant::now();
    let outcomes = rig.run(&job("many", "completions: 300\n  parallelism: 300", "exit 0")).await;
    assert_eq!(outcomes, [JobOutcome::Complete]);
    eprintln!("300 pods in {:?}", begun.elapsed());
    assert_eq!(rig.agent.exits().len(), 300);
    assert_eq!(rig.agent.finals.lock().unwrap().len(), 300);
    if let Some(tree) = &rig.cgroups {
        assert_eq!(tree.pods().unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_cgroup_and_wait4_agree_on_the_cpu_time_of_a_burn() {
    let Some(tree) = cgroups() else { return };
    let mut rig = Rig::new(1, Some(tree));
    let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    rig.run(&job("burn", "completions: 20", burn)).await;
    let mut offs = Vec::new();
    for exit in rig.agent.exits() {
        let waited = (exit.user_ns + exit.system_ns) as f64;
        let readings = rig.agent.readings.lock().unwrap();
        let counted = readings[&exit.pod_uid].cpu.unwrap().usage_ns as f64;
        let off = (counted - waited) / waited * 100.0;
        eprintln!("wait4 {:.3} ms, cgroup {:.3} ms: {off:+.3} %", waited / 1e6, counted / 1e6);
        // On a busy machine a child may wait for the kernel's cgroup lock before it has joined: spinning that counts as nobody's.
        assert!(waited > 20e6 && (off.abs() < 0.5 || (counted - waited).abs() < 3e6), "{off:+.3} % apart");
        offs.push(off);
    }
    offs.sort_by(f64::total_cmp);
    let median = offs[offs.len() / 2];
    assert!(median.abs() < 0.2, "{median:+.3} % apart: {offs:?}");
}

async fn gone(path: &Path) {
    let look = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.expect("the directory goes");
}

#[tokio::test]
async fn log_files_are_there_until_they_are_stored_and_not_longer() {
    let mut rig = Rig::new(2, None);
    rig.run(&job("kept", "", "echo hello")).await;
    let pod = std::fs::read_dir(&rig.logs).unwrap().next().unwrap().unwrap().path();
    assert_eq!(rig.log(), b"hello\n", "the job is over, its log not stored: the pool goes on, the file stays");
    let executor = rig.executor.clone();
    let stop = tokio::spawn(async move { executor.stop(false).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!stop.is_finished() && pod.exists(), "the end waits for the store");
    rig.agent.store.0.add_permits(1);
    tokio::time::timeout(Duration::from_secs(5), stop).await.unwrap().unwrap();
    assert!(!pod.exists());
}

#[tokio::test]
async fn logs_that_a_killed_run_left_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let pod = dir.path().join("default_killed-x_0f8e6c1a-5c9d-4c57-9f0c-6f1e4d3b2a10");
    std::fs::create_dir_all(pod.join("main")).unwrap();
    std::fs::write(pod.join("main/0.log"), "half a li").unwrap();
    let rig = Rig::after(dir, 1, None);
    rig.agent.store.0.add_permits(1);
    gone(&pod).await;
    let over = |news: &PodNews| matches!(news, PodNews::Gone { pod_uid } if pod_uid.starts_with("0f8e6c1a"));
    assert!(rig.agent.news.lock().unwrap().iter().any(over), "the agent knows that nothing more comes");
}
