//! One term of leadership: a ledger, and what its watches have seen so far.

use std::sync::Arc;

use jobmeter_decide::pool::{Answer, Kind, Ledger, Observation, PoolSettings, Step, Target, Write};
use jobmeter_protocol::PoolSlot;

use crate::cluster::{Change, Cluster, time};

pub(crate) struct Leader {
    pub(crate) term: u64,
    pub(crate) ledger: Ledger,
    /// How far the log was read; `None` in a gap, before the next list.
    pods: Option<usize>,
    listed: bool,
    nodes: Option<usize>,
}

/// A call to the API server.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Write { what: Write, target: Target, slot: PoolSlot },
    Look { target: Target },
}

impl Leader {
    pub(crate) fn new(term: u64, settings: Vec<PoolSettings>, now: u64) -> Self {
        let mut ledger = Ledger::new(term, &[Kind::Pod]);
        ledger.observe(Observation::Pools(settings), time(now));
        Self { term, ledger, pods: None, listed: false, nodes: None }
    }

    pub(crate) fn observe(&mut self, observation: Observation, now: u64) {
        self.ledger.observe(observation, time(now));
    }

    pub(crate) fn list_pods(&mut self, cluster: &Cluster, now: u64) {
        self.observe(Observation::Listed { kind: Kind::Pod, members: cluster.list() }, now);
        self.pods = Some(cluster.pod_log.len());
        self.listed = true;
    }

    pub(crate) fn has_listed(&self) -> bool {
        self.listed
    }

    pub(crate) fn list_nodes(&mut self, cluster: &Cluster, now: u64) {
        self.observe(Observation::NodesListed(cluster.nodes.values().cloned().collect()), now);
        self.nodes = Some(cluster.node_log.len());
    }

    /// At most `most` events of each watch, in their order.
    pub(crate) fn watch(&mut self, cluster: &Cluster, most: usize, now: u64) {
        for (log, seen) in [(&cluster.pod_log, self.pods), (&cluster.node_log, self.nodes)] {
            let Some(seen) = seen else { continue };
            for change in log.iter().skip(seen).take(most) {
                self.observe(observation(change), now);
            }
        }
        let read = |log: &[Change], seen: usize| log.len().min(seen.saturating_add(most));
        self.pods = self.pods.map(|seen| read(&cluster.pod_log, seen));
        self.nodes = self.nodes.map(|seen| read(&cluster.node_log, seen));
    }

    /// An event that was seen before comes once more.
    pub(crate) fn repeat(&mut self, cluster: &Cluster, back: usize, now: u64) {
        let Some(change) = self.pods.and_then(|seen| seen.checked_sub(back)).and_then(|at| cluster.pod_log.get(at)) else {
            return;
        };
        if matches!(change, Change::Pod(..)) {
            self.observe(observation(change), now);
        }
    }

    pub(crate) fn break_watch(&mut self, of_nodes: bool) {
        if of_nodes {
            self.nodes = None;
        } else {
            self.pods = None;
        }
    }

    pub(crate) fn plan(&mut self, now: u64) -> Vec<Call> {
        let calls = self.ledger.plan(time(now)).into_iter().map(|step| match step {
            Step::Reserve { target, slot } => Call::Write { what: Write::Reserve, target, slot },
            Step::Release { target, slot } => Call::Write { what: Write::Release, target, slot },
            Step::Look { target } => Call::Look { target },
        });
        calls.collect()
    }

    /// In milliseconds, rounded up.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let wake = self.ledger.next_wake()?;
        Some(u64::try_from(wake.as_nanosecond().max(0)).unwrap_or(u64::MAX).div_ceil(1_000_000))
    }
}

impl Call {
    pub(crate) fn uid(&self) -> &Arc<str> {
        match self {
            Self::Write { target, .. } | Self::Look { target } => &target.uid,
        }
    }

    /// As the API server does it.
    pub(crate) fn land(&self, cluster: &mut Cluster) -> Observation {
        let uid = self.uid().clone();
        match self {
            Self::Write { what, target, slot } => {
                let answer = cluster.write(&target.uid, *what, slot);
                Observation::Answered { uid, what: *what, answer }
            }
            Self::Look { .. } => Observation::Found { member: cluster.get(&uid), uid },
        }
    }

    /// Nobody answered.
    pub(crate) fn lost(&self) -> Observation {
        let uid = self.uid().clone();
        match self {
            Self::Write { what, .. } => {
                Observation::Answered { uid, what: *what, answer: Answer::Unknown { why: "timed out".to_owned() } }
            }
            Self::Look { .. } => Observation::Unseen { uid },
        }
    }

    pub(crate) fn refused(&self) -> Observation {
        let uid = self.uid().clone();
        match self {
            Self::Write { what, .. } => {
                Observation::Answered { uid, what: *what, answer: Answer::Refused { why: "too many requests".to_owned() } }
            }
            Self::Look { .. } => Observation::Unseen { uid },
        }
    }
}

fn observation(change: &Change) -> Observation {
    match change {
        Change::Pod(member) => Observation::Applied(member.clone()),
        Change::PodGone(uid, proven) => Observation::Gone { uid: uid.clone(), proven: *proven },
        Change::Node(node) => Observation::Node(node.clone()),
        Change::NodeGone(name) => Observation::NodeGone { name: name.clone() },
    }
}
