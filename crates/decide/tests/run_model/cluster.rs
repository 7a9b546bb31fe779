//! The API server: pods of runs, nodes, and what a watch tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_decide::pool::NodeFacts;
use jobmeter_decide::runs::{CreatePod, Observation, PodPhase, RunPod};

pub(crate) fn time(milliseconds: u64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + milliseconds as i64).unwrap()
}

#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) pods: BTreeMap<String, RunPod>,
    pub(crate) nodes: BTreeMap<String, NodeFacts>,
    /// Everything that ever happened to pods, oldest first.
    pub(crate) history: Vec<Observation>,
    pub(crate) node_history: Vec<Observation>,
    made: u64,
}

impl Cluster {
    /// A pod of that name is there already, or is made now.
    pub(crate) fn create(&mut self, pod: &CreatePod, now: u64) -> (RunPod, bool) {
        let namespace = &pod.settings.namespace;
        if let Some(there) = self.pods.values().find(|there| there.name == pod.name && there.namespace == *namespace) {
            return (there.clone(), false);
        }
        self.made += 1;
        let made = RunPod {
            run: pod.run.clone(),
            node: pod.node.clone(),
            attempt: pod.attempt,
            namespace: namespace.clone(),
            name: pod.name.clone(),
            uid: format!("uid-{:05}", self.made),
            phase: PodPhase::Gated,
            created: time(now),
            admitted: None,
            started: None,
            finished: None,
            exit_code: None,
            reason: None,
            waiting: None,
            deleting: false,
            bound: None,
        };
        self.pods.insert(made.uid.clone(), made.clone());
        self.history.push(Observation::Pod(Box::new(made.clone())));
        (made, true)
    }

    pub(crate) fn change(&mut self, uid: &str, change: impl FnOnce(&mut RunPod)) {
        if let Some(pod) = self.pods.get_mut(uid) {
            change(pod);
            self.history.push(Observation::Pod(Box::new(pod.clone())));
        }
    }

    pub(crate) fn remove(&mut self, uid: &str) {
        if let Some(pod) = self.pods.remove(uid) {
            self.history.push(Observation::PodGone { namespace: pod.namespace, name: pod.name, uid: pod.uid });
        }
    }

    pub(crate) fn is_ready(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.ready)
    }

    pub(crate) fn node(&mut self, name: &str, change: impl FnOnce(&mut NodeFacts)) {
        let new = || NodeFacts {
            name: Arc::from(name),
            labels: BTreeMap::from([("kind".to_owned(), "worker".to_owned())]),
            taints: Vec::new(),
            ready: true,
            unschedulable: false,
        };
        let node = self.nodes.entry(name.to_owned()).or_insert_with(new);
        change(node);
        self.node_history.push(Observation::Node(node.clone()));
    }

    pub(crate) fn remove_node(&mut self, name: &str) {
        if self.nodes.remove(name).is_some() {
            self.node_history.push(Observation::NodeGone { name: Arc::from(name) });
        }
    }

    pub(crate) fn open_and_ungated(&self) -> usize {
        self.pods.values().filter(|pod| matches!(pod.phase, PodPhase::Pending | PodPhase::Running)).count()
    }
}
