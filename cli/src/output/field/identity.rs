//! Who, where, when, and how it ended.

use std::collections::BTreeSet;

use jobmeter_protocol::{ContainerKind, ExitStatus, JobState, Method, OwnerRef, Quality, Reason, Record};

use super::Field;
use crate::output::row::weakest;
use crate::output::{Cell, Row, Value};

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "JobID",
        header: "ID",
        key: "id",
        aliases: &[],
        about: "what `jobmeter eff` takes for this line: the job's name, or the pod's",
        is_number: false,
        needs_pods: false,
        get: |row, _| match row {
            Row::Pod(record) => Value::text(&record.identity.pod),
            Row::Job { job, .. } => Value::text(&job.owner.name),
        },
    },
    Field {
        name: "JobName",
        header: "JOB",
        key: "job",
        aliases: &[],
        about: "name of the job: the top of the owner chain",
        is_number: false,
        needs_pods: false,
        get: |row, _| Value::text(&owner(row).name),
    },
    Field {
        name: "Kind",
        header: "KIND",
        key: "kind",
        aliases: &[],
        about: "kind of the job's object: Job, CronJob, Pod …",
        is_number: false,
        needs_pods: false,
        get: |row, _| Value::text(&owner(row).kind),
    },
    Field {
        name: "Pod",
        header: "POD",
        key: "pod",
        aliases: &["PodName"],
        about: "name of the pod; of a job with one pod, that pod's",
        is_number: false,
        needs_pods: true,
        get: |row, _| match row.records() {
            [only] => Value::text(&only.identity.pod),
            _ => Value::ABSENT,
        },
    },
    Field {
        name: "Namespace",
        header: "NAMESPACE",
        key: "namespace",
        aliases: &["Account"],
        about: "namespace",
        is_number: false,
        needs_pods: false,
        get: |row, _| match row {
            Row::Pod(record) => Value::text(&record.identity.namespace),
            Row::Job { job, .. } => Value::text(&job.namespace),
        },
    },
    Field {
        name: "Cluster",
        header: "CLUSTER",
        key: "cluster",
        aliases: &[],
        about: "cluster, where a name is configured",
        is_number: false,
        needs_pods: false,
        get: |row, _| match row {
            Row::Pod(record) => Value::text(&record.identity.cluster),
            Row::Job { job, .. } => Value::text(&job.cluster),
        },
    },
    Field {
        name: "UID",
        header: "UID",
        key: "uid",
        aliases: &["JobIDRaw", "PodUID"],
        about: "UID of the pod, or of the job's object",
        is_number: false,
        needs_pods: false,
        get: |row, _| match row {
            Row::Pod(record) => Value::text(&record.identity.pod_uid),
            Row::Job { job, .. } => Value::text(&job.owner.uid),
        },
    },
    Field {
        name: "Pods",
        header: "PODS",
        key: "pods",
        aliases: &["NTasks"],
        about: "pods that completed / all pods",
        is_number: true,
        needs_pods: false,
        get: |row, _| match row {
            Row::Pod(record) => Value::text(format!("{}/1", u8::from(record.outcome.reason == Reason::Completed))),
            Row::Job { job, .. } => {
                let pods = &job.pods;
                Value::text(format!("{}/{}", pods.completed, pods.pending + pods.running + pods.completed + pods.failed))
            }
        },
    },
    Field {
        name: "State",
        header: "STATE",
        key: "state",
        aliases: &["Reason"],
        about: "of a job: Pending Running Completed Failed Deleted; of a pod also the reason: Error OOMKilled Evicted …",
        is_number: false,
        needs_pods: false,
        get: |row, _| Value::text(state(row)),
    },
    Field {
        name: "ExitCode",
        header: "EXIT",
        key: "exit_code",
        aliases: &["DerivedExitCode"],
        about: "exit code:signal of the container that decided; of a job, of its first pod that failed",
        is_number: true,
        needs_pods: true,
        get: |row, _| {
            Value::of(row.pods().deciding().and_then(|record| record.outcome.exit), |exit| Cell::Text(code_and_signal(exit)))
        },
    },
    Field {
        name: "NodeList",
        header: "NODE",
        key: "node",
        aliases: &["Nodes"],
        about: "the nodes it ran on",
        is_number: false,
        needs_pods: true,
        get: |row, _| {
            let nodes: Vec<&str> = row.pods().nodes().into_iter().collect();
            if nodes.is_empty() { Value::ABSENT } else { Value::text(nodes.join(",")) }
        },
    },
    Field {
        name: "Image",
        header: "IMAGE",
        key: "image",
        aliases: &["Images"],
        about: "images of the main containers",
        is_number: false,
        needs_pods: true,
        get: |row, _| {
            let images: BTreeSet<&str> = row.records().iter().flat_map(main_images).collect();
            if images.is_empty() { Value::ABSENT } else { Value::text(images.into_iter().collect::<Vec<_>>().join(",")) }
        },
    },
    Field {
        name: "Submit",
        header: "CREATED",
        key: "created",
        aliases: &[],
        about: "when it was created",
        is_number: false,
        needs_pods: false,
        get: |row, _| match row {
            Row::Pod(record) => Value::of(record.time.created, Cell::Moment),
            Row::Job { job, .. } => Value::of(job.created, Cell::Moment),
        },
    },
    Field {
        name: "Start",
        header: "STARTED",
        key: "started",
        aliases: &[],
        about: "when its first container started",
        is_number: false,
        needs_pods: false,
        get: |row, _| Value::of(row.started(), Cell::Moment),
    },
    Field {
        name: "End",
        header: "FINISHED",
        key: "finished",
        aliases: &[],
        about: "when it ended",
        is_number: false,
        needs_pods: false,
        get: |row, _| Value::of(row.finished(), Cell::Moment),
    },
    Field {
        name: "Elapsed",
        header: "ELAPSED",
        key: "elapsed_seconds",
        aliases: &["ElapsedRaw"],
        about: "time from its start to its end, or until now",
        is_number: true,
        needs_pods: false,
        get: |row, now| {
            let (elapsed, method) = row.elapsed(now);
            Value { method, ..Value::of(elapsed, Cell::Elapsed) }
        },
    },
    Field {
        name: "Method",
        header: "METHOD",
        key: "method",
        aliases: &[],
        about: "the weakest method behind CPU and memory peak: kernel, derived, rusage, sampled",
        is_number: false,
        needs_pods: false,
        get: |row, _| {
            let methods = [row.cpu().map(|cpu| cpu.method), row.memory_peak().map(|peak| peak.method)];
            method(weakest(methods.into_iter().flatten()))
        },
    },
    Field {
        name: "CPUMethod",
        header: "CPU-METHOD",
        key: "cpu_method",
        aliases: &[],
        about: "method behind TotalCPU",
        is_number: false,
        needs_pods: false,
        get: |row, _| method(row.cpu().map(|cpu| cpu.method)),
    },
    Field {
        name: "MemMethod",
        header: "MEM-METHOD",
        key: "memory_method",
        aliases: &[],
        about: "method behind MemPeak",
        is_number: false,
        needs_pods: false,
        get: |row, _| method(row.memory_peak().map(|peak| peak.method)),
    },
    Field {
        name: "RSSMethod",
        header: "RSS-METHOD",
        key: "rss_method",
        aliases: &[],
        about: "method behind MaxRSS",
        is_number: false,
        needs_pods: false,
        get: |row, _| method(row.rss_peak().map(|peak| peak.method)),
    },
    Field {
        name: "Quality",
        header: "QUALITY",
        key: "quality",
        aliases: &[],
        about: "complete, provisional, or partial with the reason",
        is_number: false,
        needs_pods: false,
        get: |row, _| Value::text(quality(row)),
    },
];

fn owner(row: &Row) -> &OwnerRef {
    match row {
        Row::Pod(record) => &record.identity.job,
        Row::Job { job, .. } => &job.owner,
    }
}

fn state(row: &Row) -> &'static str {
    match row {
        Row::Pod(record) => record.outcome.reason.as_str(),
        Row::Job { job, .. } => match job.state {
            JobState::Pending => "Pending",
            JobState::Running => "Running",
            JobState::Completed => "Completed",
            JobState::Failed => "Failed",
            JobState::Deleted => "Deleted",
        },
    }
}

/// sacct's form: `3:0` for exit code 3, `0:9` for a kill.
pub(super) fn code_and_signal(exit: ExitStatus) -> String {
    format!("{}:{}", exit.code.unwrap_or(0), exit.signal.unwrap_or(0))
}

fn main_images(record: &Record) -> impl Iterator<Item = &str> {
    let is_main = |kind: Option<ContainerKind>| matches!(kind, None | Some(ContainerKind::Main));
    record.containers.iter().filter(move |container| is_main(container.kind)).filter_map(|container| container.image.as_deref())
}

fn method(method: Option<Method>) -> Value {
    Value::of(method, |method| Cell::Text(method.as_str().to_owned()))
}

fn quality(row: &Row) -> String {
    match row {
        Row::Pod(record) => match &record.quality {
            Quality::Provisional => "provisional".to_owned(),
            Quality::Complete { .. } => "complete".to_owned(),
            Quality::Partial { reason, .. } => format!("partial: {reason}"),
        },
        Row::Job { job, .. } if job.partial_records > 0 => format!("partial: {} of its records", job.partial_records),
        Row::Job { job, .. } if matches!(job.state, JobState::Pending | JobState::Running) => "provisional".to_owned(),
        Row::Job { .. } => "complete".to_owned(),
    }
}
