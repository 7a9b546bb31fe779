//! A user of batch-job-controller puts Jobmeter in its place: the same ConfigMap, the same script, the same ports.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::runs::{EXECUTION_LABEL, OWNER_LABEL, Trigger};
use jobmeter_tests::installation::install_with;
use jobmeter_tests::runs::{self, ChosenNodes, OLD_CONFIG, OLD_TEMPLATE, Posted};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::{Value, json};

use super::{LONG, SOON, callback_url, each_node_succeeded_once};

/// Namespace, ConfigMap and Service, as manifests/components/batch-job-controller has them.
const THEIRS: &str = "batch-job-controller";
/// Jobmeter with the component, until it is dropped.
struct InItsPlace<'a>(&'a Cluster);

impl<'a> InItsPlace<'a> {
    fn install(cluster: &'a Cluster) -> Result<Self> {
        let this = Self(cluster);
        cluster.kubectl(["create", "namespace", THEIRS])?;
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": THEIRS, "namespace": THEIRS},
            "data": {"config.yaml": OLD_CONFIG, "pod-template.yaml": OLD_TEMPLATE},
        });
        cluster.apply(&map)?;
        install_with(cluster, THEIRS)?;
        Ok(this)
    }

    /// By the Service, as others reach it.
    fn at(&self, port: u16, path: &str, body: Option<&str>) -> Result<Posted> {
        let service = self.0.get(&["service", THEIRS, "-n", "jobmeter"])?;
        let ip = service["spec"]["clusterIP"].as_str().context("the Service's address")?;
        runs::post(&format!("http://{ip}:{port}{path}"), body)
    }

    fn page(&self, port: u16, path: &str) -> Result<String> {
        let answer = self.at(port, path, None)?;
        ensure!(answer.status == 200, "{port}{path}: {answer:?}");
        Ok(answer.body)
    }
}

impl Drop for InItsPlace<'_> {
    fn drop(&mut self) {
        let service = ["delete", "service", "-n", "jobmeter", THEIRS, "--ignore-not-found"];
        let namespace = ["delete", "namespace", THEIRS, "--ignore-not-found"];
        let back = || {
            install_with(self.0, "rig")?;
            self.0.kubectl(service)?;
            self.0.kubectl(namespace)
        };
        if let Err(error) = back() {
            eprintln!("failed to go back to the rig's installation: {error:#}");
        }
    }
}

#[test]
fn a_configmap_of_batch_job_controller_works_as_it_is() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let _nodes = ChosenNodes::label(&cluster)?;
    let place = InItsPlace::install(&cluster)?;
    let run = runs::next(&cluster, "old-job", &[], SOON)?;
    ensure!(run.trigger == Trigger::Startup && run.namespace == THEIRS, "{run:#?}");
    let run = runs::over(&cluster, &run.id, LONG)?;
    each_node_succeeded_once(&run)?;
    let id = run.run.id.as_str();

    let selector = format!("{OWNER_LABEL}=old-job,{EXECUTION_LABEL}={id}");
    let pods = cluster.get(&["pods", "-n", THEIRS, "-l", &selector])?;
    let names: Vec<_> = pods["items"].as_array().into_iter().flatten().map(|pod| pod["metadata"]["name"].clone()).collect();
    let wanted = ChosenNodes::names().map(|node| Value::from(format!("old-job-job-{node}-{id}")));
    ensure!(names == wanted, "{names:?}");

    answers_as_before(&cluster, &place, id, &run.nodes[0].pod)?;
    let latest = |file: &str| place.page(8080, &format!("/latest/{file}"));
    for node in ChosenNodes::names() {
        let result: Value = serde_json::from_str(&latest(&format!("{node}.json"))?)?;
        ensure!(result["test_a"][0]["labels"]["label_a"] == "AAA", "{result}");
        ensure!(latest(&format!("{node}-report.txt"))?.trim_end() == "content");
        let log = latest(&format!("{node}-container-job.log"))?;
        ensure!(log.starts_with(&format!("run {id} in {THEIRS}\n")), "{log}");
    }
    metrics_have_their_names(&place, id)?;
    for path in ["/healthz", "/readyz"] {
        place.page(9152, path)?;
    }
    Ok(())
}

fn answers_as_before(cluster: &Cluster, place: &InItsPlace<'_>, id: &str, pod: &str) -> Result<()> {
    let unknown = place.at(8090, "/report/node-a/200001010000/result", Some(r#"{"test_a":[{"value":1}]}"#))?;
    ensure!(unknown.status == 406 && unknown.body.trim_end() == "node / execution ID not allowed", "{unknown:?}");
    let stranger = place.at(8090, &format!("/report/node-x/{id}/result"), Some(r#"{"test_a":[{"value":1}]}"#))?;
    ensure!(stranger.status == 406, "{stranger:?}");
    let url = callback_url(cluster, THEIRS, pod, "CALLBACK_SERVICE_RESULT_URL")?;
    ensure!(url.contains(":8090/report/node-a/"), "{}", url.split("/report/").next().unwrap_or_default());
    let empty = runs::post(&url, Some("{}"))?;
    ensure!(empty.status == 400 && empty.body.contains("results must not be empty"), "{empty:?}");
    let outside = runs::post(&format!("{}?name=/../../../x", url.replace("/result", "/file")), Some("x"))?;
    ensure!(outside.status == 400, "{outside:?}");
    Ok(())
}

fn metrics_have_their_names(place: &InItsPlace<'_>, id: &str) -> Result<()> {
    eventually("the metrics at their port", Duration::from_secs(30), || {
        let page = place.page(9153, "/metrics")?;
        let has = |name: &str, labels: &[&str], value: &str| {
            let found = page.lines().any(|line| {
                let (series, have) = line.rsplit_once(' ').unwrap_or_default();
                series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label)) && have == value
            });
            ensure!(found, "no {name} {labels:?} {value} in\n{page}");
            Ok(())
        };
        let run = format!("executionID=\"{id}\"");
        has("old_test_a", &["label_a=\"AAA\"", "label_b=\"\"", "node=\"node-a\"", &run], "1.5")?;
        has("old_test_a", &["label_a=\"AAA\"", "node=\"node-b\"", "executionID=\"latest\""], "1.5")?;
        has("old_processing", &["node=\"node-b\"", &run], "0")?;
        has("old_pods", &[], "2")?;
        has("com_github_bakito_batch_job_controller", &["name=\"old-job\"", "poolSize=\"1\""], "1")?;
        ensure!(page.contains("old_duration{") && page.contains("old_current_execution_id "), "{page}");
        Ok(Some(()))
    })
}
