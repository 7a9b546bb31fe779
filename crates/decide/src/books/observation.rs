//! What can be observed of a pod. The agent maps what its watcher, its API watch, its sampler and its uplink say to these.

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, ContainerExit, ProcessEvidence, Reading, SegmentId};

/// Whose cgroup tree a pod was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The first cgroup in a pod is its sandbox.
    Kubelet,
    /// Our own: every cgroup in a pod is a container of the job.
    Local,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    // The kernel, by the watcher.
    Appeared {
        segment: SegmentId,
        at: Timestamp,
        tree: Tree,
    },
    ContainerAppeared {
        container_id: String,
        /// 0 for the first cgroup made in this pod.
        order: u32,
        /// `None`: it was there before.
        at: Option<Timestamp>,
    },
    ContainerEnded {
        container_id: String,
        at: Timestamp,
        container: Option<Box<Reading>>,
        pod: Option<Box<Reading>>,
        /// It was over when somebody looked; when it ended is not known.
        late: bool,
    },
    Read(Box<Reading>),
    Gone {
        segment: SegmentId,
        reading: Option<Box<Reading>>,
        at: Timestamp,
    },
    /// Somebody looked at the pod's cgroup and at what is in it right now.
    Looked {
        segment: SegmentId,
        tree: Tree,
        pod: Option<Box<Reading>>,
        /// Those that have a cgroup, with its last reading where no process is left in it.
        containers: Vec<(String, Option<Box<Reading>>)>,
        at: Timestamp,
    },
    /// Somebody looked, and the pod has no cgroup.
    NotThere,
    Malformed {
        path: String,
        why: String,
    },

    // The API server, or the local executor in its place.
    Api(Box<ApiPod>),
    ApiGone,
    Started {
        container_id: String,
    },
    Exited(Box<ContainerExit>),
    /// The executor will remove the pod: whatever was read until now is all.
    FinalAsked,
    /// From the name of the pod's log directory; `None` where there is none.
    Identified(Option<Identity>),

    // The sampler.
    Sampled(Box<Sample>),

    // The coordinator.
    Wanted,
    Meter,
    Acked {
        revision: u64,
        verdict: Verdict,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub namespace: String,
    pub pod: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable at the coordinator, now or before.
    Kept,
    Rejected,
}

/// One look at a live pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    /// How many samples of this pod this agent has taken, this one included.
    pub count: u64,
    pub cpu_ns: Option<u64>,
    /// Page cache included.
    pub memory_bytes: Option<u64>,
    pub anon_shmem_bytes: Option<u64>,
    /// Anon + shmem of each container that was looked at.
    pub containers: Vec<(String, u64)>,
    pub processes: Option<ProcessScan>,
    /// All counters of the pod; now and then.
    pub reading: Option<Box<Reading>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProcessScan {
    /// How many there were.
    pub count: u32,
    pub most_expensive: Vec<ProcessEvidence>,
}
