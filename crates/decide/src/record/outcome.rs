//! How the pod ended, and what each witness said of it.

use jobmeter_protocol::{ContainerKind, ContainerRecord, ExitStatus, Outcome, PodPhase, Reason, Stage, Usage};

use super::{Closing, RecordInput};

pub(super) fn of_pod(input: &RecordInput<'_>, containers: &[ContainerRecord], usage: &Usage) -> Outcome {
    let oom_kills = usage.oom_kills.map_or(0, |figure| figure.value);
    let decisive = decisive(containers);
    Outcome {
        reason: reason(input, containers, decisive, oom_kills),
        exit: decisive.and_then(|container| container.exit),
        kernel: (oom_kills > 0).then(|| format!("oom_kill {oom_kills}")),
        runtime: decisive.and_then(|container| container.reason.clone()),
        api: input.api.map(|pod| match &pod.reason {
            Some(reason) => format!("{:?} {reason}", pod.phase),
            None => format!("{:?}", pod.phase),
        }),
    }
}

/// The last run of the container that failed first; else the main container that ended last.
fn decisive(containers: &[ContainerRecord]) -> Option<&ContainerRecord> {
    let last_run = |c: &&ContainerRecord| !containers.iter().any(|other| other.name == c.name && other.attempt > c.attempt);
    let counts = |c: &&ContainerRecord| !matches!(c.kind, Some(ContainerKind::Sidecar | ContainerKind::Ephemeral));
    let ended = containers.iter().filter(counts).filter(last_run).filter(|c| c.exit.is_some());
    let failed =
        ended.clone().filter(|c| c.exit.is_some_and(|exit| !succeeded(exit))).min_by_key(|c| (c.finished.is_none(), c.finished));
    failed.or_else(|| ended.filter(|c| c.kind != Some(ContainerKind::Init)).max_by_key(|c| c.finished))
}

fn reason(input: &RecordInput<'_>, containers: &[ContainerRecord], decisive: Option<&ContainerRecord>, oom_kills: u64) -> Reason {
    let killed = decisive.and_then(|c| c.exit).is_some_and(was_killed);
    if let Some(reason) = input.api.and_then(|pod| pod.reason.as_deref()).and_then(said_by_the_cluster) {
        return reason;
    }
    let phase = input.api.map(|pod| pod.phase);
    if decisive.is_some_and(|c| c.reason.as_deref() == Some("OOMKilled")) || (oom_kills > 0 && killed) {
        return Reason::OOMKilled;
    }
    match phase {
        Some(PodPhase::Succeeded) => return Reason::Completed,
        // A pod that is deleted ends as Failed when its containers obey the signal; that is not an error of the job.
        Some(PodPhase::Failed) if killed && deleted_before_the_end(input, decisive) => return Reason::Deleted,
        Some(PodPhase::Failed) => return Reason::Error,
        _ => {}
    }
    let over = input.api_gone || *input.closing != Closing::Open || input.evidence.is_some_and(|e| e.stage >= Stage::Ended);
    if !over {
        return Reason::Running;
    }
    let ran = !containers.is_empty() || input.evidence.is_some_and(|e| !e.segments.is_empty());
    // Gone without anybody having asked for it while we looked: how it ended is not known.
    let deleted = input.api.is_some_and(|pod| pod.deletion_requested.is_some());
    match decisive.and_then(|c| c.exit) {
        Some(exit) if was_killed(exit) && deleted => Reason::Deleted,
        Some(exit) if !succeeded(exit) => Reason::Error,
        Some(_) if all_ended(containers) => Reason::Completed,
        _ if *input.closing == Closing::Open && !input.api_gone => Reason::Running,
        _ if !ran => Reason::NeverRan,
        _ if deleted => Reason::Deleted,
        _ => Reason::Lost,
    }
}

/// `status.reason` of a pod that the cluster itself ended.
fn said_by_the_cluster(reason: &str) -> Option<Reason> {
    match reason {
        "Evicted" | "Preempting" | "Terminated" | "NodeShutdown" | "TerminationByKubelet" => Some(Reason::Evicted),
        "DeadlineExceeded" => Some(Reason::Deadline),
        "NodeLost" => Some(Reason::Lost),
        _ => None,
    }
}

fn deleted_before_the_end(input: &RecordInput<'_>, decisive: Option<&ContainerRecord>) -> bool {
    let asked = input.api.and_then(|pod| pod.deletion_requested);
    match (asked, decisive.and_then(|c| c.finished)) {
        (Some(asked), Some(finished)) => asked <= finished,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn all_ended(containers: &[ContainerRecord]) -> bool {
    containers.iter().all(|c| c.exit.is_some() || matches!(c.kind, Some(ContainerKind::Sidecar | ContainerKind::Ephemeral)))
}

fn succeeded(exit: ExitStatus) -> bool {
    exit.code == Some(0)
}

/// By SIGKILL or SIGTERM, as the signal itself or as a runtime's or a shell's 128 + n.
fn was_killed(exit: ExitStatus) -> bool {
    matches!(exit.signal, Some(9 | 15)) || matches!(exit.code, Some(137 | 143))
}
