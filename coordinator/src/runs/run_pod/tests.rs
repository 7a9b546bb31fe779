//! Pods as an API server (1.36) sends them, shortened to what is read.

use serde_json::{Value, json};

use super::*;

fn read(pod: Value) -> Option<RunPod> {
    run_pod(&serde_json::from_value(pod).unwrap())
}

fn pod(spec: Value, status: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "disks-job-node-a-202611211930", "namespace": "bench", "uid": "8f9c1f0e-5a4e-4a7e-9b7e-111111111111",
            "creationTimestamp": "2026-11-21T19:30:01Z",
            "labels": {"jobmeter.io/run": "202611211930", "jobmeter.io/pool": "run.disks"},
            "annotations": {
                "jobmeter.io/run-task": "{\"node\":\"node-a.example\",\"attempt\":2}",
                "jobmeter.io/pool-slot": "{\"pool\":\"run.disks\",\"epoch\":3,\"given\":\"2026-11-21T19:30:05Z\"}"
            }
        },
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]},
        "status": status
    });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

fn bound() -> Value {
    json!({"nodeName": "node-a.example"})
}

fn container(name: &str, state: Value) -> Value {
    json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

fn ended(code: i32, reason: &str, started: &str, finished: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": finished}})
}

fn seconds(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string()["2026-11-21T19:".len()..].to_owned())
}

#[test]
fn a_pod_that_is_held_has_no_place_though_one_is_written_on_it() {
    let gates = json!({"schedulingGates": [{"name": "example.com/other"}, {"name": "jobmeter.io/pool"}]});
    let scheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
    let held = read(pod(gates, json!({"phase": "Pending", "conditions": scheduled}))).unwrap();
    assert_eq!((held.phase, held.admitted, held.waiting), (PodPhase::Gated, None, None));
    assert_eq!((held.run.as_str(), held.node.as_str(), held.attempt), ("202611211930", "node-a.example", 2));
    assert_eq!((held.bound, held.deleting, held.exit_code), (None, false, None));
    assert_eq!(held.created.to_string(), "2026-11-21T19:30:01Z");

    let others = json!({"schedulingGates": [{"name": "example.com/other"}]});
    let let_go = read(pod(others, json!({"phase": "Pending", "conditions": scheduled}))).unwrap();
    assert_eq!((let_go.phase, seconds(let_go.admitted).as_deref()), (PodPhase::Pending, Some("30:05Z")));
    assert!(let_go.waiting.unwrap().starts_with("SchedulingGated: "));
}

#[test]
fn a_pod_without_a_task_that_can_be_read_is_none_of_a_run() {
    let whole = pod(bound(), json!({"phase": "Running"}));
    assert!(read(whole.clone()).is_some());
    let mut without_label = whole.clone();
    without_label["metadata"]["labels"] = json!({"jobmeter.io/pool": "run.disks"});
    assert_eq!(read(without_label), None);
    for task in [json!({}), json!({"jobmeter.io/run-task": "node-a"}), json!({"jobmeter.io/run-task": "{\"node\":\"a\"}"})] {
        let mut of_nobody = whole.clone();
        of_nobody["metadata"]["annotations"] = task;
        assert_eq!(read(of_nobody), None);
    }
}

#[test]
fn a_pod_runs_when_a_container_started_and_an_init_container_is_not_enough() {
    let init = container("fetch", json!({"running": {"startedAt": "2026-11-21T19:30:07Z"}}));
    let waits = container("main", json!({"waiting": {"reason": "PodInitializing"}}));
    let status = json!({"phase": "Pending", "initContainerStatuses": [init], "containerStatuses": [waits]});
    let prepares = read(pod(bound(), status)).unwrap();
    assert_eq!((prepares.phase, seconds(prepares.started).as_deref()), (PodPhase::Pending, Some("30:07Z")));
    assert_eq!(prepares.waiting.as_deref(), Some("PodInitializing"));
    assert_eq!(prepares.bound.as_deref(), Some("node-a.example"));

    let runs = container("main", json!({"running": {"startedAt": "2026-11-21T19:30:09Z"}}));
    let other = container("helper", json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}));
    let one = read(pod(bound(), json!({"phase": "Pending", "containerStatuses": [runs, other]}))).unwrap();
    assert_eq!((one.phase, one.finished), (PodPhase::Running, None));
    assert_eq!(one.waiting.as_deref(), Some("ErrImagePull: not found"));
}

#[test]
fn a_job_of_zero_seconds_has_its_times_and_its_code() {
    let at = "2026-11-21T19:30:09Z";
    let status = json!({"phase": "Succeeded", "containerStatuses": [container("main", ended(0, "Completed", at, at))]});
    let done = read(pod(bound(), status)).unwrap();
    assert_eq!((done.phase, done.exit_code, done.reason), (PodPhase::Succeeded, Some(0), None));
    assert_eq!((seconds(done.started).as_deref(), seconds(done.finished).as_deref()), (Some("30:09Z"), Some("30:09Z")));
}

#[test]
fn the_container_that_failed_first_tells_the_code_and_the_reason() {
    let sidecar = json!({"nodeName": "node-a.example", "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]});
    let (begin, early, late) = ("2026-11-21T19:30:09Z", "2026-11-21T19:30:10Z", "2026-11-21T19:30:20Z");
    let status = json!({
        "phase": "Failed",
        "initContainerStatuses": [container("proxy", ended(143, "Error", begin, early))],
        "containerStatuses": [
            container("follower", ended(1, "Error", begin, late)), container("main", ended(137, "OOMKilled", begin, early)),
            container("good", ended(0, "Completed", begin, late))
        ]
    });
    let failed = read(pod(sidecar, status)).unwrap();
    assert_eq!((failed.exit_code, failed.reason.as_deref()), (Some(137), Some("OOMKilled")));
    assert_eq!(seconds(failed.finished).as_deref(), Some("30:20Z"));
}

#[test]
fn what_happened_to_the_pod_is_said_before_what_its_containers_ended_by() {
    let (begin, end) = ("2026-11-21T19:30:09Z", "2026-11-21T19:30:19Z");
    let killed = json!([container("main", ended(137, "Error", begin, end))]);
    let late = json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline", "containerStatuses": killed});
    let late = read(pod(bound(), late)).unwrap();
    assert_eq!((late.reason.as_deref(), late.exit_code), (Some("DeadlineExceeded"), Some(137)));

    let taken =
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "lastTransitionTime": end}]);
    let taken = read(pod(bound(), json!({"phase": "Failed", "conditions": taken, "containerStatuses": killed}))).unwrap();
    assert_eq!(taken.reason.as_deref(), Some("DeletionByTaintManager"));
}

#[test]
fn a_pod_that_its_kubelet_refused_has_failed_without_ever_having_run() {
    let scheduled = json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T19:30:08Z"}]);
    let status = json!({
        "phase": "Failed", "reason": "OutOfcpu", "startTime": "2026-11-21T19:30:08Z", "conditions": scheduled,
        "message": "Pod was rejected: Node didn't have enough resource: cpu, requested: 5000, used: 950, capacity: 4000"
    });
    let refused = read(pod(bound(), status)).unwrap();
    assert_eq!((refused.phase, refused.reason.as_deref()), (PodPhase::Failed, Some("OutOfcpu")));
    assert_eq!((refused.started, refused.exit_code, refused.waiting), (None, None, None));
    assert_eq!(seconds(refused.finished).as_deref(), Some("30:08Z"));
}

#[test]
fn a_container_that_could_not_be_started_did_not_start_in_1970() {
    let state = ended(128, "StartError", "1970-01-01T00:00:00Z", "2026-11-21T19:30:10Z");
    let failed = read(pod(bound(), json!({"phase": "Failed", "containerStatuses": [container("main", state)]}))).unwrap();
    assert_eq!((failed.started, failed.reason.as_deref(), failed.exit_code), (None, Some("StartError"), Some(128)));
}

#[test]
fn what_it_waits_for_is_said_in_three_hundred_characters_at_most() {
    let message = format!("Back-off pulling image \"registry.example/{}\"", "ä".repeat(400));
    let back_off = container("main", json!({"waiting": {"reason": "ImagePullBackOff", "message": message}}));
    let usual = container("other", json!({"waiting": {"reason": "ContainerCreating"}}));
    let waits = read(pod(bound(), json!({"phase": "Pending", "containerStatuses": [usual.clone(), back_off]}))).unwrap();
    let text = waits.waiting.unwrap();
    assert!(text.starts_with("ImagePullBackOff: Back-off pulling image") && text.ends_with('…'), "{text}");
    assert_eq!(text.chars().count(), 300);

    let unscheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector."}]);
    let waits = read(pod(json!({}), json!({"phase": "Pending", "conditions": unscheduled}))).unwrap();
    assert!(waits.waiting.unwrap().starts_with("Unschedulable: 0/2 nodes are available"));
    let creating = read(pod(bound(), json!({"phase": "Pending", "containerStatuses": [usual]}))).unwrap();
    assert_eq!(creating.waiting.as_deref(), Some("ContainerCreating"));
}

#[test]
fn a_pod_on_its_way_out_says_so() {
    let mut leaving = pod(bound(), json!({"phase": "Running"}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-21T19:31:00Z");
    assert!(read(leaving).unwrap().deleting);
}
