//! Pods of runs that exist, as far as it is known.
//!
//! In: what lists, watches and answers say. Out: the sum of it. What is known of a pod only grows: one that ended has ended, one
//! that is being deleted is, whatever old events say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{PodPhase, RunPod};

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) pod: RunPod,
    /// A list or a watch has shown it, and not only an answer.
    pub(super) witnessed: bool,
    /// Since when it is known to be on its way out, or was asked to go.
    pub(super) leaving: Option<Timestamp>,
}

/// By UID.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods {
    known: BTreeMap<String, Known>,
    /// By run and node.
    of: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Those that have not ended, by run.
    open: BTreeMap<String, BTreeSet<String>>,
}

impl PodPhase {
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl Pods {
    pub(super) fn get(&self, uid: &str) -> Option<&Known> {
        self.known.get(uid)
    }

    pub(super) fn uids(&self) -> impl Iterator<Item = &String> {
        self.known.keys()
    }

    /// Of a run, whatever became of them.
    pub(super) fn of_run(&self, run: &str) -> impl Iterator<Item = &String> {
        self.of.get(run).into_iter().flat_map(|nodes| nodes.values().flatten())
    }

    /// Of all attempts.
    pub(super) fn of_node(&self, run: &str, node: &str) -> impl Iterator<Item = &String> {
        self.of.get(run).and_then(|nodes| nodes.get(node)).into_iter().flatten()
    }

    /// Those of a run that have not ended.
    pub(super) fn open(&self, run: &str) -> impl Iterator<Item = &Known> {
        self.open.get(run).into_iter().flatten().filter_map(|uid| self.known.get(uid))
    }

    pub(super) fn put(&mut self, pod: RunPod, witnessed: bool, now: Timestamp) {
        let uid = pod.uid.clone();
        let known = match self.known.remove(&uid) {
            Some(mut known) => {
                merge(&mut known.pod, pod);
                known.witnessed |= witnessed;
                known
            }
            None => {
                let nodes = self.of.entry(pod.run.clone()).or_default();
                nodes.entry(pod.node.clone()).or_default().insert(uid.clone());
                Known { pod, witnessed, leaving: None }
            }
        };
        self.keep(uid, known, now);
    }

    /// The API server has taken our word for it.
    pub(super) fn mark(&mut self, uid: &str, now: Timestamp, change: impl FnOnce(&mut RunPod)) {
        if let Some(mut known) = self.known.remove(uid) {
            change(&mut known.pod);
            self.keep(uid.to_owned(), known, now);
        }
    }

    /// It is asked to go.
    pub(super) fn ask_to_go(&mut self, uid: &str, now: Timestamp) {
        if let Some(known) = self.known.get_mut(uid) {
            known.leaving.get_or_insert(now);
        }
    }

    fn keep(&mut self, uid: String, mut known: Known, now: Timestamp) {
        if known.pod.deleting {
            known.leaving.get_or_insert(now);
        }
        let open = self.open.entry(known.pod.run.clone()).or_default();
        if known.pod.phase.is_over() {
            open.remove(&uid);
        } else {
            open.insert(uid.clone());
        }
        self.known.insert(uid, known);
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<RunPod> {
        let Known { pod, .. } = self.known.remove(uid)?;
        if let Some(nodes) = self.of.get_mut(&pod.run) {
            if let Some(pods) = nodes.get_mut(&pod.node) {
                pods.remove(uid);
                if pods.is_empty() {
                    nodes.remove(&pod.node);
                }
            }
            if nodes.is_empty() {
                self.of.remove(&pod.run);
            }
        }
        if let Some(open) = self.open.get_mut(&pod.run) {
            open.remove(uid);
            if open.is_empty() {
                self.open.remove(&pod.run);
            }
        }
        Some(pod)
    }
}

fn merge(known: &mut RunPod, news: RunPod) {
    let over = known.phase.is_over();
    if !over {
        known.phase = known.phase.max(news.phase);
        known.waiting = news.waiting;
    }
    known.admitted = known.admitted.or(news.admitted);
    known.started = known.started.or(news.started);
    known.bound = known.bound.take().or(news.bound);
    known.finished = known.finished.or(news.finished);
    known.exit_code = known.exit_code.or(news.exit_code);
    known.reason = known.reason.take().or(news.reason);
    known.deleting |= news.deleting;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::tests::pod;

    #[test]
    fn an_old_event_takes_nothing_back() {
        let now = Timestamp::UNIX_EPOCH;
        let mut pods = Pods::default();
        let at = |phase, deleting| RunPod { phase, deleting, ..pod("1", "a", 0) };
        pods.put(at(PodPhase::Running, false), true, now);
        pods.put(at(PodPhase::Gated, false), true, now);
        assert_eq!(pods.get("uid-1-a-0").unwrap().pod.phase, PodPhase::Running);
        assert_eq!(pods.open("1").count(), 1);
        pods.put(at(PodPhase::Failed, true), true, now);
        pods.put(at(PodPhase::Succeeded, false), true, now);
        let known = pods.get("uid-1-a-0").unwrap();
        assert!(known.pod.phase == PodPhase::Failed && known.pod.deleting && known.leaving == Some(now));
        assert_eq!((pods.open("1").count(), pods.of_node("1", "a").count()), (0, 1));
        assert!(pods.remove("uid-1-a-0").is_some() && pods.of_run("1").next().is_none());
    }
}
