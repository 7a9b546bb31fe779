use serde_json::{Value, json};

use super::*;
use crate::execute::run_pods::fake_api::FakeApi;

const POD: &str = "GET /api/v1/namespaces/bench/pods/disks-job-node-a-1";
const EVENTS: &str = "POST /apis/events.k8s.io/v1/namespaces/bench/events";

fn event(note: &str) -> PodEvent {
    PodEvent {
        namespace: "bench".to_owned(),
        pod: "disks-job-node-a-1".to_owned(),
        warning: true,
        reason: "DiskFull".to_owned(),
        action: None,
        note: note.to_owned(),
    }
}

fn there() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "disks-job-node-a-1", "namespace": "bench", "uid": "u1"}})
}

async fn posted(note: &str) -> Value {
    let api = FakeApi::default();
    api.on(POD, 200, there());
    api.store(EVENTS);
    KubeRunEvents::new(api.client(), "coordinator-0").post(event(note)).await.unwrap();
    api.bodies(EVENTS).remove(0)
}

#[tokio::test]
async fn disk_100_percent_full_arrives_as_it_was_written() {
    let sent = posted("disk 100% full: %s %d %!").await;
    assert_eq!(sent["note"], "disk 100% full: %s %d %!");
    assert_eq!((&sent["type"], &sent["reason"], &sent["action"]), (&json!("Warning"), &json!("DiskFull"), &json!("n/a")));
    assert_eq!(sent["regarding"]["uid"], "u1");
    assert_eq!(sent["regarding"], sent["related"]);
    assert_eq!((&sent["reportingController"], &sent["reportingInstance"]), (&json!(CONTROLLER), &json!("coordinator-0")));
    let name = sent["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("disks-job-node-a-1.") && name.len() <= 253, "{name}");
    assert!(sent["eventTime"].is_string());
}

#[tokio::test]
async fn a_long_note_is_cut_between_two_characters() {
    let note = posted(&"€".repeat(1000)).await["note"].as_str().unwrap().to_owned();
    assert_eq!(note, "€".repeat(341));
}

#[tokio::test]
async fn an_event_of_a_pod_that_is_gone_says_so_and_a_refusal_is_told_from_silence() {
    let api = FakeApi::default();
    let events = KubeRunEvents::new(api.client(), "");
    assert!(matches!(events.post(event("x")).await, Err(EventError::NoPod { .. })));
    api.on(POD, 200, there());
    api.refuse(EVENTS, 403, "Forbidden", "events.events.k8s.io is forbidden");
    let refused = events.post(event("x")).await.unwrap_err();
    assert!(matches!(&refused, EventError::Refused { why, .. } if why.contains("is forbidden")), "{refused}");
    api.refuse(EVENTS, 404, "NotFound", "namespaces \"bench\" not found");
    assert!(matches!(events.post(event("x")).await, Err(EventError::Refused { .. })));
    api.refuse(EVENTS, 500, "InternalError", "etcd");
    assert!(matches!(events.post(event("x")).await, Err(EventError::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_is_not_waited_for() {
    let api = FakeApi::default();
    api.on(POD, 200, there());
    api.silent(EVENTS);
    let answer = KubeRunEvents::new(api.client(), "coordinator-0").post(event("x")).await;
    assert!(matches!(answer, Err(EventError::Unknown { .. })), "{answer:?}");
}
