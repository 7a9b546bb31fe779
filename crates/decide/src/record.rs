//! Writes the record of a pod from what the API said, what the node's kernel said, and how far the books are closed.

mod containers;
mod outcome;
mod quality;
mod usage;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jobmeter_protocol::{
    ApiPod, Figure, Identity, Method, OwnerRef, PodEvidence, ProcessRecord, Record, Resources, Times, VERSION,
};

/// All that a record is made of. The same input always makes the same record.
#[derive(Clone, Copy, Debug)]
pub struct RecordInput<'a> {
    pub cluster: &'a str,
    pub api: Option<&'a ApiPod>,
    /// The API server has deleted the pod's object.
    pub api_gone: bool,
    /// From the pod's direct owner to the top; may be shorter than the truth where the cluster did not let us look.
    pub owners: &'a [OwnerRef],
    pub evidence: Option<&'a PodEvidence>,
    /// When this is written.
    pub recorded: Timestamp,
    pub closing: &'a Closing,
    pub kept: &'a KeptMetadata,
}

/// Whether anything may still come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    Open,
    /// The node sent its final evidence.
    Closed,
    /// Nobody will tell any more; the sentence says why.
    GivenUp(String),
}

/// Labels and annotations to keep in records, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMetadata {
    pub labels: Keep,
    pub annotations: Keep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    All,
    Only(BTreeSet<String>),
}

impl Default for KeptMetadata {
    /// Annotations may be large and may hold what nobody meant to keep for months.
    fn default() -> Self {
        Self { labels: Keep::All, annotations: Keep::Only(BTreeSet::new()) }
    }
}

impl Keep {
    pub fn keeps(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(keys) => keys.contains(key),
        }
    }
}

pub fn assemble(input: &RecordInput<'_>) -> Record {
    let usage = input.evidence.map(usage::of_pod).unwrap_or_default();
    let containers = containers::of_pod(input, &usage);
    let time = times(input, &containers);
    let outcome = outcome::of_pod(input, &containers, &usage);
    let overhead_cpu_seconds = input.evidence.and_then(usage::overhead_cpu_seconds);
    Record {
        version: VERSION,
        identity: identity(input),
        quality: quality::of_record(input, &outcome, &time, &usage),
        time,
        outcome,
        overhead_cpu_seconds,
        resources: input.api.map(resources).unwrap_or_default(),
        processes: processes(input.evidence, &containers),
        containers,
        usage,
    }
}

fn identity(input: &RecordInput<'_>) -> Identity {
    let evidence = input.evidence;
    let pod_uid = input.api.map(|pod| pod.uid.clone()).or(evidence.map(|e| e.pod_uid.clone())).unwrap_or_default();
    let namespace = input.api.map(|pod| pod.namespace.clone()).or(evidence.and_then(|e| e.namespace.clone())).unwrap_or_default();
    let pod = input.api.map(|pod| pod.name.clone()).or(evidence.and_then(|e| e.pod.clone())).unwrap_or_default();
    let itself = OwnerRef { api_version: "v1".into(), kind: "Pod".into(), name: pod.clone(), uid: pod_uid.clone() };
    let direct = input.api.and_then(|pod| pod.owner.as_ref());
    let kept = |pairs: &std::collections::BTreeMap<String, String>, keep: &Keep| {
        pairs.iter().filter(|(key, _)| keep.keeps(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    Identity {
        cluster: input.cluster.to_owned(),
        namespace,
        pod,
        pod_uid,
        job: input.owners.last().or(direct).cloned().unwrap_or(itself),
        owners: if input.owners.is_empty() { direct.cloned().into_iter().collect() } else { input.owners.to_vec() },
        node: evidence.map(|e| e.node.clone()).or_else(|| input.api.and_then(|pod| pod.node.clone())),
        boot_id: evidence.and_then(|e| e.segments.last()).map(|segment| segment.id.boot_id.clone()),
        labels: input.api.map(|pod| kept(&pod.labels, &input.kept.labels)).unwrap_or_default(),
        annotations: input.api.map(|pod| kept(&pod.annotations, &input.kept.annotations)).unwrap_or_default(),
    }
}

/// The node's clock to the nanosecond where it saw both ends; else the API's whole seconds, and the method says so.
fn times(input: &RecordInput<'_>, containers: &[jobmeter_protocol::ContainerRecord]) -> Times {
    let seen = input.evidence.map_or(&[][..], |e| &e.containers);
    let node_start = seen.iter().filter_map(|c| c.started).min();
    let node_end = if seen.iter().all(|c| c.ended.is_some()) { seen.iter().filter_map(|c| c.ended).max() } else { None };
    let started = node_start.or_else(|| containers.iter().filter_map(|c| c.started).min());
    let all_ended = !containers.is_empty() && containers.iter().all(|c| c.finished.is_some());
    let finished = node_end.or_else(|| if all_ended { containers.iter().filter_map(|c| c.finished).max() } else { None });
    let method = if node_start.is_some() && node_end.is_some() { Method::Kernel } else { Method::Sampled };
    let elapsed = started.zip(finished).map(|(from, to)| from.duration_until(to).as_secs_f64().max(0.0));
    Times {
        created: input.api.and_then(|pod| pod.created),
        scheduled: input.api.and_then(|pod| pod.scheduled),
        started,
        finished,
        recorded: Some(input.recorded),
        elapsed_seconds: elapsed.map(|seconds| Figure::new(seconds, method)),
    }
}

/// What the scheduler reserves: the sum of the containers that run together, or the largest init container if that is more.
fn resources(pod: &ApiPod) -> Resources {
    use jobmeter_protocol::ContainerKind::{Init, Main, Sidecar};
    let total = |pick: fn(&Resources) -> Option<u64>| {
        let together = pod.containers.iter().filter(|c| matches!(c.kind, Main | Sidecar)).filter_map(|c| pick(&c.resources));
        let alone = pod.containers.iter().filter(|c| c.kind == Init).filter_map(|c| pick(&c.resources)).max();
        together.fold(None, |sum, value| Some(sum.unwrap_or(0) + value)).max(alone)
    };
    // A pod is limited only where each of its containers is.
    let limited = |pick: fn(&Resources) -> Option<u64>| {
        pod.containers.iter().filter(|c| matches!(c.kind, Main | Sidecar)).all(|c| pick(&c.resources).is_some())
    };
    Resources {
        cpu_request_millicores: total(|r| r.cpu_request_millicores),
        cpu_limit_millicores: total(|r| r.cpu_limit_millicores).filter(|_| limited(|r| r.cpu_limit_millicores)),
        memory_request_bytes: total(|r| r.memory_request_bytes),
        memory_limit_bytes: total(|r| r.memory_limit_bytes).filter(|_| limited(|r| r.memory_limit_bytes)),
    }
}

fn processes(evidence: Option<&PodEvidence>, containers: &[jobmeter_protocol::ContainerRecord]) -> Vec<ProcessRecord> {
    let name = |id: &String| containers.iter().find(|c| c.container_id == *id && !c.name.is_empty()).map(|c| c.name.clone());
    let mut processes: Vec<_> = evidence.map_or(&[][..], |e| &e.processes).iter().collect();
    processes.sort_by(|a, b| b.cpu_ns.cmp(&a.cpu_ns).then(a.pid.cmp(&b.pid)));
    processes
        .into_iter()
        .map(|process| ProcessRecord {
            pid: process.pid,
            command: process.command.clone(),
            container: process.container_id.as_ref().and_then(name),
            cpu_seconds: Figure::new(usage::seconds(process.cpu_ns), Method::Sampled),
            rss_peak_bytes: process.hwm_bytes.map(|bytes| Figure::new(bytes, Method::Sampled)),
            started: process.started,
            last_seen: process.last_seen,
            exit: process.exit,
        })
        .collect()
}

#[cfg(test)]
mod tests;
