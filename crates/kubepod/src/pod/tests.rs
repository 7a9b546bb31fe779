//! Pods as an API server sends them, shortened to what is read.

use jobmeter_protocol::ExitStatus;
use serde_json::{Value, json};

use super::*;

fn mapped(pod: Value) -> ApiPod {
    api_pod(&serde_json::from_value(pod).unwrap()).unwrap()
}

fn job_pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "pi-x7k2p", "namespace": "science", "uid": "8f9c1f0e-5a4e-4a7e-9b7e-111111111111",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"batch.kubernetes.io/job-name": "pi"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "blue"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "1"},
                {"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "2", "controller": true}
            ]
        },
        "spec": {
            "nodeName": "node-1", "restartPolicy": "OnFailure",
            "initContainers": [
                {"name": "fetch", "image": "busybox"},
                {"name": "proxy", "image": "envoy", "restartPolicy": "Always"}
            ],
            "containers": [{
                "name": "main", "image": "perl",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1.5", "memory": "1Gi"}}
            }]
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-20T10:00:01Z"}],
            "initContainerStatuses": [{
                "name": "fetch", "image": "busybox", "imageID": "sha256:aa", "ready": true, "restartCount": 0,
                "containerID": "containerd://f00",
                "state": {"terminated": {
                    "containerID": "containerd://f00", "exitCode": 0, "reason": "Completed",
                    "startedAt": "2026-11-20T10:00:02Z", "finishedAt": "2026-11-20T10:00:03Z"
                }}
            }],
            "containerStatuses": [{
                "name": "main", "image": "perl", "imageID": "sha256:bb", "ready": false, "restartCount": 2,
                "containerID": "containerd://c02",
                "state": {"running": {"startedAt": "2026-11-20T10:00:09Z"}},
                "lastState": {"terminated": {
                    "containerID": "containerd://c01", "exitCode": 137, "reason": "OOMKilled",
                    "startedAt": "2026-11-20T10:00:04Z", "finishedAt": "2026-11-20T10:00:06Z"
                }}
            }]
        }
    })
}

#[test]
fn a_job_pod_is_read_in_full() {
    let pod = mapped(job_pod());
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.node.as_deref()), ("science", "pi-x7k2p", Some("node-1")));
    assert_eq!(pod.owner.as_ref().map(|owner| (owner.kind.as_str(), owner.name.as_str())), Some(("Job", "pi")));
    assert_eq!(pod.restart_policy, RestartPolicy::OnFailure);
    assert_eq!(pod.scheduled.map(|time| time.to_string()).as_deref(), Some("2026-11-20T10:00:01Z"));
    assert_eq!(pod.annotations.keys().collect::<Vec<_>>(), ["team"]);
    let kinds: Vec<_> = pod.containers.iter().map(|container| (container.name.as_str(), container.kind)).collect();
    assert_eq!(kinds, [("fetch", ContainerKind::Init), ("proxy", ContainerKind::Sidecar), ("main", ContainerKind::Main)]);
    let main = &pod.containers[2];
    assert_eq!(main.resources.cpu_request_millicores, Some(100));
    assert_eq!(main.resources.cpu_limit_millicores, Some(1_500));
    assert_eq!(main.resources.memory_limit_bytes, Some(1 << 30));
}

#[test]
fn container_ids_lose_the_runtime_and_earlier_runs_keep_their_attempt() {
    let pod = mapped(job_pod());
    assert_eq!(pod.containers[0].container_id.as_deref(), Some("f00"));
    assert_eq!(pod.containers[0].exit, Some(ExitStatus { code: Some(0), signal: None }));
    let main = &pod.containers[2];
    assert_eq!(main.container_id.as_deref(), Some("c02"));
    assert_eq!(main.finished, None);
    let earlier = &main.earlier[0];
    assert_eq!((earlier.container_id.as_str(), earlier.attempt, earlier.reason.as_deref()), ("c01", 1, Some("OOMKilled")));
}

#[test]
fn the_last_run_of_a_container_in_back_off_is_its_latest_and_not_an_earlier_one() {
    let mut pod = job_pod();
    let status = &mut pod["status"]["containerStatuses"][0];
    status["containerID"] = json!("containerd://c01");
    status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let main = mapped(pod).containers.remove(2);
    assert!(main.earlier.is_empty());
    assert_eq!(main.exit, Some(ExitStatus { code: Some(137), signal: None }));
    assert_eq!(main.reason.as_deref(), Some("OOMKilled"));
}

#[test]
fn a_container_that_never_started_has_no_start_in_1970() {
    let mut pod = job_pod();
    pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {
        "exitCode": 128, "reason": "StartError", "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-11-20T10:00:10Z"
    }});
    let main = mapped(pod).containers.remove(2);
    assert_eq!(main.started, None);
    assert_eq!(main.reason.as_deref(), Some("StartError"));
}

#[test]
fn a_pod_without_spec_or_status_is_pending_and_one_without_uid_is_refused() {
    let pod = mapped(json!({"metadata": {"name": "a", "namespace": "b", "uid": "c"}}));
    assert_eq!((pod.phase, pod.restart_policy), (PodPhase::Pending, RestartPolicy::Always));
    assert_eq!(api_pod(&Pod::default()), Err(MapError::Missing { field: "metadata.uid" }));
}

#[test]
fn an_unreadable_quantity_costs_its_figure_and_not_the_pod() {
    let mut pod = job_pod();
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("many");
    let main = mapped(pod).containers.remove(2);
    assert_eq!(main.resources.cpu_request_millicores, None);
    assert_eq!(main.resources.memory_request_bytes, Some(64 << 20));
}

const HASH: &str = "0123456789abcdef0123456789abcdef";

fn mirror(value: &str, owner: &Value) -> ApiPod {
    mapped(json!({"metadata": {
        "name": "etcd", "namespace": "kube-system", "uid": "c",
        "annotations": {"kubernetes.io/config.mirror": value}, "ownerReferences": [owner]
    }}))
}

fn node() -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": true})
}

#[test]
fn a_static_pod_is_found_by_the_uid_that_its_kubelet_gave_it() {
    assert_eq!(kubelet_uid(&mirror(HASH, &node())), HASH);
}

#[test]
fn a_pod_cannot_take_the_identity_of_another_by_an_annotation() {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "node-1", "uid": "n", "controller": true});
    let other_group = json!({"apiVersion": "example.com/v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": true});
    let no_controller = json!({"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n"});
    for owner in [job, other_group, no_controller] {
        assert_eq!(kubelet_uid(&mirror(HASH, &owner)), "c", "{owner}");
    }
    for value in ["8f9c1f0e-5a4e-4a7e-9b7e-111111111111", "0123abcd", "", "../../0123456789abcdef0123456789a"] {
        assert_eq!(kubelet_uid(&mirror(value, &node())), "c", "{value}");
    }
}

#[test]
fn a_deletion_was_asked_for_its_grace_period_before_the_deletion_timestamp() {
    let mut pod = job_pod();
    pod["metadata"]["deletionTimestamp"] = json!("2026-11-20T20:25:58Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let pod = api_pod(&serde_json::from_value(pod).unwrap()).unwrap();
    assert_eq!(pod.deletion_requested, Some("2026-11-20T20:25:28Z".parse().unwrap()));
}

fn run_pod() -> Value {
    json!({
        "metadata": {
            "name": "disks-job-node-a-202611211930", "namespace": "bench", "uid": "c",
            "labels": {"jobmeter.io/run": "202611211930", "batch-job-controller.bakito.github.com/owner": "disks"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "jobmeter-coordinator", "uid": "d"}]
        },
        "spec": {"restartPolicy": "Never", "containers": []}
    })
}

#[test]
fn a_pod_of_a_node_run_is_accounted_to_its_run_and_not_to_the_coordinator() {
    let owner = mapped(run_pod()).owner.unwrap();
    assert!(crate::is_run(&owner));
    assert_eq!((owner.name.as_str(), owner.uid.as_str()), ("disks-202611211930", "run-202611211930"));
}

#[test]
fn the_labels_of_a_run_take_no_pod_from_who_manages_it() {
    let mut pod = job_pod();
    pod["metadata"]["labels"] = run_pod()["metadata"]["labels"].clone();
    assert_eq!(mapped(pod).owner.unwrap().kind, "Job");
    let mut half = run_pod();
    half["metadata"]["labels"] = json!({"jobmeter.io/run": "202611211930"});
    assert_eq!(mapped(half).owner, None);
}
