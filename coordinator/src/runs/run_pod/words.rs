//! Why a pod waits or failed, in the words of Kubernetes.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, PodStatus};

use super::containers::Containers;

/// A message may hold whole URLs, or a line for each of a thousand nodes.
const MOST_CHARACTERS: usize = 300;
/// What every pod waits for in the beginning.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What happened to the pod (`Evicted`, `DeadlineExceeded`, `OutOfcpu`, `DeletionByTaintManager`) is the cause of what its
/// containers ended by.
pub(super) fn reason(status: &PodStatus, failed: Option<&ContainerStateTerminated>) -> Option<String> {
    let disrupted = status.conditions.iter().flatten().find(|condition| condition.type_ == "DisruptionTarget");
    let disrupted = disrupted.filter(|condition| condition.status == "True").and_then(|condition| condition.reason.as_deref());
    let container = failed.and_then(|failed| failed.reason.as_deref());
    let mut reasons = [status.reason.as_deref(), disrupted, container].into_iter().flatten();
    reasons.find(|reason| !reason.is_empty()).map(str::to_owned)
}

/// A container that cannot start, else the scheduler's words, else what is usual.
pub(super) fn waiting(status: &PodStatus, containers: &Containers<'_>) -> Option<String> {
    let usual = |(reason, _): &(&str, &str)| USUAL.contains(reason);
    let (reason, message) = containers
        .waiting()
        .find(|waiting| !usual(waiting))
        .or_else(|| unscheduled(status))
        .or_else(|| containers.waiting().find(usual))?;
    let text = if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    Some(cut(text))
}

fn unscheduled(status: &PodStatus) -> Option<(&str, &str)> {
    let mut conditions = status.conditions.iter().flatten();
    let scheduled = conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let reason = scheduled.reason.as_deref().filter(|reason| !reason.is_empty())?;
    Some((reason, scheduled.message.as_deref().unwrap_or_default()))
}

/// As near as is known, of a pod that failed though no container of it ran.
pub(super) fn last_transition(status: &PodStatus) -> Option<Timestamp> {
    let conditions = status.conditions.iter().flatten();
    conditions.filter_map(|condition| Some(condition.last_transition_time.as_ref()?.0)).max()
}

fn cut(text: String) -> String {
    if text.chars().count() <= MOST_CHARACTERS {
        return text;
    }
    text.chars().take(MOST_CHARACTERS - 1).chain(['…']).collect()
}
