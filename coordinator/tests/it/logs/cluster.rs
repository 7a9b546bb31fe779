//! Live logs in a cluster: the API server has them.

use jobmeter_coordinator::api::error::ErrorBody;
use serde_json::json;

use super::*;
use crate::fake_api::{self, FakeApi, JOBS, PODS, object, owner};

#[tokio::test]
async fn the_log_of_a_pod_that_is_still_there_comes_from_the_api_server() {
    let api = FakeApi::new();
    let of_job = || owner("batch/v1", "Job", "sort");
    api.set_list(PODS, vec![fake_api::pod(1, of_job(), "Running"), fake_api::pod(2, of_job(), "Running")]);
    api.set_list(JOBS, vec![object("batch/v1", "Job", "sort", vec![])]);
    let path = |n: usize| format!("/api/v1/namespaces/bench/pods/pod-{n}/log");
    api.answer(&path(1), 200, json!("one and two"));
    api.answer(&path(2), 403, json!({}));
    let data = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), data.path()).await;
    coordinator.ready().await;
    let live = coordinator.get("/v1/logs/bench/pod-1?timestamps=true&follow=true").await;
    assert_eq!((live.status().as_u16(), live.headers()["x-jobmeter-log-state"].to_str().unwrap()), (200, "live"));
    assert_eq!(live.text().await.unwrap(), "\"one and two\"");
    let forbidden = coordinator.get("/v1/logs/bench/pod-2").await;
    assert_eq!(forbidden.status(), 403);
    assert!(forbidden.json::<ErrorBody>().await.unwrap().hint.unwrap().contains("pods/log"));
    assert_eq!(api.calls(&path(1)), 1);
}

#[tokio::test]
async fn a_pod_that_is_no_job_by_its_owners_gets_no_ticket() {
    let api = FakeApi::new();
    api.set_list(PODS, vec![fake_api::pod(1, owner("example.com/v1", "Worker", "service"), "Running")]);
    api.set_list(JOBS, vec![]);
    api.discover("example.com/v1", &[("Worker", "workers")]);
    let worker = object("example.com/v1", "Worker", "service", vec![]);
    api.answer("/apis/example.com/v1/namespaces/bench/workers/service", 200, worker);
    let data = tempfile::tempdir().unwrap();
    let coordinator = Running::kube(api.client(), data.path()).await;
    coordinator.ready().await;
    let log = LogId { pod: "pod-1".into(), ..log_of(1, "main", 0) };
    let request = ticket_request(&log, b"", None);
    let reply = eventually("it is no job", async || match coordinator.handle.log_ticket(&request).await.unwrap() {
        TicketReply::Later { .. } => None,
        reply => Some(reply),
    })
    .await;
    assert_eq!(reply, TicketReply::NotAJob { why: "pod bench/pod-1 is no job by its owners".into() });
}
