//! One entry for each run of each container: what the node saw, named and completed by what the API said.

use jobmeter_protocol::{ApiContainer, ContainerEvidence, ContainerRecord, ExitStatus, PodEvidence, Usage};

use super::{RecordInput, usage};

pub(super) fn of_pod(input: &RecordInput<'_>, pod: &Usage) -> Vec<ContainerRecord> {
    let runs: Vec<ApiRun<'_>> = input.api.map_or(&[][..], |api| &api.containers).iter().flat_map(runs).collect();
    let seen = input.evidence.map_or(&[][..], |evidence| &evidence.containers);
    let mut records: Vec<ContainerRecord> =
        seen.iter().map(|container| from_evidence(container, runs.iter().find(|run| run.id == container.container_id))).collect();
    let missed = runs.iter().filter(|run| seen.iter().all(|container| container.container_id != run.id));
    records.extend(missed.map(from_api));
    if let Some(evidence) = input.evidence {
        fill_the_only_unread(evidence, &mut records, pod);
    }
    records.sort_by(|a, b| {
        (a.started.is_none(), a.started, &a.container_id).cmp(&(b.started.is_none(), b.started, &b.container_id))
    });
    records
}

/// One run of a container as the API tells it.
struct ApiRun<'a> {
    id: &'a str,
    container: &'a ApiContainer,
    attempt: u32,
    started: Option<jiff::Timestamp>,
    finished: Option<jiff::Timestamp>,
    exit: Option<ExitStatus>,
    reason: Option<&'a str>,
}

fn runs(container: &ApiContainer) -> impl Iterator<Item = ApiRun<'_>> {
    let earlier = container.earlier.iter().map(move |run| ApiRun {
        id: &run.container_id,
        container,
        attempt: run.attempt,
        started: run.started,
        finished: run.finished,
        exit: run.exit,
        reason: run.reason.as_deref(),
    });
    let current = container.container_id.as_deref().map(|id| ApiRun {
        id,
        container,
        attempt: container.restart_count,
        started: container.started,
        finished: container.finished,
        exit: container.exit,
        reason: container.reason.as_deref(),
    });
    // A kubelet may name the same ID in both places while it restarts a container.
    let current_id = container.container_id.as_deref();
    earlier.filter(move |run| Some(run.id) != current_id).chain(current)
}

fn from_evidence(container: &ContainerEvidence, run: Option<&ApiRun<'_>>) -> ContainerRecord {
    let api = run.map(|run| run.container);
    ContainerRecord {
        name: api.map(|c| c.name.clone()).or_else(|| container.name.clone()).unwrap_or_default(),
        kind: api.map(|c| c.kind).or(container.kind),
        container_id: container.container_id.clone(),
        attempt: run.map_or(container.attempt, |run| run.attempt),
        image: api.and_then(|c| c.image.clone()),
        image_id: api.and_then(|c| c.image_id.clone()),
        started: container.started.or_else(|| run.and_then(|run| run.started)),
        finished: container.ended.or_else(|| run.and_then(|run| run.finished)),
        exit: run.and_then(|run| run.exit).or(container.exit),
        reason: run.and_then(|run| run.reason.map(str::to_owned)),
        usage: usage::of_container(container),
        resources: api.map(|c| c.resources).unwrap_or_default(),
        log: None,
    }
}

fn from_api(run: &ApiRun<'_>) -> ContainerRecord {
    ContainerRecord {
        name: run.container.name.clone(),
        kind: Some(run.container.kind),
        container_id: run.id.to_owned(),
        attempt: run.attempt,
        image: run.container.image.clone(),
        image_id: run.container.image_id.clone(),
        started: run.started,
        finished: run.finished,
        exit: run.exit,
        reason: run.reason.map(str::to_owned),
        usage: Usage::default(),
        resources: run.container.resources,
        log: None,
    }
}

/// The pod's total is exact, so a single container that went unread can still be told, with the sandbox in it.
fn fill_the_only_unread(evidence: &PodEvidence, records: &mut [ContainerRecord], pod: &Usage) {
    let mut unread = evidence.containers.iter().filter(|c| c.reading.as_ref().is_none_or(|r| r.cpu.is_none()));
    let (Some(container), None) = (unread.next(), unread.next()) else { return };
    // A container that the API names and the node never saw has a share too, and nobody knows which.
    if records.len() != evidence.containers.len() {
        return;
    }
    let Some(record) = records.iter_mut().find(|record| record.container_id == container.container_id) else { return };
    record.usage.cpu_seconds = usage::derived_cpu(evidence, container);
    if records.len() == 1 {
        records[0].usage.memory_peak_bytes = pod
            .memory_peak_bytes
            .map(|peak| jobmeter_protocol::Figure::new(peak.value, peak.method.max(jobmeter_protocol::Method::Derived)));
    }
}
