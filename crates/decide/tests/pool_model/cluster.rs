//! What the API server holds: pods and nodes, the log that watches read, and the two writes that the pool makes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::pool::{Answer, Kind, Member, NodeFacts, Requirements, Write};
use jobmeter_protocol::PoolSlot;

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) job: u32,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) pool: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) created: u64,
    pub(crate) gated: bool,
    pub(crate) slot: Option<PoolSlot>,
    /// Of the slot that it was released with.
    pub(crate) allowed: Vec<String>,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) bound: Option<u64>,
    pub(crate) ended: bool,
    pub(crate) deleting: bool,
    pub(crate) labelled: bool,
    /// Somebody took the gate away: nobody counted it before.
    pub(crate) by_hand: bool,
    /// Its node is gone, and it with it.
    pub(crate) dead: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Pod(Member),
    /// With a deletion in its last state, or only out of the watch's sight.
    PodGone(Arc<str>, bool),
    Node(NodeFacts),
    NodeGone(Arc<str>),
}

#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) pods: BTreeMap<Arc<str>, Pod>,
    pub(crate) nodes: BTreeMap<Arc<str>, NodeFacts>,
    pub(crate) pod_log: Vec<Change>,
    pub(crate) node_log: Vec<Change>,
}

pub(crate) fn time(milliseconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap()
}

impl Pod {
    pub(crate) fn runs(&self) -> bool {
        !self.gated && !self.ended && !self.dead
    }

    fn member(&self, uid: &Arc<str>) -> Member {
        Member {
            uid: uid.clone(),
            kind: Kind::Pod,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            pool: self.pool.clone(),
            priority: self.priority,
            created: time(self.created / 1000 * 1000),
            slots: 1,
            gated: self.gated,
            slot: self.slot.clone(),
            node: self.node.clone(),
            // Whole seconds, as the API server writes them.
            scheduled: self.bound.map(|at| time(at / 1000 * 1000)),
            unschedulable: None,
            of_run: false,
            ended: self.ended,
            deleting: self.deleting,
            requirements: Arc::new(Requirements::default()),
        }
    }
}

impl Cluster {
    pub(crate) fn get(&self, uid: &Arc<str>) -> Option<Member> {
        self.pods.get(uid).map(|pod| pod.member(uid))
    }

    pub(crate) fn list(&self) -> Vec<Member> {
        self.pods.iter().filter(|(_, pod)| pod.labelled).map(|(uid, pod)| pod.member(uid)).collect()
    }

    /// Every change of a pod goes through here, so that watches see it.
    pub(crate) fn change(&mut self, uid: &Arc<str>, change: impl FnOnce(&mut Pod)) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let before = pod.labelled;
        change(pod);
        match (before, pod.labelled) {
            (_, true) => self.pod_log.push(Change::Pod(pod.member(uid))),
            (true, false) => self.pod_log.push(Change::PodGone(uid.clone(), false)),
            (false, false) => {}
        }
    }

    pub(crate) fn remove(&mut self, uid: &Arc<str>) -> Option<Pod> {
        let pod = self.pods.remove(uid)?;
        if pod.labelled {
            self.pod_log.push(Change::PodGone(uid.clone(), pod.deleting));
        }
        Some(pod)
    }

    /// JSON patches with their tests.
    pub(crate) fn write(&mut self, uid: &Arc<str>, what: Write, slot: &PoolSlot) -> Answer {
        let Some(pod) = self.pods.get(uid) else { return Answer::Gone };
        let allowed = pod.gated && (what == Write::Reserve || pod.slot.as_ref() == Some(slot));
        if !allowed {
            return Answer::Refused { why: "a test of the patch failed".to_owned() };
        }
        self.change(uid, |pod| match what {
            Write::Reserve => pod.slot = Some(slot.clone()),
            Write::Release => {
                pod.gated = false;
                pod.allowed = slot.nodes.clone();
            }
        });
        Answer::Done(Box::new(self.get(uid).unwrap()))
    }
}
