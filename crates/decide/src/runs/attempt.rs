//! One attempt of one node: what its pod's state, its deadlines and its result make of it, and whether it is tried again.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{NodeRun, NodeRunState};

use super::alarms::Alarm;
use super::flights::{doubled, later};
use super::{PodPhase, RunPod, Runs, StepKey};

/// So long a result may come after its pod's end.
pub(super) const RESULT_PATIENCE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_RETRY_DELAY: SignedDuration = SignedDuration::from_mins(10);
/// `reason` of a node whose pod ended well and posted nothing: a result that comes after all makes it right.
pub(super) const NO_RESULT: &str = "NoResult";

/// Why an attempt failed.
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) reason: Option<String>,
    pub(super) again: bool,
}

impl Failure {
    pub(super) fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), reason: None, again: true }
    }

    pub(super) fn for_good(why: impl Into<String>) -> Self {
        Self { again: false, ..Self::of(why) }
    }

    pub(super) fn no_result() -> Self {
        Self { reason: Some(NO_RESULT.to_owned()), ..Self::of("it ended well without having posted a result") }
    }

    fn deleted() -> Self {
        Self::of("its pod was deleted")
    }
}

/// Its latest attempt is over, and it is to be tried again.
pub(super) fn retries(node: &NodeRun) -> bool {
    node.state == NodeRunState::Waiting && node.retry_at.is_some()
}

/// Its pod ended well, and its result is awaited.
pub(super) fn awaits_result(node: &NodeRun) -> bool {
    node.state == NodeRunState::Running && node.finished.is_some()
}

impl Runs {
    /// Every change of a node: its alarm and its pods follow.
    pub(super) fn change_node(&mut self, run: &str, node: &str, now: Timestamp, change: impl FnOnce(&mut NodeRun)) {
        if self.book.change_node(run, node, change) {
            self.follow(run, node, now);
        }
    }

    pub(super) fn follow(&mut self, run: &str, node: &str, now: Timestamp) {
        self.look.pods.extend(self.pods.of_node(run, node).cloned());
        let at = self.book.get(run).and_then(|kept| kept.node(node).and_then(|node| self.due(kept, node, now)));
        self.alarms.set(Alarm::Node { run: run.to_owned(), node: node.to_owned() }, at);
    }

    pub(super) fn fail(&mut self, run: &str, name: &str, failure: Failure, now: Timestamp) {
        let Some(kept) = self.book.get(run) else { return };
        let Some(node) = kept.node(name) else { return };
        let settings = &kept.settings;
        let again = failure.again && !kept.run.stopping && node.attempt < settings.retries && self.nodes.has(name);
        let delay = doubled(settings.retry_delay, node.attempt, LONGEST_RETRY_DELAY);
        self.change_node(run, name, now, |node| {
            node.finished.get_or_insert(now);
            node.reason = failure.reason.or(node.reason.take());
            if again {
                node.state = NodeRunState::Waiting;
                node.why = Some(format!("attempt {} failed: {}; it is tried again", node.attempt + 1, failure.why));
                node.retry_at = Some(later(now, delay));
            } else {
                node.state = NodeRunState::Failed;
                node.why = Some(failure.why);
                node.retry_at = None;
            }
        });
    }

    /// It never ran, and it will not.
    pub(super) fn skip(&mut self, run: &str, name: &str, why: &str, now: Timestamp) {
        let made = self.book.get(run).and_then(|kept| kept.node(name)).is_some_and(|node| node.state == NodeRunState::Queued);
        let mut free = None;
        self.change_node(run, name, now, |node| {
            node.state = NodeRunState::Skipped;
            node.why = Some(why.to_owned());
            // The name of a pod that was made is kept: it is not given a second time.
            if !made && node.attempt == 0 {
                free = Some(std::mem::take(&mut node.pod));
            }
        });
        if let Some(pod) = free {
            self.book.change(run, |kept| kept.names.give_back(&pod));
        }
    }

    /// The node itself is not there any more.
    pub(super) fn lose_node(&mut self, run: &str, name: &str, now: Timestamp) {
        let Some(node) = self.book.get(run).filter(|kept| kept.is_active()).and_then(|kept| kept.node(name)) else { return };
        let gone = format!("node {name} is gone");
        match node.state {
            NodeRunState::Waiting if retries(node) => {
                let why = format!("{}; but {gone}", node.why.as_deref().unwrap_or_default());
                self.fail(run, name, Failure::for_good(why), now);
            }
            NodeRunState::Waiting => self.skip(run, name, &gone, now),
            NodeRunState::Running if awaits_result(node) => {}
            NodeRunState::Queued | NodeRunState::Starting | NodeRunState::Running => {
                self.fail(run, name, Failure::for_good(gone), now);
            }
            _ => {}
        }
        // Its pods hold up nobody any more.
        self.follow(run, name, now);
    }

    /// Something is known of a pod.
    pub(super) fn heed(&mut self, uid: &str, now: Timestamp) {
        self.look.pods.insert(uid.to_owned());
        let Some(pod) = self.pods.get(uid).map(|known| known.pod.clone()) else { return };
        let Some(node) = self.book.get(&pod.run).and_then(|kept| kept.node(&pod.node)) else { return };
        if !is_current(node, &pod) {
            return;
        }
        let leaves = pod.deleting && !pod.phase.is_over();
        let (run, name) = (pod.run.clone(), pod.node.clone());
        self.change_node(&run, &name, now, |node| take_over(node, &pod, now));
        match pod.phase {
            _ if leaves => self.fail(&run, &name, self.why_gone(&name), now),
            PodPhase::Succeeded => self.ended_well(&run, &name, now),
            PodPhase::Failed => self.fail(&run, &name, Failure::of(said(&pod)), now),
            PodPhase::Gated | PodPhase::Pending | PodPhase::Running => {}
        }
    }

    fn ended_well(&mut self, run: &str, name: &str, now: Timestamp) {
        let Some(kept) = self.book.get(run) else { return };
        let missing = kept.settings.result_required && kept.node(name).is_some_and(|node| node.reported.is_none());
        if missing {
            self.book.change(run, |kept| {
                kept.awaiting.entry(name.to_owned()).or_insert(later(now, RESULT_PATIENCE));
            });
        }
        self.change_node(run, name, now, |node| {
            node.finished.get_or_insert(now);
            if missing {
                node.why = Some("it ended well; its result is awaited".to_owned());
            } else {
                (node.state, node.why) = (NodeRunState::Succeeded, None);
            }
        });
        self.follow(run, name, now);
    }

    /// A pod is not there any more. `name` is that of the pod.
    pub(super) fn lose_pod(&mut self, uid: &str, now: Timestamp) {
        self.alarms.set(Alarm::Doubt(uid.to_owned()), None);
        let Some(pod) = self.pods.remove(uid) else { return };
        for step in [StepKey::Delete { uid: uid.to_owned() }, StepKey::Bind { uid: uid.to_owned() }] {
            self.flights.came_to_something(&step);
            self.alarms.set(Alarm::Step(step), None);
        }
        let Some(node) = self.book.get(&pod.run).and_then(|kept| kept.node(&pod.node)) else { return };
        // It may have been all that kept its node from joining.
        self.look.newcomers |= node.state == NodeRunState::Skipped;
        let (run, name) = (pod.run.clone(), pod.node.clone());
        if is_current(node, &pod) && !awaits_result(node) {
            self.change_node(&run, &name, now, |node| {
                node.pod_uid.get_or_insert(pod.uid);
            });
            self.fail(&run, &name, self.why_gone(&name), now);
        }
        self.follow(&run, &name, now);
    }

    pub(super) fn why_gone(&self, node: &str) -> Failure {
        if self.nodes.has(node) { Failure::deleted() } else { Failure::for_good(format!("node {node} is gone")) }
    }
}

/// It is the pod of the attempt that goes on.
pub(super) fn is_current(node: &NodeRun, pod: &RunPod) -> bool {
    let same = node.attempt == pod.attempt && node.pod == pod.name;
    let uid = node.pod_uid.as_ref().is_none_or(|uid| *uid == pod.uid);
    same && uid && !node.state.is_over() && !retries(node)
}

fn take_over(node: &mut NodeRun, pod: &RunPod, now: Timestamp) {
    node.pod_uid = Some(pod.uid.clone());
    node.created.get_or_insert(pod.created);
    if awaits_result(node) {
        return;
    }
    if pod.phase > PodPhase::Gated {
        node.admitted = node.admitted.or(pod.admitted).or(Some(now));
    }
    node.started = node.started.or(pod.started).or((pod.phase == PodPhase::Running).then_some(now));
    (node.state, node.why) = match pod.phase {
        PodPhase::Gated => (NodeRunState::Queued, None),
        PodPhase::Pending => (NodeRunState::Starting, pod.waiting.clone()),
        PodPhase::Running | PodPhase::Succeeded | PodPhase::Failed => (NodeRunState::Running, pod.waiting.clone()),
    };
    if pod.phase.is_over() {
        node.finished = pod.finished.or(Some(now));
        node.exit_code = pod.exit_code;
        node.reason.clone_from(&pod.reason);
    }
}

/// How a pod failed.
fn said(pod: &RunPod) -> String {
    match (&pod.reason, pod.exit_code) {
        (Some(reason), Some(code)) => format!("its pod failed: {reason}, exit code {code}"),
        (Some(reason), None) => format!("its pod failed: {reason}"),
        (None, Some(code)) => format!("its pod failed with exit code {code}"),
        (None, None) => "its pod failed".to_owned(),
    }
}
