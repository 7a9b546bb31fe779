//! What people and machines do to the cluster while it works: now and then, and after the time of trouble only what unblocks it.

use std::sync::Arc;

use jobmeter_decide::pool::NodeFacts;

use crate::cluster::{Change, Pod};
use crate::world::{Event, POOLS, WINDOW, World};

/// A pod that was released and finds no node is deleted, as somebody would do it.
const STUCK: u64 = 60_000;

impl World {
    pub(crate) fn people(&mut self) {
        self.after(1_000, Event::People);
        self.delete_stuck();
        if self.calm() {
            for pool in POOLS {
                if self.sizes[pool] == 0 {
                    self.resize(&Arc::from(pool), 3);
                }
            }
            return;
        }
        if self.trouble(60) {
            let pool = Arc::from(*self.random.pick(&POOLS).unwrap());
            let size = self.random.within(0, u64::from(self.scenario.size) * 2) as u32;
            self.resize(&pool, size);
        }
        if self.trouble(30) {
            self.lose_node();
        }
        if self.trouble(60)
            && let Some(uid) = self.any_pod(|pod| pod.gated && pod.slot.is_none())
        {
            self.take_gate_away(&uid);
        }
        if self.trouble(60)
            && let Some(uid) = self.any_pod(|pod| !pod.gated && !pod.ended)
        {
            self.cluster.change(&uid, |pod| pod.labelled = false);
        }
        if self.trouble(100)
            && let Some(uid) = self.any_pod(|pod| pod.gated)
        {
            self.cluster.change(&uid, |pod| pod.labelled = false);
            let wait = self.random.within(1, 200);
            self.after(wait, Event::Relabel(uid));
        }
        // A leader that begins while a pool is not configured does not know its window: what starts meanwhile it does not count.
        if self.trouble(30) && self.scenario.start_rate.is_none() {
            self.forget_pool();
        }
        if self.trouble(50) {
            self.make_unready();
        }
        if self.trouble(100)
            && let Some(uid) = self.any_pod(|pod| pod.node.is_none())
        {
            self.remove(&uid);
        }
        if self.trouble(50) {
            self.delete_slowly();
        }
    }

    fn any_pod(&mut self, which: impl Fn(&Pod) -> bool) -> Option<Arc<str>> {
        let pods: Vec<Arc<str>> = self.cluster.pods.iter().filter(|(_, pod)| which(pod)).map(|(uid, _)| uid.clone()).collect();
        self.random.pick(&pods).cloned()
    }

    fn delete_stuck(&mut self) {
        let given = |pod: &Pod| pod.slot.as_ref().map_or(pod.created, |slot| slot.given.as_millisecond().unsigned_abs());
        let now = self.now;
        let stuck = |pod: &Pod| !pod.gated && pod.node.is_none() && given(pod) + STUCK < now;
        let stuck: Vec<Arc<str>> = self.cluster.pods.iter().filter(|(_, pod)| stuck(pod)).map(|(uid, _)| uid.clone()).collect();
        for uid in stuck {
            self.remove(&uid);
        }
    }

    fn take_gate_away(&mut self, uid: &Arc<str>) {
        self.cluster.change(uid, |pod| {
            pod.gated = false;
            pod.by_hand = true;
        });
        self.ungated(uid);
    }

    /// Somebody breaks the file, and mends it.
    fn forget_pool(&mut self) {
        let kept = self.sizes.clone();
        let lost: Arc<str> = Arc::from(*self.random.pick(&POOLS).unwrap());
        self.sizes.remove(&lost);
        self.configure();
        self.sizes = kept;
        let wait = self.random.within(100, 20_000);
        self.after(wait, Event::Configure);
    }

    /// Pods on it run on.
    fn make_unready(&mut self) {
        let nodes: Vec<Arc<str>> = self.cluster.nodes.keys().cloned().collect();
        let Some(name) = self.random.pick(&nodes).cloned() else { return };
        let facts = self.cluster.nodes.get_mut(&name).unwrap();
        facts.ready = false;
        let back = NodeFacts { ready: true, ..facts.clone() };
        self.cluster.node_log.push(Change::Node(facts.clone()));
        let wait = self.random.within(100, 60_000);
        self.after(wait, Event::Ready(back));
    }

    /// It has its grace; it ends in it, or it is gone at once in the end. Its start is counted as long as it is there.
    fn delete_slowly(&mut self) {
        let now = self.now;
        let Some(uid) = self.any_pod(|pod| pod.runs() && pod.bound.is_some_and(|at| at + WINDOW < now)) else { return };
        self.cluster.change(&uid, |pod| pod.deleting = true);
        let grace = self.random.within(1_000, 30_000);
        self.after(grace, Event::Remove(uid));
    }

    /// Its pods die with it, and their objects go after a while.
    fn lose_node(&mut self) {
        let nodes: Vec<Arc<str>> = self.cluster.nodes.keys().cloned().collect();
        let Some(name) = self.random.pick(&nodes).cloned() else { return };
        let facts = self.cluster.nodes.remove(&name).unwrap();
        self.cluster.node_log.push(Change::NodeGone(name.clone()));
        self.judge.node_lost(&name);
        let on_it: Vec<Arc<str>> = self.on(&name);
        for uid in on_it {
            let pod = self.cluster.pods.get_mut(&uid).unwrap();
            if pod.runs() {
                self.judge.over(pod);
                pod.dead = true;
            }
        }
        self.after(40_000, Event::CollectGarbage(name));
        let back = self.random.within(60_000, 200_000);
        self.after(back, Event::NodeBack(facts));
    }

    fn on(&self, node: &Arc<str>) -> Vec<Arc<str>> {
        let on_it = self.cluster.pods.iter().filter(|(_, pod)| pod.node.as_ref() == Some(node));
        on_it.map(|(uid, _)| uid.clone()).collect()
    }

    pub(crate) fn collect_garbage(&mut self, node: &Arc<str>) {
        for uid in self.on(node) {
            self.remove(&uid);
        }
    }
}
