//! The books of one pod, whatever the order in which news of it come.

use jobmeter_decide::chase::Missing;
use jobmeter_decide::example;
use jobmeter_protocol::{PodPhase, Quality, Reason, Times};
use proptest::prelude::*;

use super::*;

fn assembly() -> Assembly {
    Assembly { cluster: "test".to_owned(), ..Assembly::default() }
}

fn chain() -> Option<Vec<OwnerRef>> {
    Some(vec![example::owner("batch/v1", "Job", "sort"), example::owner("batch/v1", "CronJob", "nightly")])
}

fn api(phase: PodPhase) -> PodChange {
    let mut pod = example::api_pod();
    pod.phase = phase;
    PodChange::Api { pod: Box::new(pod), owners: chain() }
}

fn evidence(stage: Stage) -> PodChange {
    PodChange::Evidence(Box::new(PodEvidence { stage, ..example::evidence() }))
}

/// Applied one after the other, a second apart.
fn after(changes: impl IntoIterator<Item = PodChange>) -> (Option<StoredPod>, Vec<AppliedPod>) {
    let mut pod = None;
    let mut told = Vec::new();
    for (index, change) in changes.into_iter().enumerate() {
        if let Some(outcome) = apply(example::POD_UID, pod.clone(), change, &assembly(), example::at(10.0 + index as f64)) {
            pod = Some(outcome.after);
            told.push(outcome.told);
        }
    }
    (pod, told)
}

fn final_pod(changes: impl IntoIterator<Item = PodChange>) -> StoredPod {
    after(changes).0.unwrap()
}

#[test]
fn a_record_closes_when_both_witnesses_have_said_their_last_word() {
    let (pod, told) = after([api(PodPhase::Running), evidence(Stage::Ended), api(PodPhase::Succeeded), evidence(Stage::Final)]);
    let pod = pod.unwrap();
    assert_eq!(pod.state, State::Complete);
    assert_eq!(pod.record.quality, Quality::Complete { notes: vec![] });
    assert_eq!(pod.record.outcome.reason, Reason::Completed);
    assert_eq!(pod.record.identity.job.kind, "CronJob");
    assert_eq!(told.iter().map(|told| told.closed).collect::<Vec<_>>(), [None, None, None, Some(Ending::Whole)]);
    // The exit is told once, and it is the node's moment of it.
    assert_eq!(told.iter().flat_map(|told| told.exits.clone()).collect::<Vec<_>>(), [example::at(1.16)]);
}

#[test]
fn a_closed_record_does_not_change_any_more() {
    let closed = final_pod([api(PodPhase::Succeeded), evidence(Stage::Final)]);
    for change in [api(PodPhase::Failed), PodChange::Vanished, PodChange::Close(Ending::Missing(Missing::AgentAbsent))] {
        assert_eq!(apply(&closed.uid, Some(closed.clone()), change, &assembly(), example::at(99.0)), None);
    }
    let mut more = example::evidence();
    more.segments[0].reading.cpu.as_mut().unwrap().usage_ns *= 2;
    let late =
        apply(&closed.uid, Some(closed.clone()), PodChange::Evidence(Box::new(more)), &assembly(), example::at(99.0)).unwrap();
    assert!(late.told.late);
    assert_eq!(late.after.record, closed.record);
}

#[test]
fn evidence_that_comes_after_all_replaces_a_record_that_was_written_for_lack_of_it() {
    let lost = Ending::Missing(Missing::NodeLost { last_heartbeat: example::at(5.0) });
    let partial = final_pod([api(PodPhase::Succeeded), PodChange::Close(lost)]);
    assert_eq!(partial.state, State::Amendable);
    let Quality::Partial { reason, .. } = &partial.record.quality else { panic!("{:?}", partial.record.quality) };
    assert!(reason.starts_with("node node-a was lost"), "{reason}");

    let ended = apply(&partial.uid, Some(partial.clone()), evidence(Stage::Ended), &assembly(), example::at(50.0)).unwrap();
    assert_eq!(ended.after.state, State::Amendable);
    assert_eq!(ended.told.amended.as_deref(), Some(&partial.record));
    assert!(ended.after.record.usage.cpu_seconds.is_some());

    let whole = apply(&partial.uid, Some(ended.after), evidence(Stage::Final), &assembly(), example::at(60.0)).unwrap();
    assert_eq!(whole.after.state, State::Complete);
    assert_eq!(whole.told.closed, None, "it was counted when it was closed");
    assert_eq!(whole.after.recorded, partial.recorded);
}

#[test]
fn a_pod_that_never_had_a_node_is_closed_as_soon_as_it_is_gone() {
    let mut pod = example::api_pod();
    (pod.node, pod.phase, pod.containers) = (None, PodPhase::Pending, vec![]);
    let pending = PodChange::Api { pod: Box::new(pod), owners: chain() };
    let pod = final_pod([pending, PodChange::Vanished]);
    assert_eq!(pod.record.outcome.reason, Reason::NeverRan);
    assert!(matches!(pod.record.quality, Quality::Partial { .. }));
}

#[test]
fn nothing_is_written_of_a_pod_that_nobody_knew() {
    assert_eq!(after([PodChange::Vanished, PodChange::Close(Ending::NeverRan)]), (None, vec![]));
}

#[test]
fn a_record_is_not_given_up_when_its_last_reading_came_in_the_same_moment() {
    let pod = final_pod([evidence(Stage::Final), PodChange::Close(Ending::Missing(Missing::AgentSilent))]);
    assert_eq!((pod.state, pod.record.quality), (State::Complete, Quality::Complete { notes: vec![] }));
}

#[test]
fn every_exit_of_a_container_is_told_once_and_also_while_the_pod_still_runs() {
    let report = |ids: &[(&str, f64)], stage| {
        let containers = ids.iter().map(|(id, ended)| example::container(id, None, 1.0, *ended, None)).collect();
        PodChange::Evidence(Box::new(PodEvidence { stage, containers, ..example::evidence() }))
    };
    let (first, second, third) = (("aa", 1.5), ("bb", 2.5), ("cc", 3.5));
    let (_, told) = after([
        api(PodPhase::Running),
        report(&[first], Stage::Running),
        report(&[first, second], Stage::Running),
        report(&[first], Stage::Running),
        report(&[first, second, third], Stage::Final),
        api(PodPhase::Succeeded),
    ]);
    let exits: Vec<_> = told.iter().flat_map(|told| told.exits.clone()).collect();
    assert_eq!(exits, [example::at(1.5), example::at(2.5), example::at(3.5)]);
}

#[test]
fn a_node_cannot_speak_for_a_pod_of_another_node() {
    let foreign = PodChange::Evidence(Box::new(PodEvidence { node: "node-b".into(), ..example::evidence() }));
    let placed = final_pod([api(PodPhase::Running)]);
    let why = refusal(Some(&placed), &foreign).unwrap();
    assert_eq!(why, "the pod is on node \"node-a\", not on \"node-b\"");
    assert_eq!(refusal(Some(&placed), &evidence(Stage::Final)), None);
    // Nor where only the right node has spoken yet.
    assert!(refusal(Some(&final_pod([evidence(Stage::Running)])), &foreign).unwrap().contains("told of this pod already"));
    assert_eq!(refusal(None, &foreign), None);
}

#[test]
fn what_a_wrong_node_said_before_the_api_server_spoke_is_dropped() {
    let foreign = PodChange::Evidence(Box::new(PodEvidence { node: "node-b".into(), ..example::evidence() }));
    let pod = final_pod([foreign, api(PodPhase::Running)]);
    assert_eq!((pod.state, &pod.known.evidence, pod.known.ended), (State::Open, &None, None));
    assert_eq!(refusal(Some(&pod), &evidence(Stage::Final)), None);
    let whole = apply(&pod.uid, Some(pod.clone()), evidence(Stage::Final), &assembly(), example::at(50.0)).unwrap();
    assert_eq!(whole.after.known.evidence.unwrap().node, "node-a");
}

#[test]
fn a_record_waits_for_its_owners() {
    let unresolved = PodChange::Api { pod: Box::new(example::api_pod()), owners: None };
    let pod = final_pod([unresolved.clone(), evidence(Stage::Final)]);
    assert_eq!((pod.state, pod.record.identity.job.kind.as_str()), (State::Open, "Job"));
    let pod = final_pod([unresolved, evidence(Stage::Final), api(PodPhase::Succeeded)]);
    assert_eq!((pod.state, pod.record.identity.job.kind.as_str()), (State::Complete, "CronJob"));
}

/// The evidence of a pod as it grew: each report has all of those before it.
fn grown() -> Vec<PodChange> {
    (1..=6_u64)
        .map(|step| {
            let mut evidence = example::evidence();
            evidence.stage = if step < 5 { Stage::Running } else { Stage::Final };
            evidence.segments[0].reading = example::reading(step as f64 / 10.0, step * 11_000_000, 500_000 * step);
            evidence.containers.truncate(usize::from(step > 2));
            PodChange::Evidence(Box::new(evidence))
        })
        .collect()
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_reports_makes_the_same_record(
        order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
        repeated in prop::collection::vec(0..6_usize, 0..12),
        api_at in 0..8_usize,
    ) {
        let grown = grown();
        // The outcome comes last, so that nothing is closed half-way.
        let mut shuffled: Vec<_> = order.iter().chain(&repeated).map(|index| grown[*index].clone()).collect();
        shuffled.insert(api_at.min(shuffled.len()), api(PodPhase::Running));
        shuffled.push(api(PodPhase::Succeeded));
        let straight = grown.into_iter().chain([api(PodPhase::Running), api(PodPhase::Succeeded)]);
        let (a, b) = (final_pod(straight), final_pod(shuffled));
        prop_assert_eq!(&a.known.evidence, &b.known.evidence);
        prop_assert_eq!(a.state, b.state);
        let same_clock = Times { recorded: a.record.time.recorded, ..b.record.time.clone() };
        prop_assert_eq!(a.record, Record { time: same_clock, ..b.record.clone() });
    }

    #[test]
    fn each_pod_is_closed_once_and_never_opened_again(picks in prop::collection::vec(0..9_usize, 1..20)) {
        let all = [
            api(PodPhase::Pending), api(PodPhase::Running), api(PodPhase::Succeeded), api(PodPhase::Failed),
            PodChange::Vanished, evidence(Stage::Running), evidence(Stage::Ended), evidence(Stage::Final),
            PodChange::Close(Ending::Missing(Missing::AgentSilent)),
        ];
        let mut pod: Option<StoredPod> = None;
        let mut closings = 0;
        for pick in picks {
            let before = pod.as_ref().map(|pod| pod.state);
            if let Some(outcome) = apply(example::POD_UID, pod.clone(), all[pick].clone(), &assembly(), example::at(10.0)) {
                closings += usize::from(outcome.told.closed.is_some());
                prop_assert!(outcome.after.state != State::Open || matches!(before, None | Some(State::Open)));
                prop_assert_eq!(outcome.after.state == State::Open, outcome.after.record.quality == Quality::Provisional);
                pod = Some(outcome.after);
            }
        }
        prop_assert_eq!(closings, usize::from(pod.is_some_and(|pod| pod.state != State::Open)));
    }
}

#[test]
fn the_kubelets_own_last_deletion_does_not_hide_that_somebody_asked_before() {
    let mut asked = example::api_pod();
    asked.phase = PodPhase::Failed;
    asked.containers[0].exit = Some(jobmeter_protocol::ExitStatus { code: Some(137), signal: None });
    asked.deletion_requested = Some(example::at(0.9));
    let mut last = asked.clone();
    last.deletion_requested = Some(example::at(2.0));
    let api = |pod: &ApiPod| PodChange::Api { pod: Box::new(pod.clone()), owners: chain() };
    let pod = final_pod([api(&asked), api(&last), evidence(Stage::Final)]);
    assert_eq!(pod.record.outcome.reason, Reason::Deleted);
}
