//! The world against an API server: owner chains of any kind, what may not be seen, what vanished while we were away.

use jobmeter_coordinator::store::Store;
use jobmeter_protocol::{Quality, Reason, Record};
use serde_json::json;

use crate::fake_api::{FakeApi, JOBS, PODS, object, owner, pod};
use crate::harness::{NODE, Running, batch, eventually, evidence, heartbeat, uid};

fn api_with(pods: Vec<serde_json::Value>) -> FakeApi {
    let api = FakeApi::new();
    api.set_list(PODS, pods);
    api.set_list(JOBS, vec![]);
    api
}

async fn record_when(store: &Store, n: usize, what: &str, holds: impl Fn(&Record) -> bool) -> Record {
    eventually(what, async || store.record(&uid(n)).await.unwrap().filter(|record| holds(record))).await
}

fn chain(record: &Record) -> Vec<&str> {
    record.identity.owners.iter().map(|owner| owner.kind.as_str()).collect()
}

#[tokio::test]
async fn an_unknown_kind_is_followed_until_it_may_not_be_seen() {
    let api = api_with(vec![pod(1, owner("batch/v1", "Job", "step-1"), "Running")]);
    api.set_list(JOBS, vec![object("batch/v1", "Job", "step-1", vec![owner("argoproj.io/v1alpha1", "Workflow", "flow")])]);
    api.discover("argoproj.io/v1alpha1", &[("Workflow", "workflows"), ("CronWorkflow", "cronworkflows")]);
    let flow = object("argoproj.io/v1alpha1", "Workflow", "flow", vec![owner("argoproj.io/v1alpha1", "CronWorkflow", "nightly")]);
    api.answer("/apis/argoproj.io/v1alpha1/namespaces/bench/workflows/flow", 200, flow);
    api.answer("/apis/argoproj.io/v1alpha1/namespaces/bench/cronworkflows/nightly", 403, json!({}));
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    let record = record_when(coordinator.handle.store(), 1, "the chain", |record| record.identity.owners.len() == 3).await;
    assert_eq!(chain(&record), ["Job", "Workflow", "CronWorkflow"]);
    assert_eq!(record.identity.job.name, "nightly");
    let metrics = coordinator.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("jobmeter_coordinator_owner_lookups_total{result=\"forbidden\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_job_that_is_gone_ends_the_chain_and_not_the_record() {
    let api = api_with(vec![pod(1, owner("batch/v1", "Job", "quick"), "Succeeded")]);
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    coordinator.ready().await;
    coordinator.handle.report(batch(vec![evidence(1)])).await.unwrap();
    let record = record_when(coordinator.handle.store(), 1, "closed", |record| record.quality != Quality::Provisional).await;
    assert_eq!((chain(&record), record.outcome.reason), (vec!["Job"], Reason::Completed));
    assert_eq!(record.quality, Quality::Complete { notes: vec![] });
}

#[tokio::test]
async fn an_agent_is_told_which_pods_are_jobs_by_owners_that_it_cannot_see() {
    let api = api_with(vec![
        pod(1, owner("example.com/v1", "Worker", "w"), "Running"),
        pod(2, owner("example.com/v1", "Worker", "service"), "Running"),
        pod(3, owner("apps/v1", "ReplicaSet", "web"), "Running"),
    ]);
    api.discover("example.com/v1", &[("Worker", "workers")]);
    let worker = |name: &str, owners| object("example.com/v1", "Worker", name, owners);
    let path = |name: &str| format!("/apis/example.com/v1/namespaces/bench/workers/{name}");
    api.answer(&path("w"), 200, worker("w", vec![owner("batch/v1", "Job", "sort")]));
    api.answer(&path("service"), 200, worker("service", vec![]));
    api.answer("/apis/batch/v1/namespaces/bench/jobs/sort", 200, object("batch/v1", "Job", "sort", vec![]));
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    let meter = eventually("pods to meter", async || {
        let reply = coordinator.handle.heartbeat(NODE, heartbeat(NODE, vec![])).await.unwrap();
        Some(reply.meter).filter(|meter| !meter.is_empty())
    })
    .await;
    assert_eq!(meter, [uid(1)]);
    assert_eq!(coordinator.handle.record(&uid(1)).await.unwrap().unwrap().identity.job.name, "sort");
    // What is no job leaves no record.
    assert_eq!(coordinator.handle.record(&uid(2)).await.unwrap(), None);
    assert_eq!(coordinator.handle.record(&uid(3)).await.unwrap(), None);
}

#[tokio::test]
async fn what_vanished_while_the_coordinator_was_away_is_found_at_its_start() {
    let running = || pod(1, owner("batch/v1", "Job", "sort"), "Running");
    let api = api_with(vec![running(), pod(2, owner("batch/v1", "Job", "sort"), "Running")]);
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    for n in [1, 2] {
        record_when(coordinator.handle.store(), n, "running", |record| record.outcome.reason == Reason::Running).await;
    }
    coordinator.stop().await;

    api.set_list(PODS, vec![running()]);
    let coordinator = Running::kube(api.client(), files.path()).await;
    coordinator.ready().await;
    coordinator.handle.report(batch(vec![evidence(1), evidence(2)])).await.unwrap();
    let gone = record_when(coordinator.handle.store(), 2, "closed", |record| record.quality != Quality::Provisional).await;
    assert_eq!(gone.quality, Quality::Complete { notes: vec![] });
    assert!(gone.usage.cpu_seconds.is_some());
    let still_there = coordinator.handle.record(&uid(1)).await.unwrap().unwrap();
    assert_eq!(still_there.quality, Quality::Provisional);
}

#[tokio::test]
async fn a_watch_tells_the_end_of_a_pod_and_of_its_job() {
    let api = api_with(vec![pod(1, owner("batch/v1", "Job", "sort"), "Running")]);
    let job = |status| {
        let mut job = object("batch/v1", "Job", "sort", vec![]);
        job["status"] = status;
        job
    };
    api.set_list(JOBS, vec![job(json!({"active": 1}))]);
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    coordinator.ready().await;
    eventually("both watches", async || (api.watchers() == 2).then_some(())).await;
    coordinator.handle.report(batch(vec![evidence(1)])).await.unwrap();
    api.send(PODS, "DELETED", pod(1, owner("batch/v1", "Job", "sort"), "Succeeded"));
    let complete = json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-09-21T14:13:22Z"}]});
    api.send(JOBS, "MODIFIED", job(complete));
    let record = record_when(coordinator.handle.store(), 1, "closed", |record| record.quality != Quality::Provisional).await;
    assert_eq!(record.outcome.reason, Reason::Completed);
    eventually("the job's end in the metrics", async || {
        let text = coordinator.get("/metrics").await.text().await.unwrap();
        text.contains("jobmeter_jobs_total{outcome=\"completed\"} 1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_without_its_lists_is_not_ready_and_says_why() {
    let api = FakeApi::new();
    api.set_down(true);
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    eventually("the failed watch in the status", async || {
        let status: serde_json::Value = coordinator.get("/status").await.json().await.unwrap();
        status["sources"]["pods"]["error"].as_str().is_some_and(|error| error.contains("InternalError")).then_some(())
    })
    .await;
    let readyz = coordinator.get("/readyz").await;
    assert_eq!(readyz.status(), 503);
    assert_eq!(readyz.text().await.unwrap(), "cluster: starting\n");
    assert_eq!(coordinator.get("/livez").await.status(), 200);
}

#[tokio::test]
async fn a_metered_static_pod_has_one_record_under_the_uid_that_its_node_gave_it() {
    const HASH: &str = "0123456789abcdef0123456789abcdef";
    let mut mirror = pod(1, owner("v1", "Node", NODE), "Running");
    mirror["metadata"]["labels"] = json!({"jobmeter.io/meter": "true"});
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": HASH});
    let api = api_with(vec![mirror.clone()]);
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), files.path()).await;
    coordinator.ready().await;
    eventually("both watches", async || (api.watchers() == 2).then_some(())).await;
    let mut report = evidence(1);
    report.pod_uid = HASH.to_owned();
    coordinator.handle.report(batch(vec![report])).await.unwrap();
    api.send(PODS, "DELETED", mirror);
    let store = coordinator.handle.store();
    eventually("closed", async || store.record(HASH).await.unwrap().filter(|record| record.quality != Quality::Provisional))
        .await;
    assert_eq!(store.record(&uid(1)).await.unwrap(), None);
}
