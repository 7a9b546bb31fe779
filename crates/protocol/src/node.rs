//! What a node can measure, and how well.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: String,
    pub boot_id: String,
    pub kernel: String,
    pub agent_version: String,
    pub capabilities: Vec<Capability>,
    pub last_heartbeat: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// A stable word: `cgroup_cpu`, `memory_peak`, `realtime_watcher` …
    pub name: String,
    pub state: CapabilityState,
    /// What was found (`cgroup v2, systemd driver`), or what is missing and what it costs.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityState {
    Active,
    Disabled,
    Unsupported,
    Failed,
}
