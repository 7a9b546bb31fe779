use proptest::prelude::*;

use super::*;

/// As an API server 1.36 sends it.
fn request(resource: &str, kind: &str, group: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "0c9a8d74-9cb7-44dd-b98e-09fd62def2f4",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "requestKind": {"group": group, "version": "v1", "kind": kind},
            "requestResource": {"group": group, "version": "v1", "resource": resource},
            "namespace": "bench",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:job-controller",
                "uid": "c5b2a1e8-2bd0-4b5c-8e26-7a1e2c9c9d52",
                "groups": ["system:serviceaccounts", "system:authenticated"]
            },
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

/// What the Job controller creates, with defaults, as the API server shows it to webhooks.
fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "generateName": "sort-", "namespace": "bench", "creationTimestamp": null,
            "labels": {"batch.kubernetes.io/job-name": "sort", "jobmeter.io/pool": "gpu"},
            "finalizers": ["batch.kubernetes.io/job-tracking"],
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "sort", "uid": "1c2e9f4f-4b3d-4b38-9a4e-0f6f2b4f6d11",
                "controller": true, "blockOwnerDeletion": true
            }],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-21T17:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:generateName": {}}}}]
        },
        "spec": {
            "volumes": [{"name": "kube-api-access-x", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}}],
            "containers": [{"name": "main", "image": "debian", "resources": {}, "imagePullPolicy": "Always"}],
            "restartPolicy": "Never", "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": true
        },
        "status": {}
    })
}

fn job() -> Value {
    json!({
        "kind": "Job", "apiVersion": "batch/v1",
        "metadata": {"name": "sort", "namespace": "bench", "creationTimestamp": null},
        "spec": {
            "parallelism": 3, "completions": 6, "suspend": false,
            "template": {
                "metadata": {"creationTimestamp": null, "labels": {"jobmeter.io/pool": "gpu"}},
                "spec": {"containers": [{"name": "main", "image": "debian"}], "restartPolicy": "Never"}
            }
        },
        "status": {}
    })
}

struct Answered {
    answer: &'static str,
    review: Value,
    /// The object after the patch.
    after: Value,
}

impl Answered {
    fn message(&self) -> &str {
        self.review["response"]["status"]["message"].as_str().unwrap_or_default()
    }

    fn warning(&self) -> &str {
        self.review["response"]["warnings"][0].as_str().unwrap_or_default()
    }
}

fn ask(request: &Value, gating: Gating) -> Answered {
    let reviewed = review(request.to_string().as_bytes(), gating).unwrap();
    let review = reviewed.review;
    let mut after = request["request"]["object"].clone();
    if let Some(patch) = review["response"]["patch"].as_str() {
        assert_eq!(review["response"]["patchType"], "JSONPatch");
        let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut after, &patch).unwrap();
    }
    Answered { answer: reviewed.answer, review, after }
}

fn create_pod(pod: &Value, gating: Gating) -> Answered {
    ask(&request("pods", "Pod", "", pod), gating)
}

fn create_job(job: &Value, gating: Gating) -> Answered {
    ask(&request("jobs", "Job", "batch", job), gating)
}

fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[name.replace("~1", "/")] = value;
    object
}

#[test]
fn a_pod_that_names_a_pool_is_gated_and_nothing_else_of_it_changes() {
    let answered = create_pod(&pod(), Gating::SchedulingGates);
    assert_eq!(answered.after, with(pod(), "/spec/schedulingGates", json!([{"name": "jobmeter.io/pool"}])));
    assert_eq!(answered.answer, "gated");
    let review = &answered.review;
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(review["response"]["uid"], "0c9a8d74-9cb7-44dd-b98e-09fd62def2f4");
    assert_eq!(review["response"]["allowed"], true);
}

#[test]
fn the_gates_of_others_stay_before_ours() {
    let pod = with(pod(), "/spec/schedulingGates", json!([{"name": "kueue.x-k8s.io/admission"}]));
    let answered = create_pod(&pod, Gating::SchedulingGates);
    assert_eq!(
        answered.after["spec"]["schedulingGates"],
        json!([{"name": "kueue.x-k8s.io/admission"}, {"name": "jobmeter.io/pool"}])
    );
}

#[test]
fn a_pod_that_brings_the_gate_passes_without_a_patch() {
    let pod = with(pod(), "/spec/schedulingGates", json!([{"name": "jobmeter.io/pool"}]));
    let answered = create_pod(&pod, Gating::SchedulingGates);
    assert_eq!(answered.answer, "unchanged");
    assert_eq!(answered.review["response"]["patch"], Value::Null);
    assert_eq!(answered.review["response"]["patchType"], Value::Null);
}

#[test]
fn nobody_gives_himself_a_place() {
    let slot = json!({"jobmeter.io/pool-slot": "{\"pool\":\"gpu\"}", "note": "kept"});
    let forged = with(pod(), "/metadata/annotations", slot);
    let answered = create_pod(&forged, Gating::SchedulingGates);
    assert_eq!(answered.after["metadata"]["annotations"], json!({"note": "kept"}));
    assert_eq!(answered.after["spec"]["schedulingGates"], json!([{"name": "jobmeter.io/pool"}]));
    let gated = with(forged, "/spec/schedulingGates", json!([{"name": "jobmeter.io/pool"}]));
    let answered = create_pod(&gated, Gating::SchedulingGates);
    assert_eq!((answered.answer, &answered.after["metadata"]["annotations"]), ("stripped", &json!({"note": "kept"})));
}

#[test]
fn a_pod_that_names_its_node_is_refused_with_what_to_do_instead() {
    let answered = create_pod(&with(pod(), "/spec/nodeName", json!("node-a")), Gating::SchedulingGates);
    assert_eq!(answered.review["response"]["allowed"], false);
    assert_eq!(answered.review["response"]["status"]["code"], 422);
    assert!(answered.message().contains("spec.nodeName: node-a"), "{}", answered.message());
    assert!(answered.message().contains("spec.nodeSelector `kubernetes.io/hostname: node-a`"), "{}", answered.message());
    // The kubelet runs a static pod whatever is said to its image in the API.
    let mirror = with(pod(), "/metadata/annotations", json!({"kubernetes.io/config.mirror": "abc"}));
    assert_eq!(create_pod(&with(mirror, "/spec/nodeName", json!("node-a")), Gating::SchedulingGates).answer, "unchanged");
}

#[test]
fn a_pool_without_a_name_is_refused_and_one_that_nobody_knows_is_held() {
    let empty = with(pod(), "/metadata/labels/jobmeter.io~1pool", json!(""));
    assert!(create_pod(&empty, Gating::SchedulingGates).message().contains("is empty: write the name of a pool"));
    let unknown = with(pod(), "/metadata/labels/jobmeter.io~1pool", json!("nobody-knows"));
    assert_eq!(create_pod(&unknown, Gating::SchedulingGates).answer, "gated");
}

#[test]
fn what_is_not_ours_passes() {
    let unlabelled = with(pod(), "/metadata/labels", json!({"app": "web"}));
    assert_eq!(create_pod(&unlabelled, Gating::SchedulingGates).answer, "unchanged");
    let mut update = request("pods", "Pod", "", &pod());
    update["request"]["operation"] = json!("UPDATE");
    assert_eq!(ask(&update, Gating::SchedulingGates).answer, "unchanged");
    let mut binding = request("pods", "Binding", "", &json!({"kind": "Binding", "apiVersion": "v1", "metadata": {}}));
    binding["request"]["subResource"] = json!("binding");
    assert_eq!(ask(&binding, Gating::SchedulingGates).answer, "unchanged");
    let service = request("services", "Service", "", &json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "x"}}));
    assert_eq!(ask(&service, Gating::SchedulingGates).review["response"]["allowed"], true);
}

#[test]
fn a_dry_run_is_answered_like_any_other() {
    let mut dry = request("pods", "Pod", "", &pod());
    dry["request"]["dryRun"] = json!(true);
    assert_eq!(ask(&dry, Gating::SchedulingGates).answer, "gated");
}

#[test]
fn what_is_no_review_is_malformed_and_says_where() {
    let refused = |request: Value| review(request.to_string().as_bytes(), Gating::SchedulingGates).unwrap_err().to_string();
    assert!(refused(json!({"kind": "Pod"})).contains("not an AdmissionReview"));
    assert_eq!(
        refused(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"})),
        "the AdmissionReview has no request"
    );
    assert!(refused(request("pods", "Pod", "", &Value::Null)).contains("has no object to create"));
    assert!(refused(request("pods", "Pod", "", &with(pod(), "/spec", json!([])))).contains("spec is not an object"));
    let gates = with(pod(), "/spec/schedulingGates", json!("jobmeter.io/pool"));
    assert!(refused(request("pods", "Pod", "", &gates)).contains("spec.schedulingGates is not a list"));
    assert!(review(b"", Gating::Suspend).is_err());
}

#[test]
fn where_there_are_no_gates_a_job_is_suspended_and_marked_as_ours() {
    let answered = create_job(&job(), Gating::Suspend);
    let expected = with(job(), "/spec/suspend", json!(true));
    assert_eq!(answered.after, with(expected, "/metadata/annotations", json!({"jobmeter.io/pool-suspended": "true"})));
    let own = with(job(), "/metadata/labels", json!({"jobmeter.io/pool": "gpu"}));
    let own = with(own, "/spec/template/metadata", json!({}));
    let own = with(own, "/metadata/annotations", json!({"note": "kept", "jobmeter.io/pool-slot": "{}"}));
    let answered = create_job(&own, Gating::Suspend);
    assert_eq!(answered.after["metadata"]["annotations"], json!({"note": "kept", "jobmeter.io/pool-suspended": "true"}));
    assert_eq!((answered.answer, &answered.after["spec"]["suspend"]), ("suspended", &json!(true)));
}

#[test]
fn a_job_that_its_creator_suspended_is_not_ours_to_resume() {
    let suspended = with(job(), "/spec/suspend", json!(true));
    let answered = create_job(&suspended, Gating::Suspend);
    assert_eq!((answered.answer, &answered.after), ("unchanged", &suspended));
    let marked = with(suspended, "/metadata/annotations", json!({"jobmeter.io/pool-suspended": "true"}));
    assert_eq!(create_job(&marked, Gating::Suspend).after, marked);
}

#[test]
fn where_there_are_gates_jobs_are_left_alone_and_a_forgotten_label_is_said() {
    let answered = create_job(&job(), Gating::SchedulingGates);
    assert_eq!((answered.answer, &answered.after, answered.warning()), ("unchanged", &job(), ""));
    let forgotten = with(job(), "/metadata/labels", json!({"jobmeter.io/pool": "gpu"}));
    let forgotten = with(forgotten, "/spec/template/metadata", json!({}));
    let answered = create_job(&forgotten, Gating::SchedulingGates);
    assert_eq!((answered.answer, &answered.after), ("unchanged", &forgotten));
    assert!(answered.warning().contains("not on its pod template (spec.template.metadata.labels)"), "{}", answered.warning());
}

#[test]
fn where_there_are_no_gates_a_pod_of_no_job_is_told_that_it_is_not_held() {
    assert_eq!(create_pod(&pod(), Gating::Suspend).warning(), "");
    let bare = with(pod(), "/metadata/ownerReferences", Value::Null);
    let answered = create_pod(&bare, Gating::Suspend);
    assert_eq!((answered.answer, &answered.after), ("unchanged", &bare));
    assert!(answered.warning().contains("starts without asking the pool `gpu`"), "{}", answered.warning());
}

/// Without what the patch is there to change.
fn rest(mut object: Value) -> Value {
    if let Some(gates) = object["spec"]["schedulingGates"].as_array_mut() {
        gates.retain(|gate| gate["name"] != POOL_GATE);
    }
    if object["spec"]["schedulingGates"].as_array().is_none_or(Vec::is_empty) {
        object["spec"].as_object_mut().unwrap().remove("schedulingGates");
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(SLOT_ANNOTATION);
        annotations.remove(SUSPENDED_ANNOTATION);
    }
    if object["metadata"]["annotations"].as_object().is_none_or(serde_json::Map::is_empty) {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    object["spec"].as_object_mut().unwrap().remove("suspend");
    object
}

fn words() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just(SLOT_ANNOTATION.to_owned()),
        Just(SUSPENDED_ANNOTATION.to_owned()),
        Just("a~b/c".to_owned()),
        "[a-z]{1,3}",
        "[a-z]{1,3}/[a-z~]{1,3}"
    ];
    prop_oneof![Just(Value::Null), proptest::collection::btree_map(key, "[ -~]{0,8}", 0..4).prop_map(|words| json!(words)),]
}

fn gates() -> impl Strategy<Value = Value> {
    let gate = prop_oneof![Just(POOL_GATE.to_owned()), "[a-z]{1,3}/[a-z]{1,3}"].prop_map(|name| json!({ "name": name }));
    prop_oneof![Just(Value::Null), proptest::collection::vec(gate, 0..4).prop_map(Value::Array)]
}

proptest! {
    #[test]
    fn of_any_object_only_the_gate_the_place_and_the_suspension_change_and_a_second_time_nothing_does(
        annotations in words(),
        gates in gates(),
        suspend in prop_oneof![Just(Value::Null), Just(json!(true)), Just(json!(false))],
        is_job in any::<bool>(),
        old in any::<bool>(),
    ) {
        let gating = if old { Gating::Suspend } else { Gating::SchedulingGates };
        let (object, create): (Value, fn(&Value, Gating) -> Answered) = if is_job {
            (with(job(), "/spec/suspend", suspend), create_job)
        } else {
            (with(pod(), "/spec/schedulingGates", gates), create_pod)
        };
        let object = with(object, "/metadata/annotations", annotations);
        let once = create(&object, gating);
        prop_assert_eq!(rest(once.after.clone()), rest(object.clone()));
        let twice = create(&once.after, gating);
        prop_assert_eq!(twice.answer, "unchanged");
        prop_assert_eq!(&twice.after, &once.after);
        if !is_job && !old {
            let held = once.after["spec"]["schedulingGates"].as_array().unwrap().iter().filter(|gate| gate["name"] == POOL_GATE);
            prop_assert!(held.count() >= 1);
        }
        if !is_job || old {
            prop_assert!(once.after["metadata"]["annotations"].get(SLOT_ANNOTATION).is_none());
        }
        if is_job && old {
            prop_assert_eq!(&once.after["spec"]["suspend"], &json!(true));
        }
    }
}
