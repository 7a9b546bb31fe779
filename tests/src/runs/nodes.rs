//! The nodes that runs of tests go to: those of this machine, because the virtual machine's have no way to a Service.

use anyhow::Result;
use serde_json::{Value, json};

use crate::Cluster;

const LABEL: &str = "jobmeter-tests/runs";
const NODES: [&str; 2] = ["node-a", "node-b"];

/// Until this is dropped they have the label.
#[derive(Debug)]
pub struct ChosenNodes {
    cluster: Cluster,
}

impl ChosenNodes {
    pub fn label(cluster: &Cluster) -> Result<Self> {
        for node in NODES {
            cluster.kubectl(["label", "node", node, "--overwrite", &format!("{LABEL}=yes")])?;
        }
        Ok(Self { cluster: cluster.clone() })
    }

    pub fn selector() -> Value {
        json!({LABEL: "yes"})
    }

    pub fn names() -> [&'static str; 2] {
        NODES
    }
}

impl Drop for ChosenNodes {
    fn drop(&mut self) {
        for node in NODES {
            if let Err(error) = self.cluster.kubectl(["label", "node", node, &format!("{LABEL}-")]) {
                eprintln!("failed to take the label of {node}: {error:#}");
            }
        }
    }
}
