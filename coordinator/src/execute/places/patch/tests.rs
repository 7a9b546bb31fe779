//! The patches, applied to pods as an API server has them.

use json_patch::Patch;

use super::*;

const UID: &str = "8f9c1f0e-5a4e-4a7e-9b7e-111111111111";

fn slot(nodes: &[&str]) -> PoolSlot {
    PoolSlot {
        pool: "gpu".to_owned(),
        epoch: 7,
        given: "2026-11-20T10:00:05Z".parse().unwrap(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    }
}

fn on(name: &str) -> Restriction {
    Restriction { expressions: vec![], fields: vec![json!({"key": "metadata.name", "operator": "In", "values": [name]})] }
}

/// As a Job's controller makes it, held by two gates.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "pi-x7k2p", "generateName": "pi-", "namespace": "science", "uid": UID, "resourceVersion": "41822",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"batch.kubernetes.io/job-name": "pi", "jobmeter.io/pool": "gpu"},
            "finalizers": ["batch.kubernetes.io/job-tracking"],
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "pi", "uid": "2", "controller": true}]
        },
        "spec": {
            "schedulingGates": [{"name": "example.com/quota"}, {"name": "jobmeter.io/pool"}],
            "containers": [{"name": "main", "image": "perl"}],
            "somethingNewerThanThisCode": {"kept": true}
        },
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}
    })
}

fn apply(object: &Value, operations: &Value) -> Result<Value, String> {
    let patch: Patch = serde_json::from_value(operations.clone()).unwrap();
    let mut after = object.clone();
    json_patch::patch(&mut after, &patch).map_err(|err| err.to_string())?;
    Ok(after)
}

fn reserved(object: &Value, slot: &PoolSlot) -> Value {
    apply(object, &reserve(Kind::Pod, object, UID, slot).unwrap()).unwrap()
}

fn released(object: &Value, restriction: &Restriction) -> Value {
    let slot = slot(&["a"]);
    let object = reserved(object, &slot);
    apply(&object, &release(Kind::Pod, &object, UID, &slot, restriction).unwrap()).unwrap()
}

fn terms(object: &Value) -> &Value {
    &object["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
}

#[test]
fn a_place_is_written_beside_what_is_there_and_takes_nothing_away() {
    let mut annotated = pod();
    annotated["metadata"]["annotations"] = json!({"team": "blue", "a/b~c": "odd"});
    for object in [pod(), annotated] {
        let after = reserved(&object, &slot(&["a"]));
        let written = after["metadata"]["annotations"][SLOT_ANNOTATION].as_str().unwrap();
        assert_eq!(serde_json::from_str::<PoolSlot>(written).unwrap(), slot(&["a"]));
        let mut without = after.clone();
        without["metadata"]["annotations"].as_object_mut().unwrap().remove(SLOT_ANNOTATION);
        if object["metadata"].get("annotations").is_none() {
            without["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        assert_eq!(without, object);
    }
}

#[test]
fn annotations_that_came_in_between_are_not_overwritten() {
    let read = pod();
    let operations = reserve(Kind::Pod, &read, UID, &slot(&[])).unwrap();
    let mut meanwhile = pod();
    meanwhile["metadata"]["annotations"] = json!({"team": "blue"});
    meanwhile["metadata"]["resourceVersion"] = json!("41823");
    assert!(apply(&meanwhile, &operations).is_err());
}

#[test]
fn only_our_gate_is_removed_and_the_others_stay() {
    let after = released(&pod(), &Restriction::default());
    assert_eq!(after["spec"]["schedulingGates"], json!([{"name": "example.com/quota"}]));
    assert_eq!(after["spec"].get("affinity"), None);
    assert_eq!(after["spec"]["somethingNewerThanThisCode"], json!({"kept": true}));
}

#[test]
fn another_pod_of_the_same_name_is_not_touched() {
    assert_eq!(reserve(Kind::Pod, &pod(), "another", &slot(&[])), Err(Not::Another));
    let operations = reserve(Kind::Pod, &pod(), UID, &slot(&[])).unwrap();
    let mut recreated = pod();
    recreated["metadata"]["uid"] = json!("another");
    assert!(apply(&recreated, &operations).is_err());
}

#[test]
fn a_pod_without_the_gate_is_neither_reserved_nor_released() {
    let mut open = pod();
    open["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    assert!(matches!(reserve(Kind::Pod, &open, UID, &slot(&[])), Err(Not::Changed(_))));
    // Nor where the gates moved after they were read.
    let operations = reserve(Kind::Pod, &pod(), UID, &slot(&[])).unwrap();
    let mut moved = pod();
    moved["spec"]["schedulingGates"] = json!([{"name": "jobmeter.io/pool"}]);
    assert!(apply(&moved, &operations).is_err());
}

#[test]
fn a_place_that_is_not_written_or_is_another_one_lets_nobody_go() {
    let given = slot(&["a"]);
    let refused = |object: &Value| release(Kind::Pod, object, UID, &given, &on("a"));
    assert!(matches!(refused(&pod()), Err(Not::Changed(_))));
    assert!(matches!(refused(&reserved(&pod(), &slot(&["b"]))), Err(Not::Changed(_))));
    let object = reserved(&pod(), &given);
    let operations = refused(&object).unwrap();
    assert!(apply(&reserved(&pod(), &slot(&["b"])), &operations).is_err());
}

#[test]
fn the_place_of_a_later_leader_stays() {
    let later = PoolSlot { epoch: 8, ..slot(&[]) };
    let object = reserved(&pod(), &later);
    assert!(matches!(reserve(Kind::Pod, &object, UID, &slot(&[])), Err(Not::Refused(_))));
    // One of an earlier leader that was never released is given anew.
    let earlier = PoolSlot { epoch: 6, ..slot(&["old"]) };
    let after = reserved(&reserved(&pod(), &earlier), &slot(&[]));
    assert_eq!(written(&after), Some(slot(&[])));
}

#[test]
fn nodes_become_a_term_where_there_is_none_whatever_of_the_affinity_is_there() {
    let other = json!({"podAntiAffinity": {"kept": true}});
    let preferred = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}, "podAffinity": {}});
    for affinity in [None, Some(other), Some(preferred)] {
        let mut object = pod();
        if let Some(affinity) = &affinity {
            object["spec"]["affinity"] = affinity.clone();
        }
        let after = released(&object, &on("a"));
        assert_eq!(terms(&after), &json!([{"matchFields": on("a").fields}]));
        for (key, value) in affinity.iter().filter_map(Value::as_object).flatten().filter(|(key, _)| *key != "nodeAffinity") {
            assert_eq!(&after["spec"]["affinity"][key], value);
        }
        if affinity.is_some_and(|affinity| affinity.get("nodeAffinity").is_some()) {
            assert_eq!(after["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"], json!([]));
        }
    }
}

#[test]
fn every_term_gets_the_nodes_as_one_more_thing_to_ask_for() {
    let zone = json!({"key": "zone", "operator": "In", "values": ["a", "b"]});
    let name = json!({"key": "metadata.name", "operator": "NotIn", "values": ["n9"]});
    let mut object = pod();
    object["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] =
        json!([{"matchExpressions": [zone]}, {"matchFields": [name], "newer": 1}, {}]);
    let hosts = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1", "n2"]});
    let after = released(&object, &Restriction { expressions: vec![hosts.clone()], fields: vec![] });
    let expected = json!([
        {"matchExpressions": [zone, hosts]},
        {"matchFields": [name], "newer": 1, "matchExpressions": [hosts]},
        // It matches no node, and would match one with something to ask for.
        {}
    ]);
    assert_eq!(terms(&after), &expected);
}

#[test]
fn a_suspended_job_is_resumed_and_is_not_ours_any_more() {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "pi", "namespace": "science", "uid": UID, "resourceVersion": "7",
            "labels": {"jobmeter.io/pool": "gpu"}, "annotations": {"jobmeter.io/pool-suspended": "true"}
        },
        "spec": {"suspend": true, "parallelism": 2, "template": {"spec": {"containers": []}}}
    });
    let object = apply(&job, &reserve(Kind::Job, &job, UID, &slot(&["a"])).unwrap()).unwrap();
    let operations = release(Kind::Job, &object, UID, &slot(&["a"]), &on("a")).unwrap();
    let after = apply(&object, &operations).unwrap();
    assert_eq!(after["spec"]["suspend"], json!(false));
    assert_eq!(after["metadata"]["annotations"].get(SUSPENDED_ANNOTATION), None);
    let template = &after["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"];
    assert_eq!(template, &json!([{"matchFields": on("a").fields}]));
    let mut by_its_owner = job;
    by_its_owner["metadata"]["annotations"] = json!({});
    assert!(matches!(reserve(Kind::Job, &by_its_owner, UID, &slot(&[])), Err(Not::Changed(_))));
    // It was resumed by somebody else.
    let mut running = object;
    running["spec"]["suspend"] = json!(false);
    assert!(apply(&running, &operations).is_err());
}
