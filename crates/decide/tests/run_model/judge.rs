//! What must hold, asked of the store and of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use jobmeter_decide::runs::{Plan, PodPhase, RunPod, Runs, Step, StepKey};
use jobmeter_protocol::runs::{DefinitionMemory, NodeRunState, Overlap, RunChange, RunCounts, RunState, StoredRun};

use crate::cluster::Cluster;

/// The store, and what ever happened.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) runs: BTreeMap<String, StoredRun>,
    pub(crate) memories: BTreeMap<String, DefinitionMemory>,
    ids: BTreeSet<String>,
    /// Names of pods whose UID was stored: they are used up.
    stored: BTreeSet<String>,
    started: BTreeMap<String, String>,
    succeeded: BTreeSet<String>,
    reported: BTreeSet<(String, String, u32)>,
    pub(crate) in_flight: BTreeSet<StepKey>,
    pub(crate) over: u64,
    pub(crate) attempts: u64,
}

pub(crate) fn key(step: &Step) -> StepKey {
    match step {
        Step::Create(pod) => StepKey::Create { namespace: pod.settings.namespace.clone(), name: pod.name.clone() },
        Step::Delete { uid, .. } => StepKey::Delete { uid: uid.clone() },
        Step::Bind { uid, .. } => StepKey::Bind { uid: uid.clone() },
        Step::Forget { run, .. } => StepKey::Forget { run: run.clone() },
    }
}

fn of_run(change: &RunChange) -> Option<&String> {
    match change {
        RunChange::Run { run, .. } => Some(&run.id),
        RunChange::Node { run, .. } => Some(run),
        RunChange::Result { .. } | RunChange::Memory(_) | RunChange::Forget { .. } => None,
    }
}

impl Judge {
    /// The changes are stored, as one.
    pub(crate) fn store(&mut self, plan: &Plan, cluster: &Cluster) {
        for change in &plan.changes {
            self.apply(change.clone(), cluster);
        }
        let touched: BTreeSet<_> = plan.changes.iter().filter_map(of_run).collect();
        for stored in touched.into_iter().filter_map(|run| self.runs.get(run)) {
            assert_eq!(stored.run.nodes, RunCounts::of(stored.nodes.values()), "run {}", stored.run.id);
            assert!(!stored.run.state.is_over() || stored.nodes.values().all(|node| node.state.is_over()), "{stored:?}");
        }
    }

    fn apply(&mut self, change: RunChange, cluster: &Cluster) {
        match change {
            RunChange::Run { run, settings } => match self.runs.get_mut(&run.id) {
                Some(stored) => {
                    assert!(settings.is_none() && stored.run != *run, "nothing changed in {run:?}");
                    assert!(!stored.run.state.is_over() || run.state.is_over(), "{} goes on after its end", run.id);
                    if !stored.run.state.is_over() && run.state.is_over() {
                        self.over += 1;
                        let runs = |pod: &&RunPod| pod.run == run.id && pod.phase == PodPhase::Running;
                        let left = cluster.pods.values().filter(runs).find(|pod| cluster.is_ready(&pod.node));
                        assert!(left.is_none(), "{} is over and {left:?} runs", run.id);
                    }
                    stored.run = *run;
                }
                None => {
                    assert!(self.ids.insert(run.id.clone()), "{} was there before", run.id);
                    let settings = settings.expect("a run begins with its settings");
                    let stored = StoredRun { run: *run, settings, nodes: BTreeMap::new(), results: BTreeMap::new() };
                    self.runs.insert(stored.run.id.clone(), stored);
                }
            },
            RunChange::Node { run, node } => {
                let stored = self.runs.get_mut(&run).expect("a node of a run that is not stored");
                if let Some(before) = stored.nodes.get(&node.node) {
                    let final_before = matches!(before.state, NodeRunState::Succeeded | NodeRunState::Cancelled);
                    assert!(!final_before || before.state == node.state, "{before:?} became {node:?}");
                    assert!(
                        before.state != NodeRunState::Failed
                            || matches!(node.state, NodeRunState::Failed | NodeRunState::Succeeded),
                        "{before:?} became {node:?}"
                    );
                    assert!(
                        node.attempt >= before.attempt
                            && (node.attempt > before.attempt || before.pod_uid.is_none() || before.pod_uid == node.pod_uid)
                    );
                }
                assert!(!node.state.is_over() || node.retry_at.is_none());
                if node.state == NodeRunState::Succeeded {
                    assert!(self.succeeded.contains(&node.pod), "{node:?}");
                    let of = (run.clone(), node.node.clone(), node.attempt);
                    assert!(!stored.settings.result_required || self.reported.contains(&of), "{node:?}");
                }
                if let Some(uid) = &node.pod_uid {
                    assert!(!uid.is_empty());
                    self.stored.insert(node.pod.clone());
                }
                stored.nodes.insert(node.node.clone(), *node);
            }
            RunChange::Memory(memory) => drop(self.memories.insert(memory.definition.clone(), memory)),
            RunChange::Forget { run } => {
                let stored = self.runs.remove(&run).expect("forgotten twice");
                assert!(stored.run.state.is_over());
                let of = |other: &&StoredRun| other.run.definition == stored.run.definition && other.run.id > run;
                let newer = self.runs.values().filter(of).count();
                assert!(newer >= stored.settings.history as usize, "{newer} newer ones are kept");
            }
            RunChange::Result { .. } => panic!("results are not decided here"),
        }
    }

    /// What is stored is what is known.
    pub(crate) fn compare(&self, runs: &Runs) {
        let known: Vec<_> = runs.runs().collect();
        assert_eq!(known.len(), self.runs.len());
        for ((run, nodes), stored) in known.into_iter().zip(self.runs.values()) {
            assert_eq!(*run, stored.run);
            assert_eq!(*nodes, stored.nodes);
        }
    }

    pub(crate) fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            let key = key(step);
            assert!(self.in_flight.insert(key.clone()), "{key:?} is on its way already");
            let Step::Create(pod) = step else { continue };
            self.attempts += 1;
            let stored = &self.runs[&pod.run];
            let node = &stored.nodes[&pod.node];
            let fits = node.state == NodeRunState::Queued && node.pod == pod.name && node.attempt == pod.attempt;
            assert!(fits && !self.stored.contains(&pod.name), "{node:?}");
            assert!(pod.name.len() <= 63);
            let of = |other: &&StoredRun| other.run.definition == stored.run.definition && other.run.state == RunState::Running;
            let mut others = self.runs.values().filter(of);
            if stored.settings.overlap != Overlap::Allow {
                assert!(others.all(|other| other.run.id >= pod.run), "an older run of {} goes on", stored.run.definition);
            }
        }
        assert!(self.in_flight.len() <= 64);
        for stored in self.runs.values() {
            assert!(stored.run.nodes.queued <= 50);
        }
    }

    /// Its container runs.
    pub(crate) fn start(&mut self, pod: &RunPod, cluster: &Cluster) {
        let before = self.started.insert(pod.name.clone(), pod.uid.clone());
        assert!(before.is_none(), "{} runs a second time", pod.name);
        let same = |other: &&RunPod| other.uid != pod.uid && (&other.run, &other.node) == (&pod.run, &pod.node);
        let beside = |other: &&RunPod| other.phase == PodPhase::Running;
        let twin = cluster.pods.values().filter(same).find(beside);
        assert!(twin.is_none(), "{twin:?} runs beside {pod:?}");
    }

    pub(crate) fn succeed(&mut self, pod: &RunPod) {
        self.succeeded.insert(pod.name.clone());
    }

    pub(crate) fn report(&mut self, pod: &RunPod) {
        self.reported.insert((pod.run.clone(), pod.node.clone(), pod.attempt));
    }
}
