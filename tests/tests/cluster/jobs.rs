//! Manifests of the jobs that the tests run.

use serde_json::{Value, json};

/// A Job whose pods run on the two nodes of this machine, where the tests can read the kernel's files themselves.
pub(crate) fn job(namespace: &str, name: &str, containers: Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "affinity": on_nodes(&["node-a", "node-b"]),
            "containers": containers,
        }}},
    })
}

pub(crate) fn on_nodes(names: &[&str]) -> Value {
    json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": names}]}
    ]}}})
}

pub(crate) fn container(name: &str, command: &[&str]) -> Value {
    json!({"name": name, "image": "localhost/jobbox:1", "imagePullPolicy": "Never", "command": command})
}

pub(crate) fn shell(name: &str, script: &str) -> Value {
    container(name, &["/bin/sh", "-c", script])
}
