//! Jobmeter as `kubectl apply -k` installs it, once for all tests of a process.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::eventually;
use crate::{Cluster, coordinator};

#[derive(Debug)]
pub struct Installation;

impl Installation {
    /// Applies `tests/manifests/rig` (the base of `manifests/` with the rig's images) and waits until it is ready.
    pub fn ensure(cluster: &Cluster) -> Result<()> {
        static DONE: OnceLock<Result<(), String>> = OnceLock::new();
        DONE.get_or_init(|| install(cluster).map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
    }
}

fn install(cluster: &Cluster) -> Result<()> {
    install_with(cluster, "rig")
}

/// Applies another of the overlays in `tests/manifests`, and waits until it is ready.
pub fn install_with(cluster: &Cluster, overlay: &str) -> Result<()> {
    let overlay = format!("{}/manifests/{overlay}", env!("CARGO_MANIFEST_DIR"));
    cluster.kubectl(["apply", "-k", &overlay])?;
    coordinator::rolled_out(cluster)?;
    cluster.kubectl(["-n", "jobmeter-agent", "rollout", "status", "daemonset/jobmeter-agent", "--timeout=180s"])?;
    eventually("a heartbeat of every node", Duration::from_secs(60), || {
        let nodes: serde_json::Value = serde_json::from_str(&cluster.api("/v1/nodes")?)?;
        let known = nodes.as_array().map_or(0, Vec::len);
        Ok((known == cluster.nodes.len()).then_some(()))
    })
}

/// The pod of the agent on a node.
pub fn agent_pod(cluster: &Cluster, node: &str) -> Result<String> {
    let pods = cluster.get(&[
        "pods",
        "-n",
        "jobmeter-agent",
        "-l",
        "app.kubernetes.io/component=agent",
        "--field-selector",
        &format!("spec.nodeName={node}"),
    ])?;
    pods["items"][0]["metadata"]["name"].as_str().map(str::to_owned).with_context(|| format!("no agent on {node}"))
}
