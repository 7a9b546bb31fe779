//! What the cluster says: which job pods there are, whose they are, and when they are gone.
//!
//! Inputs: a [`PodSource`]. Outputs: changes for the store, and the pods of each node that are jobs by a chain of owners
//! that their agent cannot see. Owner: one task, [`task::run`]; the watches only feed it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jobmeter_decide::job_view::JobObject;
use jobmeter_protocol::{ApiPod, OwnerRef};
use tokio::sync::{mpsc, watch};

pub(crate) mod job_object;
pub(crate) mod kube;
pub(crate) mod local;
pub(crate) mod owners;
pub(crate) mod parents;
pub(crate) mod state;
pub(crate) mod task;

/// Where pods come from.
pub enum PodSource {
    Kube(::kube::Client),
    /// The local executor. What it has not told of is not there.
    Local(mpsc::Receiver<LocalEvent>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum LocalEvent {
    /// `owners` from the direct one to the top; empty for a pod of its own.
    Applied {
        pod: ApiPod,
        owners: Vec<OwnerRef>,
    },
    Gone {
        pod_uid: String,
    },
    Job(JobObject),
    JobGone {
        uid: String,
    },
}

/// News of the cluster, as the task takes it. `namespace` is that of the list: all where absent. `present` are the UIDs of
/// all pods of the list, also of those that are no jobs.
#[derive(Debug)]
pub(crate) enum Event {
    PodsListed {
        namespace: Option<String>,
        pods: Vec<Seen>,
        present: HashSet<String>,
    },
    PodApplied(Seen),
    /// With its last state, where the source has it.
    PodGone {
        uid: String,
        last: Option<Seen>,
    },
    JobsListed {
        namespace: Option<String>,
        jobs: Vec<JobObject>,
    },
    JobApplied(JobObject),
    JobGone {
        uid: String,
        last: Option<JobObject>,
    },
}

/// A pod that may be a job, with its chain of owners where the source knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) pod: Box<ApiPod>,
    pub(crate) owners: Option<Vec<OwnerRef>>,
}

/// Node → pods of it that are jobs although their agent cannot tell.
pub(crate) type Meter = Arc<BTreeMap<String, BTreeSet<String>>>;

/// Cheap to clone; what it shows is never more than one event behind.
#[derive(Clone)]
pub struct WorldView {
    meter: watch::Receiver<Meter>,
    live: watch::Receiver<usize>,
    undecided: watch::Receiver<Arc<BTreeSet<String>>>,
    synced: watch::Receiver<bool>,
}

impl WorldView {
    pub fn meter(&self, node: &str) -> Vec<String> {
        self.meter.borrow().get(node).into_iter().flatten().cloned().collect()
    }

    /// All lists were received and stored.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Whether the pod is a job is still to be found out, by its owners.
    pub fn is_undecided(&self, pod_uid: &str) -> bool {
        self.undecided.borrow().contains(pod_uid)
    }

    /// Job pods that the cluster has now, ended ones included until they are deleted.
    pub fn pods(&self) -> usize {
        *self.live.borrow()
    }
}
