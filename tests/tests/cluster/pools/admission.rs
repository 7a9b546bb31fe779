//! What the webhook does with pods that name a pool, whoever makes them.

use anyhow::{Context, Result, ensure};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Installation, or_skip};
use serde_json::json;

use super::{SOON, gated_job, gated_pod};

#[test]
fn bare_pods_and_those_of_cron_jobs_are_held_too() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("anybody")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let observer = Observer::start()?;
    let mut step = gated_pod(name, "workflow-step", name, 1.0);
    step["metadata"]["labels"]["workflows.argoproj.io/workflow"] = json!("workflow");
    cluster.apply(&step)?;
    let job = gated_job(name, "unused", name, 2, 1.0);
    cluster.apply(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": name},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": job["spec"]}},
    }))?;
    cluster.kubectl(["create", "job", "-n", name, "tonight", "--from=cronjob/nightly"])?;
    observer.all_succeeded(name, 3, 1, SOON)?;
    cluster.closed_records(name, 3, SOON).map(drop)
}

#[test]
fn a_pod_that_names_its_node_is_refused_with_a_sentence() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("bypass")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let mut pod = gated_pod(name, "bypass", name, 0.1);
    pod["spec"]["nodeName"] = json!("node-a");
    let refusal = cluster.apply(&pod).err().context("a pod past the scheduler was taken")?;
    let refusal = format!("{refusal:#}");
    ensure!(refusal.contains("nodeName") && refusal.contains("pool"), "{refusal}");
    // Without a pool it is nobody's business.
    pod["metadata"]["labels"] = json!({});
    cluster.apply(&pod)
}

#[test]
fn gates_of_others_stay_and_a_place_that_somebody_wrote_is_nothing_worth() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("gates")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 0}}))?;
    let observer = Observer::start()?;
    let mut pod = gated_pod(name, "gates", name, 0.1);
    pod["spec"]["schedulingGates"] = json!([{"name": "example.com/theirs"}]);
    let forged = json!({"pool": name, "epoch": 1, "given": "2026-01-01T00:00:00Z"});
    pod["metadata"]["annotations"] = json!({"jobmeter.io/pool-slot": forged.to_string()});
    cluster.apply(&pod)?;
    let pod = cluster.get(&["pod", "-n", name, "gates"])?;
    ensure!(pod["metadata"]["annotations"]["jobmeter.io/pool-slot"].is_null(), "{pod:#}");
    eventually("the pod to wait", SOON, || Ok((pools::detail(&cluster, name)?.waiting.len() == 1).then_some(())))?;
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    observer.until(name, "our gate to go", SOON, |seen| seen.now() == 1)?;
    let pod = cluster.get(&["pod", "-n", name, "gates"])?;
    ensure!(pod["spec"]["schedulingGates"] == json!([{"name": "example.com/theirs"}]), "{:#}", pod["spec"]);
    let theirs = r#"[{"op": "remove", "path": "/spec/schedulingGates/0"}]"#;
    cluster.kubectl(["patch", "pod", "-n", name, "gates", "--type=json", "-p", theirs])?;
    observer.all_succeeded(name, 1, 1, SOON).map(drop)
}
