//! The agent beside a local executor: without cgroups processes are sampled and exits are the figures, with them the kernel's.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use jobmeter_agent::{AgentConfig, FinalError, PodEvent, watch::Trees};
use jobmeter_decide::example;
use jobmeter_hostfs::{
    HostRoot,
    own_tree::{Limits, OwnTree, PodCgroup},
};
use jobmeter_protocol::{ApiPod, ContainerExit, ContainerKind, ExitStatus, Method, Stage};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Coordinator, config},
    cgroups::{Reaped, uid},
};

const UID: &str = "0f5c7b46-7a52-4d0e-9a53-3f1f7a0c9d99";

fn exit(started: Timestamp) -> ContainerExit {
    ContainerExit {
        pod_uid: UID.into(),
        container_id: "aa".into(),
        name: "main".into(),
        kind: ContainerKind::Main,
        attempt: 0,
        started,
        ended: Timestamp::now(),
        exit: ExitStatus { code: None, signal: Some(9) },
        user_ns: 30_000_000,
        system_ns: 10_000_000,
        max_rss_bytes: 5 << 20,
    }
}

#[tokio::test]
async fn a_process_tree_is_sampled_while_it_runs_and_billed_by_wait4() {
    let state = TempDir::new().unwrap();
    let coordinator: Arc<Coordinator> = Arc::default();
    let agent = Agent::with(config(state.path()), &coordinator);
    agent.say(PodEvent::Applied(ApiPod { uid: UID.into(), ..example::api_pod() })).await;
    let started = Timestamp::now();
    // A child below a shell, so that the tree is more than its root.
    let script = "x=$(head -c 30000000 /dev/zero | tr '\\0' a); sleep 60 & wait";
    let shell = Reaped(Command::new("bash").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap());
    let pid = i32::try_from(shell.0.id()).unwrap();
    agent.say(PodEvent::Started { pod_uid: UID.into(), container_id: "aa".into(), pid }).await;
    let seen = async {
        loop {
            let live = coordinator.beats.lock().unwrap().last().and_then(|beat| beat.live.first().cloned());
            if let Some(live) = live.filter(|live| live.rss_peak_bytes > Some(25_000_000) && live.processes >= 2) {
                return live;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let live = tokio::time::timeout(Duration::from_secs(20), seen).await.expect("sampled in time");
    assert_eq!(live.method, Method::Sampled);
    drop(shell);
    agent.say(PodEvent::Exited(exit(started))).await;
    let evidence = agent.handle.pod_final(UID).await.unwrap();
    assert_eq!((evidence.stage, evidence.segments[0].method), (Stage::Final, Method::Rusage));
    assert_eq!(evidence.segments[0].reading.cpu.unwrap().usage_ns, 40_000_000);
    assert!(evidence.sampled.process_hwm_bytes > Some(25_000_000));
    assert!(evidence.processes.iter().any(|process| process.command == "bash"), "{:?}", evidence.processes);
    assert_eq!(coordinator.until_final(UID).await.segments, evidence.segments);
    agent.stop().await;
}

#[tokio::test]
async fn an_executor_hears_that_a_pod_is_not_metered() {
    let state = TempDir::new().unwrap();
    let agent = Agent::with(config(state.path()), &Arc::default());
    let error = agent.handle.pod_final("nobody").await.unwrap_err();
    assert_eq!(error, FinalError::NotMetered { pod_uid: "nobody".into() });
    agent.stop().await;
}

/// A job of a few milliseconds in a tree of our own; what its executor says at its end.
fn run_in(pod: &PodCgroup, pod_uid: &str, container_id: &str) -> ContainerExit {
    let cgroup = pod.container(container_id, Limits::default()).unwrap();
    let started = Timestamp::now();
    // It waits at its standard input until it is in its cgroup.
    let mut child = Command::new("bash").args(["-c", "read; exec true"]).stdin(Stdio::piped()).spawn().unwrap();
    for mut file in cgroup.join_files().unwrap() {
        write!(file, "{}", child.id()).unwrap();
    }
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    let exit = ExitStatus { code: status.code(), signal: None };
    ContainerExit { pod_uid: pod_uid.into(), container_id: container_id.into(), exit, ..self::exit(started) }
}

#[tokio::test]
async fn fifty_short_jobs_in_our_own_cgroups_are_all_read_by_the_kernel() {
    let tree = match OwnTree::establish(&HostRoot::local()) {
        Ok(tree) => tree,
        Err(refusal) => return println!("skipped: {refusal}"),
    };
    let state = TempDir::new().unwrap();
    let coordinator: Arc<Coordinator> = Arc::default();
    let trees = Trees { kubelet: None, local: Some(tree.root().to_owned()) };
    let agent = Agent::with(AgentConfig { trees, ..config(state.path()) }, &coordinator);
    for n in 0..50 {
        let uid = uid(100 + n);
        let mut api = ApiPod { uid: uid.clone(), ..example::api_pod() };
        api.containers[0].container_id = Some("main".into());
        agent.say(PodEvent::Applied(api)).await;
        let pod = tree.pod(&uid).unwrap();
        agent.say(PodEvent::Exited(run_in(&pod, &uid, "main"))).await;
        let evidence = agent.handle.pod_final(&uid).await.unwrap();
        pod.remove().unwrap();
        assert_eq!((evidence.stage, evidence.gaps.as_slice()), (Stage::Final, &[][..]), "{evidence:#?}");
        assert_eq!((evidence.segments.len(), evidence.segments[0].method), (1, Method::Kernel));
        let container = &evidence.containers[0];
        let of_container = container.reading.as_ref().and_then(|reading| reading.cpu).unwrap().usage_ns;
        let of_pod = evidence.segments[0].reading.cpu.unwrap().usage_ns;
        assert!(of_container > 0 && of_container <= of_pod, "{of_container} of {of_pod}");
        assert_eq!(container.exit, Some(ExitStatus { code: Some(0), signal: None }));
        coordinator.until_final(&uid).await;
    }
    agent.stop().await;
    assert!(coordinator.known.borrow().values().all(|evidence| evidence.gaps.is_empty()));
}
