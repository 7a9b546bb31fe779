//! Small, plausible inputs for tests of this crate and of those that build on it (feature `example`).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::{
    ApiContainer, ApiPod, ContainerEvidence, ContainerKind, CpuCounters, ExitStatus, MemoryCounters, Method, OwnerRef,
    PodEvidence, PodPhase, Reading, Resources, RestartPolicy, Sampled, Segment, SegmentId, Stage,
};

pub const POD_UID: &str = "0f5c7b46-7a52-4d0e-9a53-3f1f7a0c9d11";

/// `seconds` after a fixed moment.
pub fn at(seconds: f64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_790_000_000) + SignedDuration::from_secs_f64(seconds)
}

pub fn owner(api_version: &str, kind: &str, name: &str) -> OwnerRef {
    OwnerRef { api_version: api_version.into(), kind: kind.into(), name: name.into(), uid: format!("uid-of-{name}") }
}

pub fn segment_id() -> SegmentId {
    SegmentId { boot_id: "5f3f0f0e-boot".into(), cgroup_inode: 4711 }
}

pub fn reading(seconds: f64, cpu_ns: u64, peak_bytes: u64) -> Reading {
    Reading {
        at: at(seconds),
        cpu: Some(CpuCounters {
            usage_ns: cpu_ns,
            user_ns: Some(cpu_ns / 2),
            system_ns: Some(cpu_ns - cpu_ns / 2),
            ..Default::default()
        }),
        memory: Some(MemoryCounters { peak_bytes: Some(peak_bytes), swap_peak_bytes: None, oom_kills: Some(0) }),
        pids_peak: Some(3),
        io: None,
        pressure: None,
    }
}

/// A pod of a Job that ran one container for 60 ms and succeeded.
pub fn api_pod() -> ApiPod {
    ApiPod {
        uid: POD_UID.into(),
        namespace: "bench".into(),
        name: "sort-7xk2p".into(),
        node: Some("node-a".into()),
        labels: BTreeMap::from([("team".into(), "storage".into())]),
        annotations: BTreeMap::new(),
        owner: Some(owner("batch/v1", "Job", "sort")),
        restart_policy: RestartPolicy::Never,
        phase: PodPhase::Succeeded,
        reason: None,
        created: Some(at(0.0)),
        scheduled: Some(at(0.0)),
        deletion_requested: None,
        containers: vec![api_container("main", "aa", 0)],
    }
}

/// As a kubelet reports it, in whole seconds.
pub fn api_container(name: &str, id: &str, exit_code: i32) -> ApiContainer {
    ApiContainer {
        name: name.into(),
        kind: ContainerKind::Main,
        image: Some("registry.example/sort:1".into()),
        image_id: None,
        container_id: Some(id.into()),
        restart_count: 0,
        resources: Resources {
            cpu_request_millicores: Some(500),
            memory_request_bytes: Some(64 << 20),
            memory_limit_bytes: Some(128 << 20),
            ..Default::default()
        },
        started: Some(at(1.0)),
        finished: Some(at(1.0)),
        exit: Some(ExitStatus { code: Some(exit_code), signal: None }),
        reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.into()),
        earlier: vec![],
    }
}

/// What the node saw of [`api_pod`].
pub fn evidence() -> PodEvidence {
    PodEvidence {
        pod_uid: POD_UID.into(),
        node: "node-a".into(),
        namespace: Some("bench".into()),
        pod: Some("sort-7xk2p".into()),
        stage: Stage::Final,
        segments: vec![Segment {
            id: segment_id(),
            method: Method::Kernel,
            first_seen: at(0.5),
            reading: reading(1.2, 66_700_000, 3_560_000),
        }],
        containers: vec![container("aa", Some("main"), 1.10, 1.16, Some(42_000_000))],
        processes: vec![],
        sampled: Sampled::default(),
        gaps: vec![],
    }
}

pub fn container(id: &str, name: Option<&str>, started: f64, ended: f64, cpu_ns: Option<u64>) -> ContainerEvidence {
    ContainerEvidence {
        container_id: id.into(),
        name: name.map(str::to_owned),
        kind: name.map(|_| ContainerKind::Main),
        attempt: 0,
        segment: segment_id(),
        method: Method::Kernel,
        started: Some(at(started)),
        ended: Some(at(ended)),
        exit: None,
        reading: cpu_ns.map(|ns| reading(ended, ns, 3_000_000)),
        sampled: Sampled::default(),
    }
}
