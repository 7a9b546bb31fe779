//! What is observed, into the books; and what follows from it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::runs::{DefinitionMemory, NodeRunState, StoredRun};

use super::alarms::Alarm;
use super::answers::SHOWN_WITHIN;
use super::attempt::{NO_RESULT, RESULT_PATIENCE, awaits_result, retries};
use super::flights::later;
use super::kept::Kept;
use super::{Definition, Observation, Report, RunPod, Runs};
use crate::pool::NodeFacts;

impl Runs {
    pub(super) fn take_in(&mut self, observation: Observation, now: Timestamp) {
        match observation {
            Observation::Definitions(definitions) => self.define(definitions, now),
            Observation::Stored { runs, memories } => self.load(runs, memories),
            Observation::NodesListed(nodes) => self.list_nodes(nodes, now),
            Observation::Node(facts) => self.node(facts, now),
            Observation::NodeGone { name } => self.node_gone(&name, now),
            Observation::PodsListed(pods) => self.list_pods(pods, now),
            Observation::Pod(pod) => self.pod(*pod, true, now),
            Observation::PodGone { namespace, name, uid } => self.pod_gone(&namespace, &name, &uid, now),
            Observation::Asked { question, what } => self.questions.push((question, what)),
            Observation::Reported { run, node, attempt, what } => self.reported(&run, &node, attempt, what, now),
            Observation::Answered { step, answer } => self.answered(&step, answer, now),
        }
    }

    fn define(&mut self, definitions: Vec<Definition>, now: Timestamp) {
        let first = std::mem::take(&mut self.awaited.definitions);
        let begin = if first { self.began } else { now };
        let mut defined = BTreeMap::new();
        for definition in definitions {
            let name = definition.settings.name.clone();
            // Once in a term, also if it goes and comes again.
            let startup = || definition.run_on_start.map(|delay| later(begin, delay));
            self.startups.entry(name.clone()).or_insert_with(startup);
            defined.entry(name).or_insert(definition);
        }
        let before = std::mem::replace(&mut self.definitions, defined);
        self.fresh.retain(|name, _| self.definitions.contains_key(name));
        let names: BTreeSet<_> = before.into_keys().chain(self.definitions.keys().cloned()).collect();
        self.look.history.extend(names.iter().cloned());
        self.look.definitions.extend(names);
        self.look.newcomers = true;
    }

    fn load(&mut self, runs: Vec<StoredRun>, memories: Vec<DefinitionMemory>) {
        self.awaited.stored = false;
        for run in runs {
            self.book.put(Kept::load(run));
        }
        self.memories.extend(memories.into_iter().map(|memory| (memory.definition.clone(), memory)));
    }

    fn list_nodes(&mut self, nodes: Vec<NodeFacts>, now: Timestamp) {
        let listed: BTreeSet<_> = nodes.iter().map(|node| node.name.clone()).collect();
        for gone in self.nodes.names().filter(|name| !listed.contains(*name)).cloned().collect::<Vec<Arc<str>>>() {
            self.node_gone(&gone, now);
        }
        for node in nodes {
            self.node(node, now);
        }
        self.awaited.nodes = false;
    }

    fn node(&mut self, facts: NodeFacts, now: Timestamp) {
        let name = facts.name.clone();
        if self.nodes.is_as_it_was(&facts) {
            return;
        }
        if !self.is_ready() {
            return self.nodes.put(facts, now);
        }
        let users = self.users(&name);
        self.nodes.put(facts, now);
        self.is_fresh(&name, &users);
        self.follow_all(&name, now);
    }

    fn node_gone(&mut self, name: &str, now: Timestamp) {
        if !self.nodes.remove(name) || !self.is_ready() {
            return;
        }
        self.is_fresh(name, &BTreeSet::new());
        for run in self.book.active() {
            self.lose_node(&run, name, now);
        }
    }

    fn follow_all(&mut self, node: &str, now: Timestamp) {
        for run in self.book.active() {
            if self.book.get(&run).is_some_and(|kept| kept.node(node).is_some()) {
                self.follow(&run, node, now);
            }
        }
    }

    fn list_pods(&mut self, pods: Vec<RunPod>, now: Timestamp) {
        self.awaited.pods = false;
        let listed: BTreeSet<_> = pods.iter().map(|pod| pod.uid.clone()).collect();
        for uid in self.pods.uids().filter(|uid| !listed.contains(*uid)).cloned().collect::<Vec<_>>() {
            let doubt = Alarm::Doubt(uid.clone());
            if self.pods.get(&uid).is_some_and(|known| known.witnessed) {
                self.lose_pod(&uid, now);
            } else if !self.alarms.is_set(&doubt) {
                // It may have been made after the list was.
                self.alarms.set(doubt, Some(later(now, SHOWN_WITHIN)));
            }
        }
        for pod in pods {
            self.pod(pod, true, now);
        }
    }

    pub(super) fn pod(&mut self, pod: RunPod, witnessed: bool, now: Timestamp) {
        // Somebody's copy elsewhere is none of the run's.
        if self.book.get(&pod.run).is_some_and(|kept| kept.run.namespace != pod.namespace) {
            return;
        }
        let uid = pod.uid.clone();
        self.pods.put(pod, witnessed, now);
        if witnessed {
            self.alarms.set(Alarm::Doubt(uid.clone()), None);
        }
        if self.is_ready() {
            self.heed(&uid, now);
        }
    }

    fn pod_gone(&mut self, namespace: &str, name: &str, uid: &str, now: Timestamp) {
        if !self.is_ready() {
            self.pods.remove(uid);
            return;
        }
        if self.pods.get(uid).is_some() {
            return self.lose_pod(uid, now);
        }
        // It came and went before its maker was answered.
        for run in self.book.active() {
            let Some(kept) = self.book.get(&run).filter(|kept| kept.settings.namespace == namespace) else { continue };
            let its = |node: &&String| kept.node(node).is_some_and(|node| node.pod == name);
            let Some(node) = kept.unmade.iter().find(its).cloned() else { continue };
            self.change_node(&run, &node, now, |node| node.pod_uid = Some(uid.to_owned()));
            self.fail(&run, &node, self.why_gone(&node), now);
        }
    }

    fn reported(&mut self, run: &str, name: &str, attempt: u32, what: Report, now: Timestamp) {
        let Some(node) = self.book.get(run).and_then(|kept| kept.node(name)) else { return };
        let counts = attempt == node.attempt;
        let missed = node.reason.as_deref() == Some(NO_RESULT) && (node.state == NodeRunState::Failed || retries(node));
        let right = awaits_result(node) || missed;
        self.change_node(run, name, now, |node| match what {
            Report::File { bytes } => {
                node.files = node.files.saturating_add(1);
                node.file_bytes = node.file_bytes.saturating_add(bytes);
            }
            Report::Event => node.events = node.events.saturating_add(1),
            Report::Result if counts => {
                node.reported = Some(now);
                if right {
                    (node.state, node.why, node.reason, node.retry_at) = (NodeRunState::Succeeded, None, None, None);
                }
            }
            Report::Result => {}
        });
        self.recount(run);
    }

    /// All that is needed is known now: what happened while nobody led.
    pub(super) fn settle(&mut self, now: Timestamp) {
        for uid in self.pods.uids().cloned().collect::<Vec<_>>() {
            self.heed(&uid, now);
        }
        for run in self.book.active() {
            for name in self.book.get(&run).map(Kept::unfinished).unwrap_or_default() {
                self.settle_node(&run, &name, now);
            }
        }
        self.look.definitions.extend(self.definitions.keys().chain(self.memories.keys()).cloned());
        self.look.history.extend(self.definitions.keys().cloned());
        self.look.newcomers = true;
    }

    fn settle_node(&mut self, run: &str, name: &str, now: Timestamp) {
        let Some(node) = self.book.get(run).and_then(|kept| kept.node(name)) else { return };
        let lost = node.pod_uid.as_ref().is_some_and(|uid| self.pods.get(uid).is_none());
        if awaits_result(node) {
            self.book.change(run, |kept| {
                kept.awaiting.entry(name.to_owned()).or_insert(later(now, RESULT_PATIENCE));
            });
        } else if !self.nodes.has(name) {
            self.lose_node(run, name, now);
        } else if lost && !retries(node) {
            self.fail(run, name, self.why_gone(name), now);
        }
        self.follow(run, name, now);
    }
}
