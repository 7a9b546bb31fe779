use jiff::Timestamp;
use jobmeter_protocol::{ExitStatus, Figure, Identity, Outcome, OwnerRef, Quality, Reason, Resources, Times, Usage, VERSION};
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

/// A pod that completed, on a kernel that tells everything.
fn pod(elapsed: f64, cpu: f64, peak: u64, rss: u64, resources: Resources) -> Record {
    let job = OwnerRef { api_version: "batch/v1".into(), kind: "Job".into(), name: "sort".into(), uid: "u".into() };
    Record {
        version: VERSION,
        identity: Identity {
            cluster: String::new(),
            namespace: "bench".into(),
            pod: "sort-1".into(),
            pod_uid: "p".into(),
            job,
            owners: vec![],
            node: None,
            boot_id: None,
            labels: Default::default(),
            annotations: Default::default(),
        },
        time: Times { started: Some(Timestamp::UNIX_EPOCH), elapsed_seconds: Some(Figure::kernel(elapsed)), ..Times::default() },
        outcome: Outcome {
            reason: Reason::Completed,
            exit: Some(ExitStatus { code: Some(0), signal: None }),
            kernel: None,
            runtime: None,
            api: None,
        },
        usage: Usage {
            cpu_seconds: Some(Figure::kernel(cpu)),
            memory_peak_bytes: Some(Figure::kernel(peak)),
            rss_peak_bytes: Some(Figure::new(rss, Method::Sampled)),
            oom_kills: Some(Figure::kernel(0)),
            throttled_seconds: Some(Figure::kernel(0.0)),
            ..Usage::default()
        },
        overhead_cpu_seconds: None,
        resources,
        containers: vec![],
        processes: vec![],
        quality: Quality::Complete { notes: vec![] },
    }
}

fn asked(cpu: u64, memory: u64, limit: u64) -> Resources {
    Resources {
        cpu_request_millicores: Some(cpu),
        cpu_limit_millicores: None,
        memory_request_bytes: Some(memory * MIB),
        memory_limit_bytes: Some(limit * MIB),
    }
}

#[test]
fn a_job_that_asked_for_too_much_is_told_less_with_a_margin_over_the_watermark() {
    let advice = advise(&[pod(120.0, 24.0, 400 * MIB, 380 * MIB, asked(2000, 2048, 4096))]);
    assert_eq!(advice.memory.request, Proposal::Lower { from: 2048 * MIB, to: 464 * MIB });
    assert_eq!(advice.memory.limit_at_least, Some(464 * MIB));
    assert_eq!(advice.memory.why, MemoryWhy::Watermark { peak_bytes: 400 * MIB });
    assert_eq!(advice.cpu.request, Proposal::Lower { from: 2000, to: 250 });
    assert_eq!(advice.cautions, []);
}

#[test]
fn a_50_ms_job_gets_its_memory_from_the_watermark_and_no_guess_at_its_cores() {
    let advice = advise(&[pod(0.05, 0.0667, 6 * MIB, 3 * MIB, asked(500, 64, 128))]);
    assert_eq!(advice.memory.request, Proposal::Lower { from: 64 * MIB, to: 16 * MIB });
    assert_eq!(advice.cpu.request, Proposal::Keep { now: 500 });
    assert_eq!(advice.cpu.why, CpuWhy::TooShort { elapsed_seconds: 0.05 });
    assert_eq!(advice.cautions, [Caution::ShortRun { elapsed_seconds: 0.05 }]);
}

#[test]
fn an_oom_kill_raises_past_the_limit_because_the_need_was_never_seen() {
    let mut killed = pod(9.0, 3.0, 128 * MIB, 100 * MIB, asked(500, 64, 128));
    killed.usage.oom_kills = Some(Figure::kernel(1));
    killed.outcome.reason = Reason::OOMKilled;
    let advice = advise(&[killed]);
    assert_eq!(advice.memory.request, Proposal::Raise { from: 64 * MIB, to: 192 * MIB });
    assert_eq!(advice.memory.limit_at_least, Some(192 * MIB));
    assert_eq!(advice.cautions, [Caution::EndedEarly]);
}

#[test]
fn page_cache_that_fills_the_limit_does_not_drive_the_request_up_for_ever() {
    let advice = advise(&[pod(600.0, 60.0, 1024 * MIB, 100 * MIB, asked(100, 1024, 1024))]);
    assert_eq!(advice.memory.why, MemoryWhy::PageCache { peak_bytes: 1024 * MIB, rss_bytes: 100 * MIB });
    assert_eq!(advice.memory.request, Proposal::Lower { from: 1024 * MIB, to: 144 * MIB });
    assert_eq!(advice.memory.limit_at_least, Some(1024 * MIB));
    assert_eq!(advice.cautions, [Caution::LowerBound { what: What::Rss, method: Method::Sampled }]);
}

#[test]
fn a_short_burst_is_not_mistaken_for_page_cache() {
    let advice = advise(&[pod(2.0, 1.0, 400 * MIB, 20 * MIB, asked(500, 512, 512))]);
    assert_eq!(advice.memory.why, MemoryWhy::Watermark { peak_bytes: 400 * MIB });
    assert_eq!(advice.memory.request, Proposal::Keep { now: 512 * MIB });
}

#[test]
fn a_run_seen_in_part_or_cut_short_lowers_nothing() {
    let mut partial = pod(120.0, 12.0, 40 * MIB, 40 * MIB, asked(1000, 1024, 2048));
    partial.quality = Quality::Partial { reason: "agent was down".into(), gaps: vec![] };
    let advice = advise(&[partial]);
    assert_eq!(advice.memory.request, Proposal::Keep { now: 1024 * MIB });
    assert_eq!(advice.cpu.request, Proposal::Keep { now: 1000 });
    assert_eq!(advice.cautions, [Caution::Partial { records: 1 }]);

    let mut failed = pod(120.0, 12.0, 40 * MIB, 40 * MIB, asked(1000, 1024, 2048));
    failed.outcome.reason = Reason::Error;
    let advice = advise(&[failed]);
    assert_eq!(advice.memory.request, Proposal::Keep { now: 1024 * MIB });
    assert_eq!(advice.cautions, [Caution::EndedEarly]);
}

#[test]
fn throttling_asks_for_a_higher_limit_and_never_for_a_smaller_request() {
    let mut throttled = pod(100.0, 50.0, 40 * MIB, 40 * MIB, asked(1000, 40, 80));
    throttled.resources.cpu_limit_millicores = Some(500);
    throttled.usage.throttled_seconds = Some(Figure::kernel(30.0));
    let advice = advise(&[throttled]);
    assert_eq!(advice.cpu.request, Proposal::Keep { now: 1000 });
    assert_eq!(advice.cpu.limit_at_least, Some(750));
    assert!(matches!(advice.cpu.why, CpuWhy::Throttled { .. }));
}

#[test]
fn figures_without_cgroups_get_a_wider_margin_and_say_that_they_are_lower_bounds() {
    let mut plain = pod(20.0, 10.0, 0, 0, Resources::default());
    plain.usage.memory_peak_bytes = None;
    plain.usage.cpu_seconds = Some(Figure::new(10.0, Method::Rusage));
    plain.usage.rss_peak_bytes = Some(Figure::new(100 * MIB, Method::Rusage));
    let advice = advise(&[plain]);
    assert_eq!(advice.memory.request, Proposal::Set { to: 144 * MIB });
    assert_eq!(advice.memory.why, MemoryWhy::LargestSeen { bytes: 100 * MIB });
    assert_eq!(advice.cpu.request, Proposal::Set { to: 550 });
    assert_eq!(
        advice.cautions,
        [
            Caution::LowerBound { what: What::Cpu, method: Method::Rusage },
            Caution::LowerBound { what: What::Memory, method: Method::Rusage },
        ]
    );
}

#[test]
fn a_pod_that_never_ran_gets_no_advice() {
    let mut never = pod(1.0, 0.0, 0, 0, Resources::default());
    never.usage = Usage::default();
    never.time.elapsed_seconds = None;
    for advice in [advise(&[never]), advise(&[])] {
        assert_eq!((advice.memory.request, advice.cpu.request), (Proposal::Nothing, Proposal::Nothing));
        assert_eq!((advice.memory.why, advice.cpu.why), (MemoryWhy::NotMeasured, CpuWhy::NotMeasured));
    }
}

#[test]
fn requests_are_per_pod_so_the_largest_pod_counts() {
    let small = pod(60.0, 6.0, 40 * MIB, 40 * MIB, asked(100, 64, 64));
    let large = pod(60.0, 54.0, 300 * MIB, 290 * MIB, asked(100, 64, 512));
    let advice = advise(&[small.clone(), large, small]);
    assert_eq!(advice.memory.request.outcome(), Some(352 * MIB));
    assert_eq!(advice.cpu.request, Proposal::Raise { from: 100, to: 1000 });
}

fn any_pod() -> impl Strategy<Value = Record> {
    let method = || prop::sample::select(vec![Method::Kernel, Method::Derived, Method::Rusage, Method::Sampled]);
    let bytes = || prop_oneof![0..1u64 << 34, Just(u64::MAX), Just(0)];
    let asked =
        (prop::option::of(0..200_000u64), prop::option::of(0..200_000u64), prop::option::of(bytes()), prop::option::of(bytes()));
    let figures =
        (prop::option::of((0.0..1e6f64, method())), prop::option::of((bytes(), method())), prop::option::of((bytes(), method())));
    (prop::option::of(0.0..1e6f64), figures, asked, 0..3u64, any::<bool>(), any::<bool>(), 0.0..1e6f64).prop_map(
        |(elapsed, (cpu, peak, rss), asked, kills, partial, failed, throttled)| {
            let resources = Resources {
                cpu_request_millicores: asked.0,
                cpu_limit_millicores: asked.1,
                memory_request_bytes: asked.2,
                memory_limit_bytes: asked.3,
            };
            let mut pod = pod(1.0, 0.0, 0, 0, resources);
            pod.time.elapsed_seconds = elapsed.map(Figure::kernel);
            pod.usage.cpu_seconds = cpu.map(|(value, method)| Figure::new(value, method));
            pod.usage.memory_peak_bytes = peak.map(|(value, method)| Figure::new(value, method));
            pod.usage.rss_peak_bytes = rss.map(|(value, method)| Figure::new(value, method));
            pod.usage.oom_kills = Some(Figure::kernel(kills));
            pod.usage.throttled_seconds = Some(Figure::kernel(throttled));
            if partial {
                pod.quality = Quality::Partial { reason: "x".into(), gaps: vec![] };
            }
            if failed {
                pod.outcome.reason = Reason::Error;
            }
            pod
        },
    )
}

proptest! {
    /// The three promises at the top of the module.
    #[test]
    fn no_advice_is_below_what_was_seen(pods in prop::collection::vec(any_pod(), 0..5)) {
        let advice = advise(&pods);
        let peak = pods.iter().filter_map(|pod| Some(pod.usage.memory_peak_bytes?.value)).max().unwrap_or(0);
        let rss = pods.iter().filter_map(|pod| Some(pod.usage.rss_peak_bytes?.value)).max().unwrap_or(0);
        if let Some(request) = advice.memory.request.outcome() {
            prop_assert!(request >= rss, "{advice:?}");
            prop_assert!(request >= peak || matches!(advice.memory.why, MemoryWhy::PageCache { .. }), "{advice:?}");
        }
        prop_assert!(advice.memory.limit_at_least.is_none_or(|limit| limit >= peak.max(rss)), "{advice:?}");
        let cores = Seen::of(&pods).cores.unwrap_or(0.0);
        if let (Some(request), true) = (advice.cpu.request.outcome(), cores > 0.0) {
            prop_assert!(request as f64 >= cores * 1000.0 - 1e-5, "{advice:?}");
        }
        let whole = pods.iter().all(|pod| !matches!(pod.quality, Quality::Partial { .. }));
        if !whole {
            let lowered = [advice.memory.request, advice.cpu.request].iter().any(|proposal| matches!(proposal, Proposal::Lower { .. }));
            prop_assert!(!lowered, "{advice:?}");
        }
    }
}
