//! `v1.Pod` → [`RunPod`]. Pure, but for a line in the log where a pod's task cannot be read.
//!
//! In: pods as the API server has them. Out: what node runs have to know of them. Owner: nobody; the watch and every answer of the
//! API server are read by it.

use jiff::Timestamp;
use jobmeter_decide::runs::{PodPhase, RunPod};
use jobmeter_protocol::PoolSlot;
use jobmeter_protocol::pools::{POOL_GATE, SLOT_ANNOTATION};
use jobmeter_protocol::runs::{PodTask, RUN_LABEL, TASK_ANNOTATION};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

mod containers;
mod words;

use containers::Containers;

/// `None`: it is no pod of a run.
pub fn run_pod(pod: &Pod) -> Option<RunPod> {
    let meta = &pod.metadata;
    let run = meta.labels.as_ref()?.get(RUN_LABEL)?;
    let task = task(meta)?;
    let no_spec = PodSpec::default();
    let no_status = PodStatus::default();
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let status = pod.status.as_ref().unwrap_or(&no_status);
    let containers = Containers::of(spec, status);
    let phase = phase(spec, status, &containers);
    let failed = (phase == PodPhase::Failed).then(|| containers.first_failed()).flatten();
    Some(RunPod {
        run: run.clone(),
        node: task.node,
        attempt: task.attempt,
        namespace: meta.namespace.clone()?,
        name: meta.name.clone()?,
        uid: meta.uid.clone()?,
        phase,
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        admitted: if phase == PodPhase::Gated { None } else { admitted(meta) },
        started: containers.started(),
        finished: is_over(phase).then(|| containers.finished().or_else(|| words::last_transition(status))).flatten(),
        exit_code: match phase {
            PodPhase::Succeeded => Some(0),
            _ => failed.map(|failed| failed.exit_code),
        },
        reason: (phase == PodPhase::Failed).then(|| words::reason(status, failed)).flatten(),
        waiting: match phase {
            PodPhase::Pending | PodPhase::Running => words::waiting(status, &containers),
            PodPhase::Gated | PodPhase::Succeeded | PodPhase::Failed => None,
        },
        deleting: meta.deletion_timestamp.is_some(),
        bound: bound(spec).map(str::to_owned),
    })
}

/// Anybody may write the label; what says nothing of a node is none of ours.
fn task(meta: &ObjectMeta) -> Option<PodTask> {
    let text = annotation(meta, TASK_ANNOTATION);
    let problem = match text.map(serde_json::from_str) {
        Some(Ok(task)) => return Some(task),
        Some(Err(err)) => err.to_string(),
        None => "it is not there".to_owned(),
    };
    tracing::warn!(
        namespace = meta.namespace,
        pod = meta.name,
        problem,
        "a pod with the label {RUN_LABEL} is not counted as one of a run: its annotation {TASK_ANNOTATION} cannot be read"
    );
    None
}

fn phase(spec: &PodSpec, status: &PodStatus, containers: &Containers<'_>) -> PodPhase {
    let mut gates = spec.scheduling_gates.iter().flatten();
    match status.phase.as_deref() {
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        _ if bound(spec).is_none() && gates.any(|gate| gate.name == POOL_GATE) => PodPhase::Gated,
        Some("Running") => PodPhase::Running,
        // Kubernetes calls it pending as long as one of its containers waits.
        _ if containers.main_started() => PodPhase::Running,
        _ => PodPhase::Pending,
    }
}

fn is_over(phase: PodPhase) -> bool {
    matches!(phase, PodPhase::Succeeded | PodPhase::Failed)
}

fn bound(spec: &PodSpec) -> Option<&str> {
    spec.node_name.as_deref().filter(|node| !node.is_empty())
}

/// What is no place is none: the pool says so in the log.
fn admitted(meta: &ObjectMeta) -> Option<Timestamp> {
    let slot: PoolSlot = serde_json::from_str(annotation(meta, SLOT_ANNOTATION)?).ok()?;
    Some(slot.given)
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;
