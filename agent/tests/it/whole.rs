//! The whole agent against real cgroups: what arrives is what the kernel says.

use std::{sync::Arc, time::Duration};

use jobmeter_agent::{
    AgentConfig, PodEvent,
    watch::{KubeletTrees, Trees},
};
use jobmeter_decide::example;
use jobmeter_protocol::{ApiPod, Gap, HeartbeatReply, Method, PodEvidence, PodPhase, RestartPolicy, Stage};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Coordinator, Fault, config},
    cgroups::{Cgroups, Reaped, id, uid},
};

struct Node {
    cgroups: Cgroups,
    state: TempDir,
    coordinator: Arc<Coordinator>,
}

impl Node {
    fn new() -> Option<Self> {
        Some(Self { cgroups: Cgroups::new()?, state: TempDir::new().unwrap(), coordinator: Arc::default() })
    }

    fn config(&self) -> AgentConfig {
        let below = Some(format!("/{}", self.cgroups.root.display()));
        let trees = Trees { kubelet: Some(KubeletTrees { below, except: Vec::new(), holding: None }), local: None };
        AgentConfig { trees, ..config(self.state.path()) }
    }

    fn agent(&self) -> Agent {
        Agent::with(self.config(), &self.coordinator)
    }

    fn pod(&self, n: u32) -> Pod<'_> {
        let uid = uid(n);
        let path = self.cgroups.make(&format!("kubepods/besteffort/pod{uid}"));
        Pod { node: self, uid, path }
    }
}

struct Pod<'a> {
    node: &'a Node,
    uid: String,
    path: std::path::PathBuf,
}

impl Pod<'_> {
    fn container(&self, n: u32) -> std::path::PathBuf {
        self.node.cgroups.make(&format!("kubepods/besteffort/pod{}/{}", self.uid, id(n)))
    }

    fn sandbox(&self) -> Reaped {
        Reaped(self.node.cgroups.command(&self.container(1), "exec sleep 600").spawn().unwrap())
    }

    fn api(&self, container: u32) -> ApiPod {
        let mut pod = ApiPod { uid: self.uid.clone(), phase: PodPhase::Running, ..example::api_pod() };
        pod.containers[0] = example::api_container("main", &id(container), 0);
        (pod.containers[0].started, pod.containers[0].finished, pod.containers[0].exit) = (None, None, None);
        pod
    }

    /// What its files say now: CPU and watermark.
    fn truth(&self) -> (u64, u64) {
        (self.node.cgroups.cpu_ns(&self.path), self.node.cgroups.peak(&self.path))
    }

    /// As a kubelet does, which takes its time once the containers are dead: the watcher has read what they left.
    async fn remove(self, sandbox: Reaped, agent: &Agent) -> (u64, u64) {
        let before = agent.pod_readings();
        drop(sandbox);
        let read = async {
            while agent.pod_readings() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("the pod is read when its last process ends");
        for n in [1, 2] {
            self.node.cgroups.removed(&self.path.join(id(n)));
        }
        let truth = self.truth();
        self.node.cgroups.removed(&self.path);
        truth
    }
}

fn burn(node: &Node, pod: &Pod<'_>, n: u32) {
    let path = pod.container(n);
    let script = "x=$(head -c 8000000 /dev/zero | tr '\\0' a); i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    assert!(node.cgroups.command(&path, script).status().unwrap().success());
}

fn total(evidence: &PodEvidence) -> (u64, u64) {
    let reading = &evidence.segments[0].reading;
    (reading.cpu.unwrap().usage_ns, reading.memory.unwrap().peak_bytes.unwrap())
}

#[tokio::test]
async fn a_job_arrives_with_the_figures_of_its_pods_cgroup() {
    let Some(node) = Node::new() else { return };
    let agent = node.agent();
    let pod = node.pod(1);
    agent.say(PodEvent::Resynced(vec![pod.api(2)])).await;
    let sandbox = pod.sandbox();
    burn(&node, &pod, 2);
    let uid = pod.uid.clone();
    let ended = node.coordinator.until(&uid, |evidence| evidence.containers.iter().any(|c| c.ended.is_some())).await;
    assert_eq!((ended.stage, ended.containers[0].name.as_deref()), (Stage::Ended, Some("main")));
    assert!(ended.containers[0].reading.is_some());
    let truth = pod.remove(sandbox, &agent).await;
    let evidence = node.coordinator.until_final(&uid).await;
    let (cpu, peak) = total(&evidence);
    println!("reported {cpu} ns {peak} B, truth {truth:?}, seen {} B anon", evidence.sampled.anon_shmem_peak_bytes.unwrap_or(0));
    assert!(cpu <= truth.0 && truth.0 - cpu < 2_000_000, "only the sandbox's last breath is missing: {cpu} of {}", truth.0);
    assert_eq!(peak, truth.1);
    assert!(peak > 8_000_000 && evidence.segments[0].method == Method::Kernel);
    assert_eq!(evidence.gaps, []);
    assert_eq!(evidence.containers.len(), 1, "the sandbox is none");
    agent.stop().await;
    let again = node.agent();
    assert_eq!(
        again.handle.registry().gather().iter().filter(|family| family.name() == "jobmeter_pod_cpu_seconds_total").count(),
        0
    );
    again.stop().await;
}

#[tokio::test]
async fn a_container_that_ends_while_the_agent_is_down_is_still_in_the_pods_total() {
    let Some(node) = Node::new() else { return };
    let pod = node.pod(2);
    let agent = node.agent();
    agent.say(PodEvent::Resynced(vec![pod.api(2)])).await;
    let sandbox = pod.sandbox();
    agent.stop().await;
    burn(&node, &pod, 2);
    node.cgroups.removed(&pod.path.join(id(2)));
    let agent = node.agent();
    let mut ended = pod.api(2);
    ended.containers[0] = example::api_container("main", &id(2), 0);
    agent.say(PodEvent::Resynced(vec![ended])).await;
    let uid = pod.uid.clone();
    let truth = pod.remove(sandbox, &agent).await;
    let evidence = node.coordinator.until_final(&uid).await;
    let (cpu, peak) = total(&evidence);
    assert!(cpu <= truth.0 && truth.0 - cpu < 2_000_000, "{cpu} of {}", truth.0);
    assert_eq!(peak, truth.1);
    assert_eq!(evidence.gaps, [Gap::ContainerMissed { container_id: id(2) }]);
    agent.stop().await;
}

#[tokio::test]
async fn whatever_goes_wrong_on_the_way_the_evidence_arrives_whole() {
    let Some(node) = Node::new() else { return };
    node.coordinator.faults.lock().unwrap().extend([Fault::Unreachable, Fault::LostAnswer, Fault::TooLarge]);
    let agent = node.agent();
    let pods: Vec<_> = (3..6).map(|n| node.pod(n)).collect();
    agent.say(PodEvent::Resynced(pods.iter().map(|pod| pod.api(2)).collect())).await;
    let uids: Vec<_> = pods.iter().map(|pod| pod.uid.clone()).collect();
    let mut truths = Vec::new();
    for pod in pods {
        let sandbox = pod.sandbox();
        burn(&node, &pod, 2);
        truths.push(pod.remove(sandbox, &agent).await);
    }
    for (uid, truth) in uids.iter().zip(truths) {
        let evidence = node.coordinator.until_final(uid).await;
        assert_eq!(total(&evidence).1, truth.1);
        assert_eq!(evidence.gaps, []);
    }
    agent.stop().await;
}

#[tokio::test]
async fn what_could_not_be_sent_before_a_stop_is_sent_by_the_next_agent() {
    let Some(node) = Node::new() else { return };
    node.coordinator.faults.lock().unwrap().extend([Fault::Unreachable; 50]);
    let agent = node.agent();
    let pod = node.pod(7);
    agent.say(PodEvent::Resynced(vec![pod.api(2)])).await;
    let sandbox = pod.sandbox();
    burn(&node, &pod, 2);
    let uid = pod.uid.clone();
    let truth = pod.remove(sandbox, &agent).await;
    // The agent answers when the last reading is on the disk.
    agent.handle.pod_final(&uid).await.unwrap();
    agent.stop().await;
    assert!(node.coordinator.known.borrow().is_empty());
    node.coordinator.faults.lock().unwrap().clear();
    let agent = node.agent();
    assert_eq!(total(&node.coordinator.until_final(&uid).await).1, truth.1);
    agent.stop().await;
}

#[tokio::test]
async fn a_service_is_not_reported_and_a_pod_that_nobody_knows_is_named_unknown() {
    let Some(node) = Node::new() else { return };
    let stranger = "11111111-2222-4333-8444-555555555555".to_owned();
    let reply = HeartbeatReply { wanted: vec![stranger.clone()], ..HeartbeatReply::default() };
    node.coordinator.replies.lock().unwrap().push_back(reply);
    let agent = node.agent();
    let pod = node.pod(8);
    let owner = Some(example::owner("apps/v1", "ReplicaSet", "web"));
    agent.say(PodEvent::Resynced(vec![ApiPod { owner, restart_policy: RestartPolicy::Always, ..pod.api(2) }])).await;
    let sandbox = pod.sandbox();
    burn(&node, &pod, 2);
    let uid = pod.uid.clone();
    pod.remove(sandbox, &agent).await;
    let named = async {
        while !node.coordinator.beats.lock().unwrap().iter().any(|beat| beat.unknown.contains(&stranger)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), named).await.expect("an answer in a heartbeat");
    agent.stop().await;
    assert!(!node.coordinator.known.borrow().contains_key(&uid));
}
