//! Never more pods at once than a pool allows, whoever is killed meanwhile, and every job runs once.
//!
//! What is counted is counted by `jobmeter_tests::pools::Observer`, which reads the API server's events with none of Jobmeter's code.

mod admission;
mod failover;
mod killed;
mod order;
mod places;
mod settings;
mod size;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_tests::Cluster;
use jobmeter_tests::cluster::run;
use serde_json::{Value, json};

use crate::jobs;

const SOON: Duration = Duration::from_secs(90);
const LABEL: &str = "jobmeter.io/pool";

/// A Job of so many pods, all there at once, each of which sleeps so long.
fn gated_job(namespace: &str, name: &str, pool: &str, pods: usize, seconds: f64) -> Value {
    let mut job = jobs::job(namespace, name, json!([jobs::shell("main", &format!("sleep {seconds}"))]));
    job["spec"]["completions"] = json!(pods);
    job["spec"]["parallelism"] = json!(pods);
    job["spec"]["template"]["metadata"] = json!({"labels": {LABEL: pool}});
    job
}

/// As workflow engines make them: a pod without a controller.
fn gated_pod(namespace: &str, name: &str, pool: &str, seconds: f64) -> Value {
    let job = gated_job(namespace, name, pool, 1, seconds);
    let mut spec = job["spec"]["template"]["spec"].clone();
    spec["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: pool}},
        "spec": spec,
    })
}

/// Each Job has as many successes as it has pods, and no failure.
fn each_completed_once(cluster: &Cluster, namespace: &str, jobs: &[Value]) -> Result<()> {
    for job in jobs {
        let name = job["metadata"]["name"].as_str().context("a Job's name")?;
        cluster.kubectl(["wait", "-n", namespace, "--for=condition=complete", "--timeout=60s", &format!("job/{name}")])?;
        let status = cluster.get(&[&format!("job/{name}"), "-n", namespace])?["status"].clone();
        ensure!(status["succeeded"] == job["spec"]["completions"] && status["failed"].is_null(), "{name}: {status}");
    }
    Ok(())
}

/// What a person reads.
fn jobmeter(arguments: &[&str]) -> Result<String> {
    let program = PathBuf::from(std::env::var("JOBMETER_BIN").context("JOBMETER_BIN names the jobmeter binary")?);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(std::env::temp_dir());
    run(command, "")
}
