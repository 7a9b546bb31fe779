//! What happens without the coordinator: the watch, the pool, kubelets, pods that report, strangers, nodes, people.

use super::*;

impl World {
    pub(super) fn watch(&mut self) {
        let term = self.term;
        let (most, back, gap, repeats) =
            (self.random.within(1, 30) as usize, self.random.within(1, 60) as usize, self.trouble(3), self.trouble(100));
        let wait = self.random.within(20, 1_500);
        self.after(wait, Event::Watch(term));
        let leader = self.leader.as_mut().unwrap();
        let mut news: Vec<_> = self.cluster.node_history[leader.told_nodes..].to_vec();
        leader.told_nodes = self.cluster.node_history.len();
        if leader.watches {
            let until = self.cluster.history.len().min(leader.told + most);
            news.extend_from_slice(&self.cluster.history[leader.told..until]);
            leader.told = until;
            if repeats {
                let from = until.saturating_sub(back);
                news.extend_from_slice(&self.cluster.history[from..until]);
            }
            if gap {
                leader.watches = false;
                let wait = self.random.within(1_000, 30_000);
                self.after(wait, Event::List(term));
            }
        }
        if news.is_empty() {
            return;
        }
        let one_by_one = self.random.permille(500);
        for observation in news {
            self.observe(observation);
            if one_by_one {
                self.plan();
            }
            if self.leader.is_none() {
                return;
            }
        }
        self.plan();
    }

    /// The pool's ledger: it counts what is there.
    pub(super) fn pool(&mut self) {
        let wait = self.random.within(50, 500);
        self.after(wait, Event::Pool);
        let size = self.scenario.pool as usize * DEFINITIONS.len();
        let free = size.saturating_sub(self.cluster.open_and_ungated());
        let stored = |pod: &RunPod| {
            let node = self.judge.runs.get(&pod.run).and_then(|stored| stored.nodes.get(&pod.node));
            node.is_some_and(|node| node.pod_uid.as_ref() == Some(&pod.uid) && !node.state.is_over())
        };
        let waits =
            |pod: &&RunPod| pod.phase == PodPhase::Gated && !pod.deleting && self.cluster.is_ready(&pod.node) && stored(pod);
        let next: Vec<_> = self.cluster.pods.values().filter(waits).take(free).map(|pod| pod.uid.clone()).collect();
        for uid in next {
            let now = time(self.now);
            self.cluster.change(&uid, |pod| (pod.phase, pod.admitted) = (PodPhase::Pending, Some(now)));
            let wait = self.random.within(10, 3_000);
            self.after(wait, Event::Start(uid));
        }
    }

    pub(super) fn start(&mut self, uid: &str) {
        let Some(pod) = self.cluster.pods.get(uid).filter(|pod| pod.phase == PodPhase::Pending && !pod.deleting).cloned() else {
            return;
        };
        let unbound = self.scenario.placement == Placement::NodeName && pod.bound.is_none();
        if unbound || !self.cluster.is_ready(&pod.node) {
            return self.after(1_000, Event::Start(uid.to_owned()));
        }
        if self.trouble(20) {
            self.cluster.change(uid, |pod| pod.waiting = Some("ImagePullBackOff".to_owned()));
            return self.after(30_000, Event::Start(uid.to_owned()));
        }
        let now = time(self.now);
        self.judge.start(&pod, &self.cluster);
        self.cluster.change(uid, |pod| (pod.phase, pod.started, pod.waiting) = (PodPhase::Running, Some(now), None));
        let long = self.trouble(20);
        let lasts = if long { self.random.within(MINUTE, 8 * MINUTE) } else { self.random.within(10, 20_000) };
        self.after(lasts, Event::End(uid.to_owned()));
    }

    pub(super) fn end(&mut self, uid: &str) {
        let Some(pod) = self.cluster.pods.get(uid).filter(|pod| pod.phase == PodPhase::Running).cloned() else { return };
        if !self.cluster.is_ready(&pod.node) {
            return self.after(5_000, Event::End(uid.to_owned()));
        }
        let now = time(self.now);
        let fails = self.trouble(20);
        let (phase, code) = if fails { (PodPhase::Failed, 1) } else { (PodPhase::Succeeded, 0) };
        if !fails {
            self.judge.succeed(&pod);
        }
        self.cluster.change(uid, |pod| (pod.phase, pod.finished, pod.exit_code) = (phase, Some(now), Some(code)));
        if !self.trouble(20) {
            // Whoever posted it tries until it is taken.
            let wait = if self.trouble(50) { self.random.within(1, 30_000) } else { 1 };
            self.after(wait, Event::Report(pod.run, pod.node, pod.attempt));
        }
    }

    pub(super) fn report(&mut self, run: String, node: String, attempt: u32) {
        if self.leader.is_none() {
            return self.after(1_000, Event::Report(run, node, attempt));
        }
        if let Some(pod) =
            self.cluster.pods.values().find(|pod| (&pod.run, &pod.node, pod.attempt) == (&run, &node, attempt)).cloned()
        {
            self.judge.report(&pod);
        } else {
            return;
        }
        for what in [Report::File { bytes: 7 }, Report::Result, Report::Event] {
            self.observe(Observation::Reported { run: run.clone(), node: node.clone(), attempt, what });
        }
        self.plan();
        if self.leader.is_none() {
            self.after(1_000, Event::Report(run, node, attempt));
        }
    }

    pub(super) fn delete(&mut self, uid: &str) {
        let wait = match self.cluster.pods.get(uid).map(|pod| pod.phase) {
            Some(PodPhase::Pending | PodPhase::Running) => self.random.within(10, 20_000),
            _ => 1,
        };
        self.cluster.change(uid, |pod| pod.deleting = true);
        self.after(wait, Event::Remove(uid.to_owned()));
    }

    /// Its kubelet says that nothing of it runs any more, or there is no kubelet.
    pub(super) fn remove(&mut self, uid: &str) {
        let Some(pod) = self.cluster.pods.get(uid) else { return };
        let runs = pod.phase == PodPhase::Running;
        if runs && self.cluster.nodes.get(&pod.node).is_some_and(|node| !node.ready) {
            return self.after(5_000, Event::Remove(uid.to_owned()));
        }
        self.cluster.remove(uid);
    }

    pub(super) fn stranger(&mut self) {
        let wait = self.random.within(1_000, 60_000);
        self.after(wait, Event::Stranger);
        if self.trouble(100) {
            let pods: Vec<_> = self.cluster.pods.keys().cloned().collect();
            if let Some(uid) = self.random.pick(&pods).cloned() {
                self.delete(&uid);
            }
        }
    }

    pub(super) fn node(&mut self) {
        let wait = self.random.within(5_000, 3 * MINUTE);
        self.after(wait, Event::Node);
        let name = format!("node-{}.zone-{}", self.random.within(0, 8), self.random.within(0, 2));
        if self.calm() {
            // Whatever is broken is mended.
            let nodes: Vec<_> = self.cluster.nodes.keys().cloned().collect();
            for name in nodes {
                self.cluster.node(&name, |node| (node.ready, node.unschedulable) = (true, false));
            }
        } else if !self.trouble(80) {
        } else if self.random.permille(250) {
            self.cluster.remove_node(&name);
            let pods: Vec<_> = self.cluster.pods.values().filter(|pod| pod.node == name).map(|pod| pod.uid.clone()).collect();
            for uid in pods {
                self.delete(&uid);
            }
        } else {
            let (ready, unschedulable) = (self.random.permille(600), self.random.permille(200));
            self.cluster.node(&name, |node| (node.ready, node.unschedulable) = (ready, unschedulable));
        }
    }

    pub(super) fn people(&mut self) {
        let wait = self.random.within(10_000, 6 * MINUTE);
        if self.calm() {
            self.observe(Observation::Definitions(self.definitions()));
            return self.plan();
        }
        self.after(wait, Event::People);
        let runs: Vec<_> = self.judge.runs.keys().cloned().collect();
        let definition = (*self.random.pick(&DEFINITIONS).unwrap()).to_owned();
        let what = match (self.random.within(0, 4), self.random.pick(&runs).cloned()) {
            (0, Some(run)) => Command::Cancel { run },
            (1, Some(run)) => Command::Retry { run },
            (2, _) => Command::Start(StartRun { definition, nodes: vec!["node-0.zone-0".to_owned()] }),
            _ => Command::Start(StartRun { definition, nodes: Vec::new() }),
        };
        if self.leader.is_some() {
            self.question += 1;
            self.asked.insert(self.question);
            self.observe(Observation::Asked { question: self.question, what });
            self.plan();
        }
    }
}
