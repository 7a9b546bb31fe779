//! What people and Prometheus see of it, and what strangers may not do.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_tests::cluster::run;
use jobmeter_tests::installation::agent_pod;
use jobmeter_tests::prometheus::{self, Prometheus};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::json;

use crate::jobs;

const SOON: Duration = Duration::from_secs(90);

fn agent_metrics(cluster: &Cluster, node: &str) -> Result<String> {
    let pod = agent_pod(cluster, node)?;
    cluster.kubectl(["get", "--raw", &format!("/api/v1/namespaces/jobmeter-agent/pods/{pod}:9300/proxy/metrics")])
}

fn run_one(cluster: &Cluster, namespace: &str) -> Result<()> {
    cluster.apply(&jobs::job(namespace, "seen", json!([jobs::shell("main", "sleep 0.5")])))?;
    cluster.closed_records(namespace, 1, SOON).map(drop)
}

#[test]
fn promtool_finds_nothing_to_say_about_either_metrics_page() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("promtool")?;
    let name = namespace.name.as_str();
    run_one(&cluster, name)?;
    for page in [cluster.api("/metrics")?, agent_metrics(&cluster, "node-a")?, agent_metrics(&cluster, "node-b")?] {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]);
        run(promtool, &page)?;
    }
    Ok(())
}

#[test]
fn a_real_prometheus_scrapes_agent_and_coordinator() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("scraped")?;
    let name = namespace.name.as_str();
    let agent = agent_pod(&cluster, "node-a")?;
    let agent = format!("/api/v1/namespaces/jobmeter-agent/pods/{agent}:9300/proxy/metrics");
    let prometheus = Prometheus::start(&[("coordinator", prometheus::COORDINATOR), ("agent", &agent)])?;
    let mut job = jobs::job(name, "seen", json!([jobs::shell("main", "sleep 3")]));
    job["spec"]["template"]["spec"]["affinity"] = jobs::on_nodes(&["node-a"]);
    cluster.apply(&job)?;
    let record = cluster.closed_records(name, 1, SOON)?.remove(0);
    let value = |expression: &str| prometheus.value(expression);
    eventually("both targets to be up", SOON, || Ok((value("sum(up)")? == Some(2.0)).then_some(())))?;
    let cpu = eventually("the pod's CPU in Prometheus", SOON, || {
        value(&format!("jobmeter_pod_cpu_seconds_total{{namespace=\"{name}\"}}"))
    })?;
    let recorded = record.usage.cpu_seconds.context("a CPU figure")?.value;
    ensure!((cpu - recorded).abs() < 0.010, "Prometheus has {cpu} s, the record {recorded} s");
    eventually("the record to be counted", SOON, || {
        value(&format!("jobmeter_records_total{{namespace=\"{name}\",reason=\"Completed\"}}"))
    })?;
    Ok(())
}

#[test]
fn the_kubectl_plugin_lists_and_explains_a_job_through_the_api_server() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("plugin")?;
    let name = namespace.name.as_str();
    run_one(&cluster, name)?;
    let dir = tempfile::tempdir()?;
    let plugin = dir.path().join("kubectl-jobmeter");
    std::os::unix::fs::symlink(std::env::var("JOBMETER_BIN").context("JOBMETER_BIN names the jobmeter binary")?, &plugin)?;
    let jobmeter = |arguments: &[&str]| {
        let mut command = Command::new(&plugin);
        command.args(arguments).current_dir(dir.path());
        run(command, "")
    };
    // The Job's controller says so a moment after its pod has ended.
    eventually("the job to be told as completed", SOON, || {
        let table = jobmeter(&["acct", "-n", name])?;
        ensure!(table.contains("seen") && table.contains("Completed"), "{table}");
        Ok(Some(()))
    })?;
    let advice = jobmeter(&["eff", "-n", name, "seen"])?;
    ensure!(advice.contains("CPU") && advice.contains("emory"), "{advice}");
    let nodes = jobmeter(&["doctor", "--nodes"])?;
    ensure!(cluster.nodes.iter().all(|node| nodes.contains(node.as_str())), "{nodes}");
    Ok(())
}

/// Runs a pod that asks the coordinator something, and gives back what it printed.
fn ask(cluster: &Cluster, namespace: &str, name: &str, script: &str) -> Result<String> {
    let mut pod = jobs::job(namespace, name, json!([jobs::shell("main", script)]));
    pod["spec"]["template"]["spec"]["affinity"] = jobs::on_nodes(&["node-a", "node-b"]);
    cluster.apply(&pod)?;
    eventually("the answer", SOON, || {
        let status = cluster.get(&[&format!("job/{name}"), "-n", namespace])?;
        let ended = status["status"]["succeeded"].as_i64().or(status["status"]["failed"].as_i64());
        Ok(ended.map(drop))
    })?;
    cluster.kubectl(["logs", "-n", namespace, &format!("job/{name}")])
}

#[test]
fn a_pod_without_an_agents_token_cannot_write_records() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("strangers")?;
    let name = namespace.name.as_str();
    let url = "http://jobmeter-coordinator.jobmeter.svc.cluster.local:8080/v1/reports";
    let post = |header: &str| {
        format!("wget -S -O- {header} --post-data '{{\"version\":1,\"node\":\"node-a\",\"reports\":[]}}' {url} 2>&1; true")
    };
    let bare = ask(&cluster, name, "bare", &post(""))?;
    ensure!(bare.contains(" 401 "), "{bare}");
    let forged = ask(&cluster, name, "forged", &post("--header 'Authorization: Bearer not.a.token'"))?;
    ensure!(forged.contains(" 401 "), "{forged}");
    Ok(())
}
