//! Pods, Jobs and nodes as an API server has them.

use serde_json::{Value, json};

use super::*;

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "pi-x7k2p", "namespace": "science", "uid": "8f9c1f0e", "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"jobmeter.io/pool": "gpu"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "2", "controller": true}]
        },
        "spec": {
            "priority": 1000, "priorityClassName": "high", "schedulingGates": [{"name": "x"}, {"name": "jobmeter.io/pool"}],
            "nodeSelector": {"accelerator": "a100"}, "containers": []
        },
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}
    })
}

fn member(pod: Value) -> Member {
    of_pod(&serde_json::from_value(pod).unwrap(), &mut Shared::default()).unwrap()
}

fn job(spec: Value, status: Value) -> Job {
    let meta = json!({"name": "pi", "namespace": "science", "uid": "2", "creationTimestamp": "2026-11-20T10:00:00Z",
        "labels": {"jobmeter.io/pool": "gpu"}, "annotations": {"jobmeter.io/pool-suspended": "true"}});
    serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap()
}

#[test]
fn a_gated_pod_waits_with_its_priority_and_what_it_asks_for() {
    let member = member(pod());
    assert_eq!((&*member.pool, member.priority, member.slots, member.gated), ("gpu", 1000, 1, true));
    assert_eq!(member.created, "2026-11-20T10:00:00Z".parse().unwrap());
    assert_eq!(member.requirements.node_selector["accelerator"], "a100");
    assert!(!member.ended && !member.deleting && member.slot.is_none() && member.scheduled.is_none());
}

#[test]
fn what_the_scheduler_says_of_a_pod_that_fits_nowhere_is_kept() {
    let mut stuck = pod();
    stuck["spec"]["schedulingGates"] = json!([]);
    assert_eq!(member(stuck.clone()).unschedulable, None, "that it was gated is no news");
    let said = "0/2 nodes are available: 2 Insufficient cpu.";
    stuck["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]);
    assert_eq!(member(stuck.clone()).unschedulable.as_deref(), Some(said));
    stuck["status"]["conditions"][0]["message"] = json!("ä".repeat(400));
    assert_eq!(member(stuck).unschedulable.map(|why| why.len()), Some(300));
}

#[test]
fn a_pod_is_bound_since_its_condition_says_so_and_ends_with_its_phase() {
    let mut running = pod();
    running["spec"]["schedulingGates"] = json!([]);
    running["spec"]["nodeName"] = json!("node-1");
    running["metadata"]["deletionTimestamp"] = json!("2026-11-20T11:00:00Z");
    running["status"] = json!({"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T10:00:09Z"},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-20T10:00:01Z"}
    ]});
    let bound = member(running.clone());
    assert_eq!((bound.gated, bound.node.as_deref(), bound.deleting), (false, Some("node-1"), true));
    assert_eq!(bound.scheduled, Some("2026-11-20T10:00:01Z".parse().unwrap()));
    for (phase, ended) in [("Running", false), ("Unknown", false), ("Succeeded", true), ("Failed", true)] {
        running["status"]["phase"] = json!(phase);
        assert_eq!(member(running.clone()).ended, ended, "{phase}");
    }
}

#[test]
fn only_a_place_that_can_be_read_is_one() {
    let place = r#"{"pool":"gpu","epoch":3,"given":"2026-11-20T10:00:02Z","nodes":["a"]}"#;
    for (text, is_place) in [(place, true), ("", false), ("yes", false), (r#"{"pool":"gpu"}"#, false)] {
        let mut annotated = pod();
        annotated["metadata"]["annotations"] = json!({SLOT_ANNOTATION: text});
        assert_eq!(member(annotated).slot.is_some(), is_place, "{text}");
    }
}

#[test]
fn a_pod_whose_label_was_removed_is_still_found() {
    let mut bare = pod();
    bare["metadata"]["labels"] = json!({});
    assert_eq!(&*member(bare.clone()).pool, "");
    bare["metadata"]["annotations"] = json!({SLOT_ANNOTATION: r#"{"pool":"gpu","epoch":3,"given":"2026-11-20T10:00:02Z"}"#});
    assert_eq!(&*member(bare).pool, "gpu");
}

#[test]
fn a_job_takes_as_many_places_as_its_pods_run_at_once() {
    for (spec, slots) in [
        (json!({}), 1),
        (json!({"parallelism": 4}), 4),
        (json!({"parallelism": 4, "completions": 3}), 3),
        (json!({"parallelism": 4, "completions": 30}), 4),
    ] {
        let mut spec = spec;
        spec["template"] = json!({});
        spec["suspend"] = json!(true);
        let job = job(spec, json!({}));
        let member = of_job(&job, &mut Shared::default()).unwrap();
        assert_eq!((member.slots, member.gated, rests(&job)), (slots, true, false));
    }
}

#[test]
fn a_job_that_its_owner_suspended_waits_for_its_owner() {
    let mut job = job(json!({"template": {}, "suspend": true}), json!({}));
    job.metadata.annotations = None;
    assert!(rests(&job));
    assert!(!of_job(&job, &mut Shared::default()).unwrap().gated);
}

#[test]
fn a_job_ends_with_its_condition() {
    for (condition, ended) in [("Suspended", false), ("FailureTarget", false), ("Complete", true), ("Failed", true)] {
        let job = job(json!({"template": {}}), json!({"conditions": [{"type": condition, "status": "True"}]}));
        assert_eq!(of_job(&job, &mut Shared::default()).unwrap().ended, ended, "{condition}");
    }
}

#[test]
fn a_node_is_read_with_its_taints_and_whether_it_takes_pods() {
    let node = json!({
        "metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1"}},
        "spec": {"unschedulable": true, "taints": [
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
            {"key": "gpu", "value": "yes", "effect": "NoExecute"},
            {"key": "odd", "effect": "SomethingNew"}
        ]},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}
    });
    let facts = of_node(&serde_json::from_value(node).unwrap()).unwrap();
    assert_eq!((&*facts.name, facts.ready, facts.unschedulable, facts.taints.len()), ("node-1", true, true, 2));
    let silent = json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    assert!(!of_node(&serde_json::from_value(silent).unwrap()).unwrap().ready);
}
