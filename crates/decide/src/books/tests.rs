//! One pod at a time, step by step; then any order, and any moment of a restart.

mod life;
mod properties;
mod restart;
mod standalone;
mod standing;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::{CpuCounters, MemoryCounters, Reading, SegmentId, Stage};

use super::*;
use crate::example;

const UID: &str = example::POD_UID;

fn options() -> Options {
    Options {
        node: "node-a".into(),
        boot_id: "boot".into(),
        scope: Scope::default(),
        local_cgroups: true,
        pace: Pace::default(),
        limits: Limits::default(),
    }
}

fn books() -> Books {
    Books::new(options(), ms(0))
}

fn ms(milliseconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap() + SignedDuration::from_millis(milliseconds)
}

fn segment(boot: &str, inode: u64) -> SegmentId {
    SegmentId { boot_id: boot.into(), cgroup_inode: inode }
}

fn reading(at: i64, cpu_ns: u64, peak: u64) -> Box<Reading> {
    Box::new(Reading {
        at: ms(at),
        cpu: Some(CpuCounters { usage_ns: cpu_ns, ..CpuCounters::default() }),
        memory: Some(MemoryCounters { peak_bytes: Some(peak), ..MemoryCounters::default() }),
        pids_peak: None,
        io: None,
        pressure: None,
    })
}

fn appeared() -> Observation {
    Observation::Appeared { segment: segment("boot", 7), at: ms(10), tree: Tree::Kubelet }
}

fn container_appeared(id: &str, order: u32, at: i64) -> Observation {
    Observation::ContainerAppeared { container_id: id.into(), order, at: Some(ms(at)) }
}

fn container_ended(id: &str, at: i64, own: Option<u64>, pod: u64) -> Observation {
    Observation::ContainerEnded {
        container_id: id.into(),
        at: ms(at),
        container: own.map(|cpu| reading(at, cpu, 3_000)),
        pod: Some(reading(at, pod, 4_000)),
        late: false,
    }
}

fn gone(at: i64, cpu_ns: u64) -> Observation {
    Observation::Gone { segment: segment("boot", 7), reading: Some(reading(at, cpu_ns, 4_000)), at: ms(at) }
}

fn api() -> Observation {
    Observation::Api(Box::new(example::api_pod()))
}

fn feed(books: &mut Books, observations: impl IntoIterator<Item = Observation>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (n, observation) in observations.into_iter().enumerate() {
        steps.extend(books.observe(UID, observation, ms(n as i64)));
    }
    steps
}

fn evidence(books: &Books) -> PodEvidence {
    books.evidence(UID).unwrap().evidence
}

fn report() -> Step {
    Step::Report(UID.into())
}
