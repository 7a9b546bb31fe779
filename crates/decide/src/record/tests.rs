use jobmeter_protocol::{ApiContainer, ContainerKind, ExitStatus, Gap, PodPhase, Quality, Reason, RestartPolicy, Stage};

use super::*;
use crate::example;

fn input<'a>(
    api: Option<&'a ApiPod>,
    evidence: Option<&'a PodEvidence>,
    closing: &'a Closing,
    kept: &'a KeptMetadata,
) -> RecordInput<'a> {
    RecordInput { cluster: "", api, api_gone: false, owners: &[], evidence, recorded: example::at(2.0), closing, kept }
}

fn record(api: Option<&ApiPod>, evidence: Option<&PodEvidence>, closing: &Closing) -> Record {
    assemble(&input(api, evidence, closing, &KeptMetadata::default()))
}

fn exit(code: i32) -> Option<ExitStatus> {
    Some(ExitStatus { code: Some(code), signal: None })
}

#[test]
fn a_job_of_60_ms_gets_an_exact_record() {
    let record = record(Some(&example::api_pod()), Some(&example::evidence()), &Closing::Closed);
    assert_eq!(record.usage.cpu_seconds, Some(Figure::kernel(0.0667)));
    assert_eq!(record.usage.memory_peak_bytes, Some(Figure::kernel(3_560_000)));
    assert_eq!(record.usage.rss_peak_bytes, None, "nobody looked in 60 ms, so nothing is claimed");
    assert_eq!(record.outcome.reason, Reason::Completed);
    assert_eq!(record.quality, Quality::Complete { notes: vec![] });
    assert_eq!(record.identity.job.name, "sort");
    assert_eq!(record.time.elapsed_seconds.map(|f| (f.method, (f.value * 1e3).round())), Some((Method::Kernel, 60.0)));
    assert_eq!(record.overhead_cpu_seconds.map(|f| (f.method, (f.value * 1e6).round())), Some((Method::Derived, 24_700.0)));
}

#[test]
fn the_only_container_that_went_unread_is_derived_from_the_pod() {
    let mut evidence = example::evidence();
    evidence.containers.push(example::container("bb", None, 1.2, 1.3, None));
    let mut api = example::api_pod();
    api.containers.push(example::api_container("helper", "bb", 0));
    let record = record(Some(&api), Some(&evidence), &Closing::Closed);
    let helper = record.containers.iter().find(|c| c.name == "helper").unwrap();
    let figure = helper.usage.cpu_seconds.unwrap();
    assert_eq!((figure.method, (figure.value * 1e6).round()), (Method::Derived, 24_700.0));
    assert_eq!(record.overhead_cpu_seconds, None, "the sandbox cannot be told apart any more");
}

#[test]
fn two_unread_containers_are_not_guessed() {
    let mut evidence = example::evidence();
    evidence.containers = vec![example::container("aa", None, 1.0, 1.1, None), example::container("bb", None, 1.0, 1.1, None)];
    let record = record(Some(&example::api_pod()), Some(&evidence), &Closing::Closed);
    assert!(record.containers.iter().all(|c| c.usage.cpu_seconds.is_none()));
    assert_eq!(record.usage.cpu_seconds, Some(Figure::kernel(0.0667)), "the pod's total does not suffer");
    assert!(matches!(record.quality, Quality::Complete { .. }));
}

#[test]
fn a_pod_that_the_api_forgot_keeps_the_name_the_node_knew() {
    let record = record(None, Some(&example::evidence()), &Closing::Closed);
    assert_eq!((record.identity.namespace.as_str(), record.identity.pod.as_str()), ("bench", "sort-7xk2p"));
    assert_eq!(record.identity.job.kind, "Pod");
}

#[test]
fn a_pod_that_no_agent_saw_gets_a_partial_record_with_the_reason() {
    let why = Closing::GivenUp("no agent runs on node-a".into());
    let record = record(Some(&example::api_pod()), None, &why);
    assert_eq!(record.quality, Quality::Partial { reason: "no agent runs on node-a".into(), gaps: vec![] });
    assert_eq!(record.outcome.reason, Reason::Completed, "the API did see how it ended");
    assert_eq!(record.usage.cpu_seconds, None);
    assert_eq!(record.time.elapsed_seconds.map(|f| f.method), Some(Method::Sampled));
}

#[test]
fn a_pod_that_was_never_scheduled_never_ran() {
    let mut api = example::api_pod();
    (api.phase, api.node, api.scheduled) = (PodPhase::Pending, None, None);
    api.containers[0] =
        ApiContainer { container_id: None, started: None, finished: None, exit: None, reason: None, ..api.containers[0].clone() };
    let closing = Closing::GivenUp("it was never scheduled".into());
    let kept = KeptMetadata::default();
    let record = assemble(&RecordInput { api_gone: true, ..input(Some(&api), None, &closing, &kept) });
    assert_eq!(record.outcome.reason, Reason::NeverRan);
    assert!(record.containers.is_empty());
}

#[test]
fn a_pod_that_never_ran_is_not_called_complete() {
    let mut api = example::api_pod();
    (api.phase, api.node, api.scheduled, api.containers) = (PodPhase::Pending, None, None, vec![]);
    let kept = KeptMetadata::default();
    let record = assemble(&RecordInput { api_gone: true, ..input(Some(&api), None, &Closing::Closed, &kept) });
    assert_eq!(record.outcome.reason, Reason::NeverRan);
    assert!(matches!(record.quality, Quality::Partial { reason, .. } if reason.contains("ever started")));
}

#[test]
fn an_oom_kill_is_known_from_the_kernel_when_the_api_only_says_error() {
    let mut api = example::api_pod();
    api.phase = PodPhase::Failed;
    api.containers[0].exit = exit(137);
    api.containers[0].reason = Some("Error".into());
    let mut evidence = example::evidence();
    evidence.segments[0].reading.memory.as_mut().unwrap().oom_kills = Some(1);
    let record = record(Some(&api), Some(&evidence), &Closing::Closed);
    assert_eq!(record.outcome.reason, Reason::OOMKilled);
    assert_eq!(record.outcome.kernel.as_deref(), Some("oom_kill 1"));
    assert_eq!(record.outcome.runtime.as_deref(), Some("Error"));
}

#[test]
fn v1_oom_kills_of_containers_count_for_the_pod() {
    let mut evidence = example::evidence();
    evidence.containers[0].reading.as_mut().unwrap().memory.as_mut().unwrap().oom_kills = Some(2);
    let record = record(None, Some(&evidence), &Closing::Closed);
    assert_eq!(record.usage.oom_kills, Some(Figure::new(2, Method::Derived)));
}

#[test]
fn a_pod_deleted_while_it_ran_was_deleted_and_did_not_fail() {
    let mut api = example::api_pod();
    api.phase = PodPhase::Failed;
    api.deletion_requested = Some(example::at(0.9));
    api.containers[0].exit = exit(143);
    assert_eq!(record(Some(&api), Some(&example::evidence()), &Closing::Closed).outcome.reason, Reason::Deleted);
    api.deletion_requested = Some(example::at(60.0));
    assert_eq!(record(Some(&api), Some(&example::evidence()), &Closing::Closed).outcome.reason, Reason::Error);
}

#[test]
fn a_completed_pod_that_is_cleaned_up_later_stays_completed() {
    let mut api = example::api_pod();
    api.deletion_requested = Some(example::at(100.0));
    let (closing, kept, evidence) = (Closing::Closed, KeptMetadata::default(), example::evidence());
    let record = assemble(&RecordInput { api_gone: true, ..input(Some(&api), Some(&evidence), &closing, &kept) });
    assert_eq!(record.outcome.reason, Reason::Completed);
}

#[test]
fn two_lives_of_a_pod_cgroup_are_added_and_the_reboot_makes_it_partial() {
    let mut evidence = example::evidence();
    let mut second = evidence.segments[0].clone();
    second.id.boot_id = "another-boot".into();
    evidence.segments.push(second);
    evidence.gaps.push(Gap::Rebooted { boot_id: "5f3f0f0e-boot".into() });
    let record = record(None, Some(&evidence), &Closing::Closed);
    assert_eq!(record.usage.cpu_seconds, Some(Figure::kernel(0.1334)));
    assert_eq!(record.usage.memory_peak_bytes, Some(Figure::kernel(3_560_000)));
    assert!(matches!(record.quality, Quality::Partial { .. }));
}

#[test]
fn the_weakest_method_labels_the_sum() {
    let mut evidence = example::evidence();
    let mut second = evidence.segments[0].clone();
    second.id.cgroup_inode = 0;
    second.method = Method::Rusage;
    evidence.segments.push(second);
    assert_eq!(record(None, Some(&evidence), &Closing::Closed).usage.cpu_seconds.unwrap().method, Method::Rusage);
}

#[test]
fn each_run_of_a_restarted_container_is_an_entry_of_its_own() {
    let mut api = example::api_pod();
    api.restart_policy = RestartPolicy::OnFailure;
    let container = &mut api.containers[0];
    container.restart_count = 1;
    container.container_id = Some("bb".into());
    container.earlier = vec![jobmeter_protocol::api_pod::EarlierRun {
        container_id: "aa".into(),
        attempt: 0,
        started: Some(example::at(1.0)),
        finished: Some(example::at(1.0)),
        exit: exit(1),
        reason: Some("Error".into()),
    }];
    let mut evidence = example::evidence();
    evidence.containers.push(example::container("bb", Some("main"), 2.0, 2.1, Some(1_000_000)));
    let record = record(Some(&api), Some(&evidence), &Closing::Closed);
    let runs: Vec<_> = record.containers.iter().map(|c| (c.name.as_str(), c.attempt, c.exit)).collect();
    assert_eq!(runs, [("main", 0, exit(1)), ("main", 1, exit(0))]);
    assert_eq!(record.outcome.reason, Reason::Completed, "an earlier attempt does not decide");
    assert_eq!(record.outcome.exit, exit(0));
}

#[test]
fn a_failed_init_container_decides() {
    let mut api = example::api_pod();
    api.phase = PodPhase::Failed;
    api.containers = vec![example::api_container("prepare", "aa", 3)];
    api.containers[0].kind = ContainerKind::Init;
    let record = record(Some(&api), Some(&example::evidence()), &Closing::Closed);
    assert_eq!((record.outcome.reason, record.outcome.exit), (Reason::Error, exit(3)));
}

#[test]
fn a_live_pod_is_provisional_and_running() {
    let mut api = example::api_pod();
    api.phase = PodPhase::Running;
    (api.containers[0].exit, api.containers[0].finished) = (None, None);
    let mut evidence = example::evidence();
    evidence.stage = Stage::Running;
    evidence.containers[0].ended = None;
    let record = record(Some(&api), Some(&evidence), &Closing::Open);
    assert_eq!((record.outcome.reason, record.quality), (Reason::Running, Quality::Provisional));
    assert_eq!(record.time.finished, None);
}

#[test]
fn requests_are_counted_as_the_scheduler_counts_them() {
    let mut api = example::api_pod();
    let mut init = example::api_container("prepare", "ii", 0);
    init.kind = ContainerKind::Init;
    init.resources.memory_request_bytes = Some(1 << 30);
    api.containers.insert(0, init);
    api.containers.push(example::api_container("second", "bb", 0));
    api.containers[2].resources.memory_limit_bytes = None;
    let resources = record(Some(&api), None, &Closing::Open).resources;
    assert_eq!(resources.cpu_request_millicores, Some(1000));
    assert_eq!(resources.memory_request_bytes, Some(1 << 30));
    assert_eq!(resources.memory_limit_bytes, None, "one container is not limited, so the pod is not");
}

#[test]
fn an_eviction_keeps_its_name() {
    let mut api = example::api_pod();
    (api.phase, api.reason) = (PodPhase::Failed, Some("Evicted".into()));
    api.containers[0].exit = exit(137);
    assert_eq!(record(Some(&api), Some(&example::evidence()), &Closing::Closed).outcome.reason, Reason::Evicted);
}

#[test]
fn user_and_system_time_that_were_counted_by_the_tick_are_scaled_to_the_exact_total() {
    let mut evidence = example::evidence();
    let cpu = evidence.segments[0].reading.cpu.as_mut().unwrap();
    (cpu.usage_ns, cpu.user_ns, cpu.system_ns) = (10_000_000, Some(12_000_000), Some(4_000_000));
    let usage = record(None, Some(&evidence), &Closing::Closed).usage;
    assert_eq!(usage.cpu_seconds, Some(Figure::kernel(0.010)));
    assert_eq!(usage.cpu_user_seconds, Some(Figure::new(0.0075, Method::Derived)));
    assert_eq!(usage.cpu_system_seconds, Some(Figure::new(0.0025, Method::Derived)));
    let cpu = evidence.segments[0].reading.cpu.as_mut().unwrap();
    (cpu.user_ns, cpu.system_ns) = (Some(0), Some(0));
    let usage = record(None, Some(&evidence), &Closing::Closed).usage;
    assert_eq!((usage.cpu_user_seconds, usage.cpu_system_seconds), (None, None), "no tick fell into it: nothing is known");
}

#[test]
fn throttling_of_containers_counts_for_the_pod_whose_own_quota_never_ran_out() {
    let mut evidence = example::evidence();
    evidence.segments[0].reading.cpu.as_mut().unwrap().throttled_ns = Some(0);
    evidence.containers[0].reading.as_mut().unwrap().cpu.as_mut().unwrap().throttled_ns = Some(180_000_000);
    let usage = record(None, Some(&evidence), &Closing::Closed).usage;
    assert_eq!(usage.throttled_seconds, Some(Figure::new(0.18, Method::Derived)));
}

#[test]
fn a_sample_that_saw_nothing_claims_nothing() {
    let mut evidence = example::evidence();
    evidence.sampled = jobmeter_protocol::Sampled { samples: 1, anon_shmem_peak_bytes: Some(0), ..Default::default() };
    assert_eq!(record(None, Some(&evidence), &Closing::Closed).usage.rss_peak_bytes, None);
}

#[test]
fn a_pod_that_vanished_unseen_has_no_invented_end() {
    let mut api = example::api_pod();
    api.phase = PodPhase::Running;
    (api.containers[0].exit, api.containers[0].finished, api.containers[0].reason) = (None, None, None);
    let (closing, kept, mut evidence) = (Closing::Closed, KeptMetadata::default(), example::evidence());
    evidence.containers[0].ended = None;
    let record = assemble(&RecordInput { api_gone: true, ..input(Some(&api), Some(&evidence), &closing, &kept) });
    assert_eq!(record.outcome.reason, Reason::Lost, "nobody asked for its deletion");
    assert_eq!((record.time.finished, record.time.elapsed_seconds), (None, None));
    assert!(matches!(record.quality, Quality::Partial { .. }));
    assert!(record.usage.cpu_seconds.is_some(), "its figures are kept");
}

#[test]
fn a_container_that_was_there_before_its_agent_takes_its_start_from_the_api() {
    let mut evidence = example::evidence();
    evidence.containers[0].started = None;
    let record = record(Some(&example::api_pod()), Some(&evidence), &Closing::Closed);
    assert_eq!(record.time.started, Some(example::at(1.0)));
    assert_eq!(record.time.elapsed_seconds.map(|figure| figure.method), Some(Method::Sampled));
}
