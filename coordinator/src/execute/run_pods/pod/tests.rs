use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::runs::address::Address;
use crate::runs::address::tests::settings;
use crate::runs::run_pod::run_pod;

/// Pod template of batch-job-controller's own example, as it is rendered.
fn template() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "ignored", "namespace": "elsewhere", "generateName": "x-", "labels": {"app": "disks"}},
        "spec": {
            "containers": [{"name": "main", "image": "x", "command": ["sh"], "env": [{"name": "LEVEL", "value": "1"}]}],
            "initContainers": [{"name": "fetch", "image": "x"}]
        }
    })
}

fn create(more: Value) -> CreatePod {
    CreatePod {
        run: "202611211930".to_owned(),
        settings: Arc::new(settings(more)),
        node: "node-a.example".to_owned(),
        attempt: 2,
        name: "disks-job-node-a-202611211930-2".to_owned(),
    }
}

fn made(template: Value, more: Value) -> Result<Value, ManifestError> {
    let pod = create(more);
    let callbacks = Callbacks::new(&Address { host: "fd00::9".to_owned(), port: 8090 }, &pod, "t0k").unwrap();
    let owner = OwnerReference { kind: "Deployment".to_owned(), name: "jobmeter".to_owned(), ..OwnerReference::default() };
    manifest(template, &Forced { pod: &pod, callbacks: &callbacks, owner: Some(&owner) })
}

fn terms(pod: &Value) -> &Value {
    &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

fn this_node() -> Value {
    json!({"key": "metadata.name", "operator": "In", "values": ["node-a.example"]})
}

#[test]
fn it_is_held_for_its_pool_says_whose_it_is_and_may_only_go_to_its_node() {
    let pod = made(template(), json!({})).unwrap();
    let metadata = &pod["metadata"];
    assert_eq!((&metadata["name"], &metadata["namespace"]), (&json!("disks-job-node-a-202611211930-2"), &json!("bench")));
    assert_eq!(metadata.get("generateName"), None);
    assert_eq!(
        metadata["labels"],
        json!({
            "app": "disks", "jobmeter.io/run": "202611211930", "jobmeter.io/pool": "run.disks",
            "batch-job-controller.bakito.github.com/execution-id": "202611211930",
            "batch-job-controller.bakito.github.com/owner": "disks"
        })
    );
    assert_eq!(metadata["ownerReferences"][0]["kind"], "Deployment");
    assert_eq!(pod["spec"]["schedulingGates"], json!([{"name": "jobmeter.io/pool"}]));
    assert_eq!((&pod["spec"]["restartPolicy"], &pod["spec"]["serviceAccountName"]), (&json!("Never"), &json!("default")));
    assert_eq!(terms(&pod), &json!([{"matchFields": [this_node()]}]));
    assert_eq!((pod["spec"].get("schedulerName"), pod["spec"].get("tolerations")), (None, None));
}

#[test]
fn what_is_made_is_read_as_what_was_decided() {
    let mut pod = made(template(), json!({})).unwrap();
    pod["metadata"]["uid"] = json!("u");
    let read = run_pod(&serde_json::from_value::<Pod>(pod).unwrap()).unwrap();
    assert_eq!((read.run.as_str(), read.node.as_str(), read.attempt), ("202611211930", "node-a.example", 2));
    assert_eq!(read.phase, jobmeter_decide::runs::PodPhase::Gated);
}

#[test]
fn scripts_find_their_variables_in_every_container_once() {
    let mut template = template();
    template["spec"]["containers"][0]["env"] = json!([
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, {"name": "LEVEL", "value": "1"},
        {"name": "CALLBACK_SERVICE_RESULT_URL", "value": "http://elsewhere"}
    ]);
    let pod = made(template, json!({})).unwrap();
    let url = |what: &str| format!("http://[fd00::9]:8090/report/node-a.example/202611211930/t0k/{what}");
    let ours = [
        json!({"name": "EXECUTION_ID", "value": "202611211930"}),
        json!({"name": "NAMESPACE", "value": "bench"}),
        json!({"name": "NODE_NAME", "value": "node-a.example"}),
        json!({"name": "CALLBACK_SERVICE_NAME", "value": "fd00::9"}),
        json!({"name": "CALLBACK_SERVICE_PORT", "value": "8090"}),
        json!({"name": "CALLBACK_SERVICE_RESULT_URL", "value": url("result")}),
        json!({"name": "CALLBACK_SERVICE_FILE_URL", "value": url("file")}),
        json!({"name": "CALLBACK_SERVICE_EVENT_URL", "value": url("event")}),
    ];
    assert_eq!(pod["spec"]["initContainers"][0]["env"], json!(ours));
    let main = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    assert_eq!((&main[0], &main[1..]), (&json!({"name": "LEVEL", "value": "1"}), &ours[..]));
}

#[test]
fn every_term_of_the_templates_affinity_gets_the_node_and_one_that_matches_nothing_stays_so() {
    let zone = json!({"key": "zone", "operator": "In", "values": ["a"]});
    let mut with_terms = template();
    with_terms["spec"]["affinity"] = json!({"podAntiAffinity": {}, "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
        {"matchExpressions": [zone]}, {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["b"]}]}, {}
    ]}}});
    let pod = made(with_terms.clone(), json!({})).unwrap();
    let not_b = json!({"key": "metadata.name", "operator": "NotIn", "values": ["b"]});
    let expected = json!([{"matchExpressions": [zone], "matchFields": [this_node()]}, {"matchFields": [not_b, this_node()]}]);
    assert_eq!(terms(&pod), &expected);
    assert!(pod["spec"]["affinity"].get("podAntiAffinity").is_some());

    *with_terms.pointer_mut(&format!("/spec/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms")).unwrap() =
        json!([{"matchExpressions": []}]);
    assert_eq!(terms(&made(with_terms, json!({})).unwrap()), &json!([{}]));
}

#[test]
fn a_node_name_in_the_template_does_not_pass_by_the_pool() {
    let mut named = template();
    named["spec"]["nodeName"] = json!("node-b");
    named["spec"]["serviceAccount"] = json!("root");
    named["metadata"]["annotations"] = json!({"jobmeter.io/pool-slot": "{}", "team": "blue"});
    named["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    let pod = made(named, json!({"service_account": "disks", "image_pull_secrets": ["registry"]})).unwrap();
    assert_eq!((pod["spec"].get("nodeName"), pod["spec"].get("serviceAccount")), (None, None));
    assert_eq!(pod["spec"]["serviceAccountName"], "disks");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["spec"]["schedulingGates"], json!([{"name": "example.com/quota"}, {"name": "jobmeter.io/pool"}]));
    let annotations = json!({"team": "blue", "jobmeter.io/run-task": "{\"node\":\"node-a.example\",\"attempt\":2}"});
    assert_eq!(pod["metadata"]["annotations"], annotations);
}

#[test]
fn a_pod_that_is_bound_by_us_is_nobodys_to_schedule_and_the_pool_still_knows_its_node() {
    let own = made(template(), json!({"placement": "nodeName"})).unwrap();
    assert_eq!((&own["spec"]["schedulerName"], own["spec"].get("tolerations")), (&json!("jobmeter.io/bound"), None));
    assert_eq!(terms(&own), &json!([{"matchFields": [this_node()]}]));
    // A pool that chooses nodes asks for taints, which a pod with a node's name does not mind.
    let shared = made(template(), json!({"placement": "nodeName", "pool": "disk-io", "own_pool_size": null})).unwrap();
    assert_eq!(shared["spec"]["tolerations"], json!([{"operator": "Exists", "effect": "NoSchedule"}]));
}

#[test]
fn cordoned_nodes_are_tolerated_where_they_are_wanted() {
    let mut tolerant = template();
    tolerant["spec"]["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]);
    let pod = made(tolerant, json!({"unschedulable_nodes": true})).unwrap();
    let cordoned = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"});
    assert_eq!(pod["spec"]["tolerations"], json!([{"key": "gpu", "operator": "Exists"}, cordoned]));
}

#[test]
fn a_template_that_is_no_pod_says_where() {
    for (path, value, said) in [
        ("/kind", json!("Job"), "is a Job"),
        ("/spec/containers", json!([]), "spec.containers"),
        ("/spec/containers", json!({"name": "main"}), "spec.containers must be a list"),
        ("/spec/containers/0/env", json!({"A": "1"}), "spec.containers[].env must be a list"),
        ("/metadata/labels", json!(["a"]), "metadata.labels must be a map"),
        ("/spec", json!("x"), "spec must be a map"),
    ] {
        let mut template = template();
        *template.pointer_mut(path).unwrap() = value;
        let err = made(template, json!({})).unwrap_err().to_string();
        assert!(err.contains(said), "{err}");
    }
    assert!(made(json!([]), json!({})).is_err());
    // As YAML has it where a key is left empty.
    let mut empty = template();
    empty["metadata"] = Value::Null;
    empty["spec"]["initContainers"] = Value::Null;
    assert!(made(empty, json!({})).is_ok());
}
