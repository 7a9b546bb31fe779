//! The next steps: which pods are made, bound and deleted, and which runs are forgotten.
//!
//! A pod is made only while no pod of an earlier attempt of its node is left that could run. What is deleted: pods of nodes that are
//! over or a further attempt on, and, when the next run of a definition has begun, the ended ones of its finished runs.

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeRun, NodeRunState, Overlap, Placement};

use super::attempt::{is_current, retries};
use super::ending::canary;
use super::flights::MOST_IN_FLIGHT;
use super::kept::Kept;
use super::naming::{first_attempt, of_attempt};
use super::nodes::Usable;
use super::pods::Known;
use super::{CreatePod, PodPhase, Runs, Step, StepKey};

/// Pods of one run that are made and wait for their pool.
const MOST_QUEUED: u32 = 50;
/// Steps on their way beyond which no pod is made: deletions have the rest.
const MOST_WHILE_MAKING: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stay,
    Go,
    Bind,
}

impl Runs {
    pub(super) fn next_steps(&mut self, now: Timestamp) -> Vec<Step> {
        for uid in std::mem::take(&mut self.look.pods) {
            match self.pods.get(&uid).map(|known| self.fate(known, now)) {
                Some(Fate::Go) => drop(self.look.delete.insert(uid)),
                Some(Fate::Bind) => drop(self.look.bind.insert(uid)),
                Some(Fate::Stay) | None => {}
            }
        }
        let mut steps = Vec::new();
        self.bind(now, &mut steps);
        self.make(now, &mut steps);
        self.delete(now, &mut steps);
        self.forget(now, &mut steps);
        steps
    }

    fn fate(&self, known: &Known, now: Timestamp) -> Fate {
        let pod = &known.pod;
        if pod.deleting {
            return Fate::Stay;
        }
        let Some(kept) = self.book.get(&pod.run) else {
            // Made late, for a run that is forgotten; what runs or ran may be somebody's.
            return if pod.phase == PodPhase::Gated { Fate::Go } else { Fate::Stay };
        };
        let node = kept.node(&pod.node);
        if pod.phase.is_over() {
            let goes = if kept.is_active() {
                node.is_none_or(|node| node.attempt > pod.attempt || node.retry_at.is_some_and(|at| at <= now))
            } else {
                self.is_superseded(kept)
            };
            return if goes { Fate::Go } else { Fate::Stay };
        }
        match node {
            Some(node) if is_current(node, pod) => {
                let by_us = kept.settings.placement == Placement::NodeName;
                if by_us && pod.phase == PodPhase::Pending && pod.bound.is_none() { Fate::Bind } else { Fate::Stay }
            }
            _ => Fate::Go,
        }
    }

    /// A run of its definition began after its end.
    fn is_superseded(&self, kept: &Kept) -> bool {
        let newest = self.book.of_definition(&kept.run.definition).next_back();
        newest.is_some_and(|newest| newest.run.id != kept.run.id && kept.run.finished.is_some_and(|at| at <= newest.run.created))
    }

    /// A pod of it is there that may run, or that nobody asked to go.
    pub(super) fn is_occupied(&self, run: &str, node: &str) -> bool {
        let pods = self.pods.of_node(run, node).filter_map(|uid| self.pods.get(uid));
        pods.into_iter().any(|known| !(known.pod.phase.is_over() && known.pod.deleting))
    }

    fn bind(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        for uid in std::mem::take(&mut self.look.bind) {
            let Some(known) = self.pods.get(&uid).filter(|known| self.fate(known, now) == Fate::Bind) else { continue };
            let key = StepKey::Bind { uid: uid.clone() };
            if self.flights.len() >= MOST_IN_FLIGHT {
                self.look.bind.insert(uid);
            } else if self.flights.may(&key, now) {
                let pod = &known.pod;
                let (namespace, name, node) = (pod.namespace.clone(), pod.name.clone(), pod.node.clone());
                self.flights.depart(key);
                steps.push(Step::Bind { namespace, name, uid, node });
            }
        }
    }

    fn delete(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        while self.flights.len() < MOST_IN_FLIGHT
            && let Some(uid) = self.look.delete.pop_first()
        {
            let key = StepKey::Delete { uid: uid.clone() };
            let Some(known) = self.pods.get(&uid).filter(|known| self.fate(known, now) == Fate::Go) else { continue };
            if self.flights.may(&key, now) {
                let (namespace, name) = (known.pod.namespace.clone(), known.pod.name.clone());
                self.flights.depart(key);
                self.pods.ask_to_go(&uid, now);
                steps.push(Step::Delete { namespace, name, uid });
            }
        }
    }

    fn forget(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let room = MOST_IN_FLIGHT.saturating_sub(self.flights.len());
        let key = |run: &String| StepKey::Forget { run: run.clone() };
        let runs: Vec<_> = self.look.forget.iter().filter(|run| self.flights.may(&key(run), now)).take(room).cloned().collect();
        for run in runs {
            let Some(kept) = self.book.get(&run) else { continue };
            let settings = kept.settings.clone();
            self.flights.depart(key(&run));
            steps.push(Step::Forget { run, settings });
        }
    }

    fn make(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        for run in self.book.active() {
            let room = MOST_WHILE_MAKING.saturating_sub(self.flights.len());
            let Some(kept) = self.book.get(&run) else { continue };
            if room == 0 || self.is_behind(kept) {
                continue;
            }
            let may = |node: &&NodeRun| self.flights.may(&make_key(kept, &node.pod), now);
            let again: Vec<_> = kept.unmade.iter().filter_map(|name| kept.node(name)).filter(may).take(room).cloned().collect();
            let next = self.next_nodes(kept, room - again.len(), now);
            for node in again {
                steps.extend(self.make_pod(&run, &node));
            }
            for name in next {
                self.change_node(&run, &name, now, begin_attempt);
                if let Some(node) = self.book.get(&run).and_then(|kept| kept.node(&name)).cloned() {
                    steps.extend(self.make_pod(&run, &node));
                }
            }
        }
    }

    /// It takes the place of a run that has not ended.
    fn is_behind(&self, kept: &Kept) -> bool {
        let mut others = self.book.of_definition(&kept.run.definition);
        kept.settings.overlap == Overlap::Replace && others.any(|other| other.is_active() && other.run.id < kept.run.id)
    }

    /// Retries that are due before nodes that were never tried.
    fn next_nodes(&self, kept: &Kept, room: usize, now: Timestamp) -> Vec<String> {
        if kept.run.stopping {
            return Vec::new();
        }
        let counts = &kept.run.nodes;
        let room = room.min(usize::try_from(MOST_QUEUED.saturating_sub(counts.queued)).unwrap_or(0));
        let usable = |name: &str| self.nodes.usable(name, &kept.settings) == Some(Usable::Yes);
        let free = |name: &&String| usable(name) && !self.is_occupied(&kept.run.id, name);
        let due = kept.retrying.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name);
        let mut next: Vec<_> = due.filter(free).take(room).cloned().collect();
        let canary = canary(kept);
        let begun = counts.queued + counts.starting + counts.running + u32::try_from(kept.retrying.len()).unwrap_or(u32::MAX);
        let untried = match counts.succeeded < canary {
            true => usize::try_from(canary.saturating_sub(counts.succeeded + begun)).unwrap_or(0),
            false => usize::MAX,
        };
        next.extend(kept.waiting.iter().filter(free).take(untried.min(room - next.len())).cloned());
        next
    }

    fn make_pod(&mut self, run: &str, node: &NodeRun) -> Option<Step> {
        let settings = self.book.get(run)?.settings.clone();
        let key = StepKey::Create { namespace: settings.namespace.clone(), name: node.pod.clone() };
        self.book.change(run, |kept| kept.making += 1);
        self.makes.insert(key.clone(), (run.to_owned(), node.node.clone()));
        self.flights.depart(key);
        let (run, node, attempt, name) = (run.to_owned(), node.node.clone(), node.attempt, node.pod.clone());
        Some(Step::Create(CreatePod { run, settings, node, attempt, name }))
    }
}

fn make_key(kept: &Kept, pod: &str) -> StepKey {
    StepKey::Create { namespace: kept.settings.namespace.clone(), name: pod.to_owned() }
}

/// Its pod has a name, and that is stored before the pod is made.
fn begin_attempt(node: &mut NodeRun) {
    if retries(node) {
        node.pod = of_attempt(first_attempt(&node.pod, node.attempt), node.attempt + 1);
        node.attempt += 1;
        (node.pod_uid, node.created, node.admitted, node.started, node.finished) = (None, None, None, None, None);
        (node.exit_code, node.reason, node.reported, node.retry_at) = (None, None, None, None);
    }
    (node.state, node.why) = (NodeRunState::Queued, None);
}
