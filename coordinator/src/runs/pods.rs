//! The pods of runs as they were last seen, for the one question when a log is to be saved.
//!
//! In: observations, changes, steps. Out: pods that have ended and whose definition asks for their logs. Owner: the runs task.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use jobmeter_decide::runs::{Answer, Observation, RunPod, Step};
use jobmeter_protocol::runs::RunChange;

use super::mirror::Mirror;
use super::pod_logs::Ended;
use super::reports::ReportDirectory;

/// What ended so short before the term began may have been left undone by the one before.
const LEFT: SignedDuration = SignedDuration::from_mins(10);

pub(super) struct Pods {
    began: Timestamp,
    listed: bool,
    /// By UID.
    known: HashMap<String, RunPod>,
}

impl Pods {
    pub(super) fn new(began: Timestamp) -> Self {
        Self { began, listed: false, known: HashMap::new() }
    }

    /// Returns pods whose logs the term before may not have saved.
    pub(super) fn observe(&mut self, what: &Observation, mirror: &Mirror) -> Vec<Ended> {
        match what {
            Observation::PodsListed(pods) => {
                self.known = pods.iter().map(|pod| (pod.uid.clone(), pod.clone())).collect();
                if !std::mem::replace(&mut self.listed, true) {
                    return pods.iter().filter_map(|pod| self.left(pod, mirror)).collect();
                }
            }
            Observation::Pod(pod) | Observation::Answered { answer: Answer::Made(pod), .. } => {
                self.known.insert(pod.uid.clone(), (**pod).clone());
            }
            Observation::PodGone { uid, .. } => {
                self.known.remove(uid);
            }
            _ => {}
        }
        Vec::new()
    }

    /// The pod that has ended with that change: its node is done with, or has gone on to another attempt.
    pub(super) fn ended(&self, change: &RunChange, mirror: &Mirror) -> Option<Ended> {
        let RunChange::Node { run, node } = change else { return None };
        let before = mirror.node(run, &node.node).filter(|before| !before.state.is_over())?;
        let uid = if before.attempt < node.attempt {
            before.pod_uid.as_ref()
        } else {
            node.pod_uid.as_ref().filter(|_| node.state.is_over())
        };
        ended(self.known.get(uid?)?, mirror)
    }

    /// The pod that the step deletes.
    pub(super) fn deleted(&self, step: &Step, mirror: &Mirror) -> Option<Ended> {
        let Step::Delete { uid, .. } = step else { return None };
        ended(self.known.get(uid)?, mirror)
    }

    fn left(&self, pod: &RunPod, mirror: &Mirror) -> Option<Ended> {
        let finished = mirror.node(&pod.run, &pod.node).filter(|node| node.state.is_over())?.finished?;
        (self.began.duration_since(finished) <= LEFT).then(|| ended(pod, mirror)).flatten()
    }
}

/// Anybody may write our label onto a pod of another namespace; it is none of the run's. `None`: nothing is left.
pub(super) fn without_strangers(what: Observation, mirror: &Mirror) -> Option<Observation> {
    let runs = mirror.runs();
    let is_ours = |pod: &RunPod| runs.get(&pod.run).is_none_or(|run| run.settings.namespace == pod.namespace);
    match what {
        Observation::Pod(pod) => is_ours(&pod).then_some(Observation::Pod(pod)),
        Observation::PodsListed(mut pods) => {
            pods.retain(is_ours);
            Some(Observation::PodsListed(pods))
        }
        what => Some(what),
    }
}

/// A pod of which nothing ever ran has no log. The node that it names becomes part of a path, so it must be one of the run's.
fn ended(pod: &RunPod, mirror: &Mirror) -> Option<Ended> {
    let run = mirror.runs().get(&pod.run).filter(|run| run.nodes.contains_key(&pod.node))?;
    let settings = &run.settings;
    let wanted = settings.save_pod_log && pod.started.is_some();
    wanted.then(|| Ended { pod: pod.clone(), reports: ReportDirectory::of(settings, &pod.run) })
}
