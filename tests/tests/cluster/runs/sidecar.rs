//! Images without a shell report by the static client.

use anyhow::{Result, ensure};
use jobmeter_tests::runs::{self, ChosenNodes, Definitions, NAMESPACE};
use jobmeter_tests::{Installation, or_skip};
use serde_json::json;

use super::{SOON, each_node_succeeded_once, jobmeter, report_file};

const NAME: &str = "static";
const IMAGE: &str = "localhost/jobmeter-sidecar:test";

#[test]
fn a_pod_of_images_that_hold_nothing_reports_by_the_static_client() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let _nodes = ChosenNodes::label(&cluster)?;
    let report = |name: &str, arguments: &[&str]| {
        let arguments = [&["report"], arguments].concat();
        json!({
            "name": name, "image": IMAGE, "imagePullPolicy": "Never", "args": arguments,
            "volumeMounts": [{"name": "texts", "mountPath": "/texts"}],
            // What Pod Security calls `restricted`, and little memory.
            "securityContext": {
                "runAsNonRoot": true, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}},
        })
    };
    let mut definition = runs::definition(NAME, 2, "", &json!({"resultRequired": true}));
    definition["podTemplate"]["metadata"] = json!({"annotations": {
        "result": r#"{"done":[{"value":1}]}"#, "report": "of {{ .NodeName }}",
    }});
    let spec = &mut definition["podTemplate"]["spec"];
    let item = |name: &str| json!({"path": name, "fieldRef": {"fieldPath": format!("metadata.annotations['{name}']")}});
    spec["volumes"] = json!([{"name": "texts", "downwardAPI": {"items": [item("result"), item("report")]}}]);
    spec["initContainers"] = json!([
        report("file", &["file", "/texts/report", "--name", "report.txt", "--content-type=text/plain"]),
        report("event", &["event", "--reason=Checked", "--message=%s: 100% full", "sda"]),
    ]);
    spec["containers"] = json!([report("result", &["result", "/texts/result"])]);
    let _definitions = Definitions::set(&cluster, &[definition])?;
    jobmeter(&["runs", "start", NAME])?;
    let id = runs::next(&cluster, NAME, &[], SOON)?.id;
    let run = runs::over(&cluster, &id, SOON)?;
    each_node_succeeded_once(&run)?;
    let events = cluster.get(&["events.events.k8s.io", "-n", NAMESPACE])?;
    for node in &run.nodes {
        ensure!((node.files, node.events) == (1, 1) && node.reported.is_some(), "{node:#?}");
        let text = report_file(&cluster, NAME, &format!("{id}/{}-report.txt", node.node))?;
        ensure!(text == format!("of {}", node.node), "{text:?}");
        let note = "sda: 100% full";
        let is_there = |event: &serde_json::Value| event["regarding"]["name"] == node.pod.as_str() && event["note"] == note;
        ensure!(events["items"].as_array().is_some_and(|events| events.iter().any(is_there)), "{events}");
    }
    Ok(())
}
