use jiff::Timestamp;
use jobmeter_protocol::{Method, SegmentId, Stage};
use proptest::prelude::*;

use super::*;

fn at() -> impl Strategy<Value = Timestamp> {
    (0i64..50).prop_map(|s| Timestamp::from_second(1_700_000_000 + s).unwrap())
}

fn reading() -> impl Strategy<Value = Reading> {
    (at(), prop::option::of(0u64..9), prop::option::of(0u64..9), prop::option::of(0u64..3)).prop_map(|(at, cpu, peak, oom)| {
        Reading {
            at,
            cpu: cpu.map(|usage_ns| CpuCounters { usage_ns, ..Default::default() }),
            memory: peak.map(|peak| MemoryCounters { peak_bytes: Some(peak), oom_kills: oom, ..Default::default() }),
            pids_peak: oom,
            io: None,
            pressure: None,
        }
    })
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::Kernel, Method::Rusage, Method::Sampled])
}

fn segment_id() -> impl Strategy<Value = SegmentId> {
    (0u64..3).prop_map(|cgroup_inode| SegmentId { boot_id: "boot".into(), cgroup_inode })
}

fn segment() -> impl Strategy<Value = Segment> {
    (segment_id(), method(), at(), reading()).prop_map(|(id, method, first_seen, reading)| Segment {
        id,
        method,
        first_seen,
        reading,
    })
}

fn container() -> impl Strategy<Value = ContainerEvidence> {
    (0u8..4, segment_id(), method(), prop::option::of(at()), prop::option::of(reading())).prop_map(
        |(id, segment, method, ended, reading)| ContainerEvidence {
            container_id: format!("c{id}"),
            name: ended.map(|_| "main".into()),
            kind: None,
            attempt: 0,
            segment,
            method,
            started: ended,
            ended,
            exit: None,
            reading,
            sampled: Sampled::default(),
        },
    )
}

fn process() -> impl Strategy<Value = ProcessEvidence> {
    (0i32..60, 0u64..40, at()).prop_map(|(pid, cpu_ns, last_seen)| ProcessEvidence {
        pid,
        start_ticks: 7,
        command: "sh".into(),
        container_id: None,
        cpu_ns,
        hwm_bytes: None,
        started: None,
        last_seen,
        exit: None,
    })
}

fn evidence() -> impl Strategy<Value = PodEvidence> {
    (
        prop::sample::select(vec![Stage::Running, Stage::Ended, Stage::Final]),
        prop::collection::vec(segment(), 0..4),
        prop::collection::vec(container(), 0..5),
        prop::collection::vec(process(), 0..80),
        prop::option::of(Just("ns".to_owned())),
    )
        .prop_map(|(stage, segments, containers, processes, namespace)| {
            let mut evidence = empty();
            // Joining into the empty evidence brings arbitrary lists into normal form.
            join(&mut evidence, &PodEvidence { stage, segments, containers, processes, namespace, ..empty() });
            evidence
        })
}

fn empty() -> PodEvidence {
    PodEvidence {
        pod_uid: "uid".into(),
        node: "node-a".into(),
        namespace: None,
        pod: None,
        stage: Stage::Running,
        segments: vec![],
        containers: vec![],
        processes: vec![],
        sampled: Sampled::default(),
        gaps: vec![],
    }
}

/// More runs than are kept, of which three such pieces have some in common: a stretch of all runs there ever were. What
/// is known of each run differs from piece to piece; when it started does not, and of some nobody saw it.
fn restarted_for_ever() -> impl Strategy<Value = PodEvidence> {
    (0..MAX_CONTAINERS, 1..2 * MAX_CONTAINERS, at(), 1..20_usize).prop_map(|(first, count, at, every)| {
        let run = |n: usize| {
            let started = Timestamp::from_second(1_600_000_000 + (n / 3) as i64).unwrap();
            ContainerEvidence {
                // Not in the order of their starts, as in life.
                container_id: format!("c{:04}", n * 7_919 % 10_007),
                name: None,
                kind: None,
                attempt: 0,
                segment: SegmentId { boot_id: "boot".into(), cgroup_inode: 1 },
                method: Method::Kernel,
                started: (!n.is_multiple_of(50)).then_some(started),
                ended: n.is_multiple_of(every).then_some(at),
                exit: None,
                reading: None,
                sampled: Sampled::default(),
            }
        };
        let mut evidence = empty();
        join(&mut evidence, &PodEvidence { containers: (first..first + count).map(run).collect(), ..empty() });
        evidence
    })
}

fn joined(a: &PodEvidence, b: &PodEvidence) -> PodEvidence {
    let mut out = a.clone();
    join(&mut out, b);
    out
}

proptest! {
    #[test]
    fn order_of_arrival_does_not_matter(a in evidence(), b in evidence(), c in evidence()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
    }

    #[test]
    fn a_repeated_report_teaches_nothing(a in evidence(), b in evidence()) {
        let mut both = joined(&a, &b);
        prop_assert!(!join(&mut both, &a));
        prop_assert!(!join(&mut both, &b));
    }

    #[test]
    fn counters_never_go_back(a in evidence(), b in evidence()) {
        let both = joined(&a, &b);
        for segment in &a.segments {
            let after = both.segments.iter().find(|s| s.id == segment.id).unwrap();
            prop_assert!(after.reading.cpu.map(|c| c.usage_ns) >= segment.reading.cpu.map(|c| c.usage_ns));
        }
        prop_assert!(both.stage >= a.stage);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_cut_does_not_depend_on_the_order_of_arrival(
        a in restarted_for_ever(), b in restarted_for_ever(), c in restarted_for_ever(),
    ) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        let both = joined(&joined(&a, &b), &c);
        prop_assert_eq!(&both, &joined(&a, &joined(&b, &c)));
        for piece in [&a, &b, &c] {
            prop_assert!(!join(&mut both.clone(), piece), "a repeated report teaches nothing");
        }
    }
}

#[test]
fn a_container_that_is_restarted_for_ever_does_not_grow_its_evidence_for_ever() {
    let mut all = empty();
    let run = |n: usize| {
        let mut container = crate::example::container(&format!("c{n}"), None, n as f64, n as f64 + 1.0, None);
        container.attempt = n as u32;
        PodEvidence { containers: vec![container], ..empty() }
    };
    for n in 0..MAX_CONTAINERS + 10 {
        join(&mut all, &run(n));
    }
    assert_eq!(all.containers.len(), MAX_CONTAINERS);
    assert_eq!(all.containers.iter().map(|container| container.attempt).min(), Some(10), "the newest stay");
    assert!(!join(&mut all, &run(3)), "an old report does not bring an old run back");
}

#[test]
fn evidence_about_another_pod_teaches_nothing() {
    let mut mine = empty();
    let other = PodEvidence { pod_uid: "other".into(), stage: Stage::Final, ..empty() };
    assert!(!join(&mut mine, &other));
    assert_eq!(mine, empty());
}
