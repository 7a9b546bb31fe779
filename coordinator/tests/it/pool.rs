//! The pool from its watches to its patches, against a scripted API server.

use std::path::Path;
use std::time::Duration;

use jobmeter_decide::gating::Wanted;
use jobmeter_protocol::{PoolDetail, PoolStatus};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake_api::{FakeApi, JOBS, PODS};
use crate::harness::{Running, eventually, uid};

const NODES: &str = "/api/v1/nodes";

/// A coordinator that keeps pools.
struct Rig {
    api: FakeApi,
    coordinator: Running,
    files: TempDir,
}

fn path(n: usize) -> String {
    format!("/api/v1/namespaces/bench/pods/pod-{n}")
}

/// Held back, of the pool `gpu`, the `n`th to be made.
fn gated(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("pod-{n}"), "namespace": "bench", "uid": uid(n), "resourceVersion": "2",
            "creationTimestamp": format!("2026-09-21T14:13:{:02}Z", n % 60), "labels": {"jobmeter.io/pool": "gpu"},
        },
        "spec": {
            "schedulingGates": [{"name": "jobmeter.io/pool"}, {"name": "example.com/other"}],
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]
        },
        "status": {"phase": "Pending"}
    })
}

fn is_held(pod: &Value) -> bool {
    pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| gates.iter().any(|gate| gate["name"] == "jobmeter.io/pool"))
}

impl Rig {
    async fn start(pods: usize, pools: &str) -> Self {
        let api = FakeApi::new();
        api.set_list(JOBS, vec![]);
        api.set_list(PODS, vec![]);
        let node = json!({"metadata": {"name": "node-a", "resourceVersion": "1", "labels": {"kubernetes.io/hostname": "node-a"}},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        api.set_list(NODES, vec![node]);
        for n in 1..=pods {
            api.put(PODS, &path(n), gated(n));
        }
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("pools.yaml");
        std::fs::write(&file, pools).unwrap();
        let coordinator = Running::kube_with(api.client(), &files.path().join("data"), |config| {
            config.pools.file = Some(file);
            config.pools.gating = Wanted::SchedulingGates;
        })
        .await;
        coordinator.ready().await;
        let rig = Self { api, coordinator, files };
        eventually("all watches", async || (rig.api.watchers() == 4).then_some(())).await;
        rig
    }

    fn write(&self, pools: &str) {
        // As a ConfigMap is changed: another file in its place.
        let (new, file) = (self.files.path().join("new.yaml"), self.files.path().join("pools.yaml"));
        std::fs::write(&new, pools).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }

    fn pod(&self, n: usize) -> Value {
        self.api.object(&path(n)).unwrap()
    }

    async fn released(&self, n: usize) {
        eventually(&format!("pod {n} is released"), async || (!is_held(&self.pod(n))).then_some(())).await;
    }

    /// Longer than a decision takes.
    async fn still_held(&self, n: usize) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(is_held(&self.pod(n)), "pod {n} was released");
    }

    /// As its node says of it.
    fn becomes(&self, n: usize, phase: &str) {
        let mut pod = self.pod(n);
        pod["spec"]["nodeName"] = json!("node-a");
        pod["status"]["phase"] = json!(phase);
        self.api.put(PODS, &path(n), pod.clone());
        self.api.send(PODS, "MODIFIED", pod);
    }

    async fn pool(&self) -> PoolStatus {
        eventually("the pools are counted", async || {
            let answer = self.coordinator.get("/v1/pools").await;
            if !answer.status().is_success() {
                return None;
            }
            answer.json::<Vec<PoolStatus>>().await.unwrap().into_iter().find(|pool| pool.name == "gpu")
        })
        .await
    }

    async fn used(&self, used: u32, queued: u32) {
        let what = format!("{used} used, {queued} queued");
        eventually(&what, async || {
            let pool = self.pool().await;
            ((pool.used, pool.queued) == (used, queued)).then_some(())
        })
        .await;
    }

    async fn status(&self) -> Value {
        self.coordinator.get("/status").await.json().await.unwrap()
    }

    async fn metrics(&self) -> String {
        self.coordinator.get("/metrics").await.text().await.unwrap()
    }
}

#[tokio::test]
async fn who_came_first_is_released_and_its_end_releases_the_next() {
    let rig = Rig::start(2, "pools: {gpu: {size: 1}}").await;
    rig.released(1).await;
    rig.still_held(2).await;
    assert_eq!(rig.pod(1)["spec"]["schedulingGates"], json!([{"name": "example.com/other"}]), "other gates stay");
    let written: Vec<Value> = rig.api.patches().into_iter().map(|(_, patch)| patch).collect();
    let touches = |patch: &Value, path: &str| patch.as_array().unwrap().iter().any(|op| op["path"] == path);
    assert_eq!(written.len(), 2);
    assert!(written.iter().all(|patch| touches(patch, "/metadata/uid")), "{written:?}");
    assert!(touches(&written[1], "/metadata/annotations/jobmeter.io~1pool-slot"), "released only with its place: {written:?}");
    rig.used(1, 1).await;
    let detail: PoolDetail = rig.coordinator.get("/v1/pools/gpu?limit=5").await.json().await.unwrap();
    assert_eq!((detail.members[0].name.as_str(), detail.waiting[0].name.as_str()), ("pod-1", "pod-2"));
    assert_eq!((detail.waiting[0].position, detail.waiting[0].reason.as_str()), (1, "pool_full"));
    rig.becomes(1, "Running");
    rig.still_held(2).await;
    rig.becomes(1, "Failed");
    rig.released(2).await;
    rig.used(1, 0).await;
    let metrics = rig.metrics().await;
    for line in [
        "jobmeter_pool_size{pool=\"gpu\"} 1",
        "jobmeter_pool_used{pool=\"gpu\"} 1",
        "jobmeter_pool_releases_total{pool=\"gpu\"} 2",
        "jobmeter_pool_writes_total{outcome=\"done\",write=\"release\"} 2",
        "jobmeter_pool_release_seconds_count 2",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_place_on_a_node_becomes_a_required_affinity() {
    let rig = Rig::start(2, "pools: {gpu: {size: 5, perNode: 1}}").await;
    rig.released(1).await;
    let required = &rig.pod(1)["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let name = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-a"]}]}]);
    assert_eq!(required["nodeSelectorTerms"], name);
    rig.still_held(2).await;
}

#[tokio::test]
async fn a_pod_that_is_deleted_while_it_is_pending_frees_its_place() {
    let rig = Rig::start(2, "pools: {gpu: {size: 1}}").await;
    rig.released(1).await;
    let pod = rig.pod(1);
    rig.api.remove(&path(1));
    rig.api.send(PODS, "DELETED", pod);
    rig.released(2).await;
    rig.used(1, 0).await;
}

#[tokio::test]
async fn a_running_pod_that_loses_its_label_keeps_its_place_until_it_has_ended() {
    let rig = Rig::start(2, "pools: {gpu: {size: 1}}").await;
    rig.released(1).await;
    rig.becomes(1, "Running");
    let labelled = rig.pod(1);
    let mut bare = labelled.clone();
    bare["metadata"]["labels"] = json!({});
    rig.api.put(PODS, &path(1), bare.clone());
    // What a watch with a selector says of it.
    rig.api.send(PODS, "DELETED", labelled);
    rig.still_held(2).await;
    rig.used(1, 1).await;
    bare["status"]["phase"] = json!("Succeeded");
    rig.api.put(PODS, &path(1), bare);
    rig.released(2).await;
}

#[tokio::test]
async fn a_watch_that_has_a_gap_is_made_good_by_a_list() {
    let rig = Rig::start(3, "pools: {gpu: {size: 1}}").await;
    rig.released(1).await;
    // It ends, and the next one goes, while nobody is told.
    let mut ended = rig.pod(1);
    ended["status"]["phase"] = json!("Succeeded");
    rig.api.put(PODS, &path(1), ended);
    rig.api.remove(&path(2));
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
    rig.api.send(PODS, "ERROR", gone);
    rig.released(3).await;
    rig.used(1, 0).await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_looked_up_and_nobody_is_counted_twice() {
    let rig = Rig::start(0, "pools: {gpu: {size: 1}}").await;
    // Every write is done, and none is said to be.
    rig.api.lose_patch_answers(true);
    for n in [1, 2] {
        rig.api.put(PODS, &path(n), gated(n));
        rig.api.send(PODS, "ADDED", gated(n));
    }
    rig.released(1).await;
    rig.still_held(2).await;
    rig.api.lose_patch_answers(false);
    rig.used(1, 1).await;
    rig.becomes(1, "Succeeded");
    rig.released(2).await;
    assert!(rig.metrics().await.contains("jobmeter_pool_writes_total{outcome=\"unknown\",write=\"reserve\"}"));
}

#[tokio::test]
async fn the_pools_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
    let rig = Rig::start(3, "pools: {gpu: {size: 0}}").await;
    rig.used(0, 3).await;
    assert_eq!(rig.pool().await.waiting["paused"], 3);
    rig.write("pools: {gpu: {size: 1}}");
    rig.released(1).await;
    rig.write("pools: {gpu: {size: many}}");
    eventually("the problem in the status", async || {
        let error = rig.status().await["sources"]["pools"]["error"].as_str()?.to_owned();
        error.contains("line 1: pools.gpu.size").then_some(())
    })
    .await;
    assert!(rig.metrics().await.contains("jobmeter_pool_file_errors_total 1"));
    assert_eq!(rig.pool().await.size, 1);
    std::fs::remove_file(rig.files.path().join("pools.yaml")).unwrap();
    eventually("the missing file in the status", async || {
        rig.status().await["sources"]["pools"]["error"].as_str()?.contains("is gone").then_some(())
    })
    .await;
    assert_eq!(rig.pool().await.size, 1);
    rig.write("pools: {gpu: {size: 2}}");
    rig.released(2).await;
    rig.still_held(3).await;
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_said_with_those_that_are() {
    let rig = Rig::start(0, "pools: {gpu: {size: 1}, cpu: {size: 2}}").await;
    rig.pool().await;
    let answer = rig.coordinator.get("/v1/pools/tpu").await;
    assert_eq!(answer.status(), 404);
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["subject"], &body["hint"]), (&json!("tpu"), &json!("there are: cpu, gpu")));
    assert_eq!(rig.coordinator.get("/v1/pools/gpu?limit=x").await.status(), 400);
    assert_eq!(rig.coordinator.get("/v1/pools/gpu?limit=1000000").await.status(), 400);
}

#[tokio::test]
async fn without_a_pools_file_there_are_no_pools() {
    let api = FakeApi::new();
    for path in [PODS, JOBS] {
        api.set_list(path, vec![]);
    }
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), Path::new(files.path())).await;
    assert_eq!(coordinator.get("/v1/pools").await.json::<Vec<PoolStatus>>().await.unwrap(), []);
    assert_eq!(coordinator.get("/v1/pools/gpu").await.status(), 404);
    assert_eq!(Running::local().await.get("/v1/pools").await.status(), 200);
}
