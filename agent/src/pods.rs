//! What the agent hears of pods from outside the kernel: from the API server in a cluster, from the executor on one machine.

pub mod cluster;

use jobmeter_protocol::{ApiPod, ContainerExit};

// Moved once, from a source into the books; a box would only cost its maker a line.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum PodEvent {
    /// All pods of this node: what is not among them is gone.
    Resynced(Vec<ApiPod>),
    Applied(ApiPod),
    Gone {
        pod_uid: String,
    },
    /// A local container without a cgroup runs: this is its first process.
    Started {
        pod_uid: String,
        container_id: String,
        pid: i32,
    },
    /// A local container was waited for.
    Exited(ContainerExit),
}
