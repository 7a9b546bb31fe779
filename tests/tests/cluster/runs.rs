//! Node runs on real nodes: what batch-job-controller's users do, and what must not happen to them.

mod compatible;
mod cron;
mod killed;
mod people;
mod refused;
mod sidecar;
mod size;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::runs::{NodeRunState, RunDetail, RunState};
use jobmeter_tests::Cluster;
use jobmeter_tests::cluster::run;
use jobmeter_tests::runs::ChosenNodes;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(90);
const LONG: Duration = Duration::from_secs(240);

/// What a person types.
fn jobmeter(arguments: &[&str]) -> Result<String> {
    let program = PathBuf::from(std::env::var("JOBMETER_BIN").context("JOBMETER_BIN names the jobmeter binary")?);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(std::env::temp_dir());
    run(command, "")
}

/// Every one of the chosen nodes had one pod, and that one succeeded.
fn each_node_succeeded_once(run: &RunDetail) -> Result<()> {
    let nodes: Vec<_> = run.nodes.iter().map(|node| node.node.as_str()).collect();
    ensure!(nodes == ChosenNodes::names(), "it went to {nodes:?}");
    let well = |node: &_| matches!(node, NodeRunState::Succeeded);
    ensure!(
        run.run.state == RunState::Succeeded && run.nodes.iter().all(|node| well(&node.state) && node.attempt == 0),
        "{run:#?}"
    );
    Ok(())
}

/// Of a run's pod, as it was given to its containers.
fn callback_url(cluster: &Cluster, namespace: &str, pod: &str, variable: &str) -> Result<String> {
    let pod = cluster.get(&["pod", pod, "-n", namespace])?;
    let env = pod["spec"]["containers"][0]["env"].as_array().context("the container has no environment")?;
    let url = env.iter().find(|entry| entry["name"] == variable).and_then(|entry| entry["value"].as_str());
    url.map(str::to_owned).with_context(|| format!("no {variable} in {}", Value::from(env.clone())))
}

/// A report file of a definition, as it is served: `<run>/<file>`.
fn report_file(cluster: &Cluster, definition: &str, path: &str) -> Result<String> {
    cluster.api(&format!("/reports/{definition}/{path}"))
}
