//! A fixed set of records: what a small cluster might have kept of one afternoon.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::{
    ContainerKind, ContainerRecord, ExitStatus, Figure, Gap, Identity, Job, JobState, LivePod, LogRef, LogState, Method, Outcome,
    OwnerRef, ProcessRecord, Quality, Reason, Record, Resources, Times, Usage, VERSION,
};

const MIB: u64 = 1 << 20;

/// `seconds` after a fixed moment.
pub(crate) fn at(seconds: f64) -> Timestamp {
    "2026-11-20T17:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(seconds)
}

pub(crate) fn now() -> Timestamp {
    at(3_600.0)
}

fn owner(kind: &str, name: &str) -> OwnerRef {
    let api_version = if kind == "Pod" { "v1" } else { "batch/v1" };
    OwnerRef { api_version: api_version.into(), kind: kind.into(), name: name.into(), uid: format!("uid-of-{name}") }
}

/// A pod that ran for `elapsed` and completed, every figure from the kernel but the sampled one.
pub(crate) fn record(job: &str, pod: &str, started: f64, elapsed: f64) -> Record {
    // Whole microseconds: what is printed and read again must be the same number.
    let cpu = (elapsed * 1.11e6).round() / 1e6;
    Record {
        version: VERSION,
        identity: Identity {
            cluster: String::new(),
            namespace: "bench".into(),
            pod: pod.into(),
            pod_uid: format!("uid-of-{pod}"),
            job: owner("Job", job),
            owners: vec![owner("Job", job)],
            node: Some("node-a".into()),
            boot_id: Some("boot-1".into()),
            labels: [("team".to_owned(), "storage".to_owned())].into(),
            annotations: Default::default(),
        },
        time: Times {
            created: Some(at(started - 2.0)),
            scheduled: Some(at(started - 1.5)),
            started: Some(at(started)),
            finished: Some(at(started + elapsed)),
            recorded: Some(at(started + elapsed + 0.2)),
            elapsed_seconds: Some(Figure::kernel(elapsed)),
        },
        outcome: Outcome {
            reason: Reason::Completed,
            exit: Some(ExitStatus { code: Some(0), signal: None }),
            kernel: None,
            runtime: None,
            api: Some("Completed".into()),
        },
        usage: Usage {
            cpu_seconds: Some(Figure::kernel(cpu)),
            cpu_user_seconds: Some(Figure::kernel((cpu * 0.75e6).round() / 1e6)),
            cpu_system_seconds: Some(Figure::kernel((cpu * 0.25e6).round() / 1e6)),
            throttled_seconds: Some(Figure::kernel(0.0)),
            throttled_periods: Some(Figure::kernel(0)),
            memory_peak_bytes: Some(Figure::kernel(6 * MIB)),
            rss_peak_bytes: Some(Figure::new(3 * MIB, Method::Sampled)),
            oom_kills: Some(Figure::kernel(0)),
            pids_peak: Some(Figure::kernel(4)),
            cpu_pressure_seconds: Some(Figure::kernel(0.002)),
            ..Usage::default()
        },
        overhead_cpu_seconds: Some(Figure::new(0.012, Method::Derived)),
        resources: Resources {
            cpu_request_millicores: Some(500),
            cpu_limit_millicores: None,
            memory_request_bytes: Some(64 * MIB),
            memory_limit_bytes: Some(128 * MIB),
        },
        containers: vec![container("main", elapsed, started)],
        processes: vec![],
        quality: Quality::Complete { notes: vec![] },
    }
}

fn container(name: &str, elapsed: f64, started: f64) -> ContainerRecord {
    ContainerRecord {
        name: name.into(),
        kind: Some(ContainerKind::Main),
        container_id: format!("id-of-{name}"),
        attempt: 0,
        image: Some("registry.example/sort:1".into()),
        image_id: None,
        started: Some(at(started)),
        finished: Some(at(started + elapsed)),
        exit: Some(ExitStatus { code: Some(0), signal: None }),
        reason: Some("Completed".into()),
        usage: Usage {
            cpu_seconds: Some(Figure::kernel(elapsed)),
            memory_peak_bytes: Some(Figure::kernel(5 * MIB)),
            ..Usage::default()
        },
        resources: Resources::default(),
        log: None,
    }
}

/// 60 ms on a kubelet's node.
pub(crate) fn short() -> Record {
    let mut record = record("sort", "sort-7xk2p", 10.0, 0.06);
    record.containers[0].log = Some(log("bench/sort/sort-7xk2p.log", LogState::Complete));
    record
}

fn log(key: &str, state: LogState) -> LogRef {
    LogRef { state, location: format!("s3://logs/{key}"), bytes: 4_200, lines: 37, sha256: Some("9f".repeat(32)) }
}

/// Killed for lack of memory after a minute and a half, with two containers and processes.
pub(crate) fn killed() -> Record {
    let mut record = record("train", "train-0", 60.0, 92.5);
    record.identity.node = Some("node-b".into());
    record.outcome = Outcome {
        reason: Reason::OOMKilled,
        exit: Some(ExitStatus { code: None, signal: Some(9) }),
        kernel: Some("1 OOM kill".into()),
        runtime: Some("OOMKilled".into()),
        api: Some("OOMKilled".into()),
    };
    record.usage.oom_kills = Some(Figure::kernel(1));
    record.usage.memory_peak_bytes = Some(Figure::kernel(128 * MIB));
    record.usage.rss_peak_bytes = Some(Figure::new(121 * MIB, Method::Sampled));
    record.usage.throttled_seconds = Some(Figure::kernel(0.4));
    record.usage.throttled_periods = Some(Figure::kernel(12));
    record.usage.io_read_bytes = Some(Figure::kernel(400 * MIB));
    record.usage.io_written_bytes = Some(Figure::kernel(0));
    let mut fetch = container("fetch", 3.0, 60.0);
    fetch.kind = Some(ContainerKind::Init);
    let mut main = container("main", 89.0, 63.0);
    main.exit = Some(ExitStatus { code: None, signal: Some(9) });
    record.containers = vec![fetch, main];
    record.processes = vec![
        ProcessRecord {
            pid: 4711,
            command: "python3 train.py --epochs 3".into(),
            container: Some("main".into()),
            cpu_seconds: Figure::new(88.1, Method::Sampled),
            rss_peak_bytes: Some(Figure::kernel(121 * MIB)),
            started: Some(at(63.0)),
            last_seen: at(152.0),
            exit: None,
        },
        ProcessRecord {
            pid: 4720,
            command: "sh -c \u{1b}[31mred".into(),
            container: Some("main".into()),
            cpu_seconds: Figure::new(0.02, Method::Sampled),
            rss_peak_bytes: None,
            started: Some(at(63.0)),
            last_seen: at(63.5),
            exit: None,
        },
    ];
    record.quality = Quality::Complete { notes: vec![Gap::ContainerMissed { container_id: "0123456789abcdef".into() }] };
    record
}

/// Seen in part: the agent came late.
pub(crate) fn partial() -> Record {
    let mut record = record("sort", "sort-9qqqq", 400.0, 7_262.0);
    record.quality = Quality::Partial {
        reason: "the agent was down when the pod ended".into(),
        gaps: vec![Gap::PodMissed { last_reading: Some(at(3_000.0)) }],
    };
    record.outcome.reason = Reason::Error;
    record.outcome.exit = Some(ExitStatus { code: Some(3), signal: None });
    let lost = LogState::Lost { why: "the agent was down when the pod ended".into() };
    record.containers[0].log = Some(LogRef { bytes: 0, lines: 0, sha256: None, ..log("bench/sort/sort-9qqqq.log", lost) });
    record
}

/// On a machine without cgroups.
pub(crate) fn without_cgroups() -> Record {
    let mut record = record("hello", "hello-1", 500.0, 2.5);
    record.identity.namespace = "default".into();
    record.usage = Usage {
        cpu_seconds: Some(Figure::new(1.25, Method::Rusage)),
        rss_peak_bytes: Some(Figure::new(30 * MIB, Method::Rusage)),
        ..Usage::default()
    };
    record.overhead_cpu_seconds = None;
    record.resources = Resources::default();
    record
}

pub(crate) fn never_ran() -> Record {
    let mut record = record("stuck", "stuck-1", 600.0, 0.0);
    record.time = Times { created: Some(at(600.0)), ..Times::default() };
    record.outcome = Outcome { reason: Reason::NeverRan, exit: None, kernel: None, runtime: None, api: Some("Pending".into()) };
    record.usage = Usage::default();
    record.overhead_cpu_seconds = None;
    record.identity.node = None;
    record.containers = vec![];
    record
}

pub(crate) fn records() -> Vec<Record> {
    vec![short(), killed(), partial(), without_cgroups(), never_ran()]
}

pub(crate) fn job(name: &str, state: JobState, records: &[Record]) -> Job {
    let figures = || records.iter().map(|record| record.usage.clone());
    let failed = records.iter().filter(|record| record.outcome.reason != Reason::Completed).count() as u64;
    let mut pods = jobmeter_protocol::job::PodCounts { failed, ..Default::default() };
    pods.completed = records.len() as u64 - failed;
    Job {
        cluster: String::new(),
        namespace: records[0].identity.namespace.clone(),
        owner: owner("Job", name),
        state,
        pods,
        created: records[0].time.created,
        started: records.iter().filter_map(|record| record.time.started).min(),
        finished: records.iter().filter_map(|record| record.time.finished).max(),
        cpu_seconds: figures()
            .filter_map(|usage| usage.cpu_seconds)
            .reduce(|one, other| Figure::new(one.value + other.value, one.method.max(other.method))),
        memory_peak_bytes: figures().filter_map(|usage| usage.memory_peak_bytes).max_by_key(|peak| peak.value),
        rss_peak_bytes: figures().filter_map(|usage| usage.rss_peak_bytes).max_by_key(|peak| peak.value),
        oom_kills: figures().filter_map(|usage| usage.oom_kills).map(|kills| kills.value).sum(),
        resources: records[0].resources,
        partial_records: records.iter().filter(|record| matches!(record.quality, Quality::Partial { .. })).count() as u64,
    }
}

pub(crate) fn live_pod() -> LivePod {
    LivePod {
        pod_uid: "uid-of-sort-live".into(),
        namespace: "bench".into(),
        pod: "sort-live".into(),
        node: "node-a".into(),
        owner: Some(owner("Job", "sort")),
        at: now(),
        started: Some(at(0.0)),
        method: Method::Kernel,
        cpu_ns: 1_500_000_000,
        cpu_cores: Some(0.5),
        memory_bytes: Some(20 * MIB),
        memory_peak_bytes: Some(40 * MIB),
        rss_peak_bytes: Some(16 * MIB),
        processes: 3,
    }
}
