//! Node runs from their definition to their results, with their pool, against a scripted API server.

use std::path::PathBuf;

use jobmeter_coordinator::config::leadership::Surroundings;
use jobmeter_coordinator::config::runs::{CallbacksConfig, CompatiblePorts, RunsConfig};
use jobmeter_coordinator::runs::definition::{Defaults, Sources};
use jobmeter_decide::gating::Wanted;
use jobmeter_decide::runs::{Command, Refusal};
use jobmeter_protocol::PoolStatus;
use jobmeter_protocol::runs::{Run, RunDetail, RunState, StartRun};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake_api::{FakeApi, JOBS, PODS};
use crate::harness::{Running, eventually};

const NODES: &str = "/api/v1/nodes";
const POD: &str = "spec: {containers: [{name: check, image: 'registry.example/check:1'}]}\n";

struct Rig {
    api: FakeApi,
    coordinator: Running,
    files: TempDir,
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "1", "labels": {"kubernetes.io/hostname": name}}, "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

fn is_held(pod: &Value) -> bool {
    pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| gates.iter().any(|gate| gate["name"] == "jobmeter.io/pool"))
}

impl Rig {
    async fn start(nodes: &[&str], pool_size: u32, gating: Wanted) -> Self {
        let api = FakeApi::new();
        api.set_list(JOBS, vec![]);
        api.set_list(PODS, vec![]);
        api.set_list(NODES, nodes.iter().map(|name| node(name)).collect());
        let files = tempfile::tempdir().unwrap();
        let (definitions, reports) = (files.path().join("runs"), files.path().join("reports"));
        std::fs::create_dir(&definitions).unwrap();
        std::fs::create_dir(&reports).unwrap();
        let rig = |coordinator| Self { api: api.clone(), coordinator, files };
        std::fs::write(definitions.join("pod-template.yaml"), POD).unwrap();
        std::fs::write(definitions.join("config.yaml"), config(pool_size)).unwrap();
        let data = definitions.with_file_name("data");
        let coordinator = Running::kube_with(api.client(), &data, |config| {
            config.pools.gating = gating;
            config.runs = Some(RunsConfig {
                sources: Sources { directory: Some(definitions), config_maps: vec![] },
                defaults: Defaults { namespace: "bench".to_owned(), report_directory: reports, report_directory_wins: true },
                callbacks: CallbacksConfig { address: Some("10.0.0.9".to_owned()), ..CallbacksConfig::default() },
                ports: CompatiblePorts::default(),
                own: Surroundings::default(),
            });
        })
        .await;
        coordinator.ready().await;
        rig(coordinator)
    }

    fn definition(&self) -> PathBuf {
        self.files.path().join("runs/config.yaml")
    }

    async fn begin(&self) -> Run {
        eventually("a run begins", async || {
            let start = Command::Start(StartRun { definition: "inventory".to_owned(), nodes: vec![] });
            match self.coordinator.handle.runs().command(start).await {
                Ok(Ok(run)) => Some(run),
                Ok(Err(Refusal::NotReady | Refusal::NoSuchDefinition { .. })) | Err(_) => None,
                Ok(Err(refusal)) => panic!("{refusal}"),
            }
        })
        .await
    }

    /// Path and object of each pod, in the order of their names.
    fn pods(&self) -> Vec<(String, Value)> {
        self.api.objects(PODS)
    }

    async fn pods_are(&self, made: usize, held: usize) {
        eventually(&format!("{made} pods, {held} of them held back"), async || {
            let pods = self.pods();
            let found = (pods.len(), pods.iter().filter(|(_, pod)| is_held(pod)).count());
            (found == (made, held)).then_some(())
        })
        .await;
    }

    /// As its node says of it.
    fn becomes(&self, pod: &(String, Value), node: &str, phase: &str) {
        let mut object = self.api.object(&pod.0).unwrap();
        object["spec"]["nodeName"] = json!(node);
        let state = match phase {
            "Running" => json!({"running": {"startedAt": "2026-09-21T14:13:21Z"}}),
            _ => json!({"terminated": {"exitCode": 0, "reason": "Completed",
                "startedAt": "2026-09-21T14:13:21Z", "finishedAt": "2026-09-21T14:13:22Z"}}),
        };
        let status = json!({"name": "check", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        object["status"] = json!({"phase": phase, "containerStatuses": [status]});
        self.api.put(PODS, &pod.0, object.clone());
        self.api.send(PODS, "MODIFIED", object);
    }

    /// What the pod's script does: it takes the URL from its environment.
    async fn posts(&self, pod: &Value) {
        let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
        let url = env.iter().find(|variable| variable["name"] == "CALLBACK_SERVICE_RESULT_URL").unwrap();
        let path = url["value"].as_str().unwrap().strip_prefix("http://10.0.0.9:8080").unwrap();
        let body = json!({"disks": [{"value": 4.0, "labels": {"state": "good"}}]}).to_string();
        let answer = self.coordinator.http.post(self.coordinator.url(path)).body(body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, ""));
    }

    async fn pool(&self) -> Option<PoolStatus> {
        let answer = self.coordinator.get("/v1/pools").await;
        if !answer.status().is_success() {
            return None;
        }
        answer.json::<Vec<PoolStatus>>().await.unwrap().into_iter().find(|pool| pool.name == "run.inventory")
    }

    async fn pool_has(&self, size: u32, used: u32) {
        eventually(&format!("a pool of {size} with {used} taken"), async || {
            self.pool().await.filter(|pool| (pool.size, pool.used) == (size, used))
        })
        .await;
    }

    async fn detail(&self, run: &Run) -> RunDetail {
        let answer = self.coordinator.get(&format!("/v1/runs/{}", run.id)).await;
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    /// One node's pod from its start to its end.
    async fn works(&self, node: &str) {
        let pods = self.pods();
        let let_go = |pod: &&(String, Value)| !is_held(&pod.1) && pod.1["status"]["phase"] == "Pending";
        let pod = pods.iter().find(let_go).unwrap();
        self.becomes(pod, node, "Running");
        self.posts(&pod.1).await;
        self.becomes(pod, node, "Succeeded");
    }
}

fn config(pool_size: u32) -> String {
    format!(
        "name: inventory\ncronExpression: '0 0 1 1 *'\nreportHistory: 1\npodPoolSize: {pool_size}\n\
         metrics: {{prefix: inventory, gauges: {{disks: {{help: Disks., labels: [state]}}}}}}\n"
    )
}

#[tokio::test]
async fn a_run_keeps_its_pool_size_and_ends_with_a_result_of_every_node() {
    let rig = Rig::start(&["node-a", "node-b"], 1, Wanted::SchedulingGates).await;
    let run = rig.begin().await;
    rig.pods_are(2, 1).await;
    rig.pool_has(1, 1).await;
    rig.works("node-a").await;
    rig.pods_are(2, 0).await;
    rig.works("node-b").await;
    let ended = eventually("the run has ended", async || {
        let detail = rig.detail(&run).await;
        detail.run.state.is_over().then_some(detail)
    })
    .await;
    assert_eq!((ended.run.state, ended.run.nodes.succeeded), (RunState::Succeeded, 2), "{ended:?}");
    let results: Vec<Value> = rig.coordinator.get(&format!("/v1/runs/{}/results", run.id)).await.json().await.unwrap();
    assert_eq!(results.len(), 2);
    let reports = rig.files.path().join("reports").join(&run.id);
    assert!(reports.join("node-a.json").is_file() && reports.join("node-b.json").is_file());
    let metrics = rig.coordinator.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("inventory_disks{"), "{metrics}");
    rig.coordinator.stop().await;
}

#[tokio::test]
async fn a_definitions_pool_is_shown_changes_with_it_and_stays_until_its_last_run_is_over() {
    let rig = Rig::start(&["node-a", "node-b", "node-c"], 1, Wanted::SchedulingGates).await;
    rig.pool_has(1, 0).await;
    rig.begin().await;
    rig.pods_are(3, 2).await;
    std::fs::write(rig.definition(), config(2)).unwrap();
    rig.pool_has(2, 2).await;
    rig.pods_are(3, 1).await;

    std::fs::remove_file(rig.definition()).unwrap();
    std::fs::remove_file(rig.definition().with_file_name("pod-template.yaml")).unwrap();
    rig.works("node-a").await;
    rig.pods_are(3, 0).await;
    assert!(rig.pool().await.is_some(), "its run still needs it");
    rig.works("node-b").await;
    rig.works("node-c").await;
    eventually("the pool is gone", async || {
        let pool = rig.pool().await;
        pool.is_none_or(|pool| pool.configured_size == "not configured").then_some(())
    })
    .await;
    rig.coordinator.stop().await;
}

#[tokio::test]
async fn without_scheduling_gates_no_run_is_begun_and_it_is_said_why() {
    let rig = Rig::start(&["node-a"], 1, Wanted::Suspend).await;
    let start = Command::Start(StartRun { definition: "inventory".to_owned(), nodes: vec![] });
    let refused = rig.coordinator.handle.runs().command(start).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("scheduling gates"), "{refused}");
    let status: Value = rig.coordinator.get("/status").await.json().await.unwrap();
    assert!(status["sources"]["runs"].to_string().contains("Kubernetes 1.27"), "{status}");
    assert_eq!(rig.pods().len(), 0);
    rig.coordinator.stop().await;
}
