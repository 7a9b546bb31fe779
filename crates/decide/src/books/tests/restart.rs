//! What the agent does not see: its own restarts, and those of the machine.

use jobmeter_protocol::{ApiPod, Gap, PodPhase};

use super::*;

fn running_job() -> Books {
    let mut books = books();
    let pod = ApiPod { phase: PodPhase::Running, ..example::api_pod() };
    feed(
        &mut books,
        [Observation::Api(Box::new(pod)), appeared(), container_appeared("5a", 0, 11), container_appeared("aa", 1, 20)],
    );
    feed(&mut books, [Observation::Read(reading(50, 30, 2_000))]);
    books
}

fn restored(evidence: PodEvidence, boot_id: &str) -> (Books, Vec<Step>) {
    let mut books = Books::new(Options { boot_id: boot_id.into(), ..options() }, ms(1_000));
    let steps = books.restore(evidence, ms(1_000));
    (books, steps)
}

fn looked(containers: &[&str], cpu_ns: u64) -> Observation {
    Observation::Looked {
        segment: segment("boot", 7),
        tree: Tree::Kubelet,
        pod: Some(reading(1_001, cpu_ns, 4_000)),
        containers: containers.iter().map(|&id| (id.to_owned(), None)).collect(),
        at: ms(1_001),
    }
}

#[test]
fn a_container_that_ended_while_the_agent_was_down_leaves_the_pods_total_exact() {
    let (mut books, steps) = restored(evidence(&running_job()), "boot");
    assert!(steps.contains(&Step::ReadPod(UID.into())));
    feed(&mut books, [looked(&["5a"], 77), api(), gone(1_100, 77)]);
    let evidence = evidence(&books);
    assert_eq!(evidence.segments[0].reading.cpu.map(|cpu| cpu.usage_ns), Some(77));
    assert_eq!(evidence.gaps, [Gap::ContainerMissed { container_id: "aa".into() }], "and the pod was not missed");
}

#[test]
fn a_pod_that_went_while_the_agent_was_down_is_closed_with_its_last_reading() {
    let (mut books, _) = restored(evidence(&running_job()), "boot");
    assert!(feed(&mut books, [Observation::NotThere]).contains(&report()));
    let evidence = evidence(&books);
    assert_eq!(evidence.stage, Stage::Final);
    assert!(evidence.gaps.contains(&Gap::PodMissed { last_reading: Some(ms(50)) }), "{:?}", evidence.gaps);
}

#[test]
fn a_pod_whose_containers_had_all_ended_misses_nothing_by_going_unseen() {
    let mut before = running_job();
    feed(&mut before, [container_ended("aa", 80, Some(42), 60)]);
    let (mut books, _) = restored(evidence(&before), "boot");
    feed(&mut books, [Observation::NotThere]);
    assert_eq!((evidence(&books).stage, evidence(&books).gaps.as_slice()), (Stage::Final, &[][..]));
}

#[test]
fn final_evidence_that_was_not_acknowledged_is_reported_again_as_it_was() {
    let mut before = running_job();
    feed(&mut before, [gone(100, 66)]);
    let closed = evidence(&before);
    let (books, steps) = restored(closed.clone(), "boot");
    assert_eq!(steps, [report()]);
    assert_eq!(evidence(&books), closed);
}

#[test]
fn a_reboot_ends_the_segment_and_the_same_pod_may_go_on_in_another() {
    let (mut books, _) = restored(evidence(&running_job()), "boot-2");
    feed(&mut books, [Observation::NotThere]);
    assert_eq!(evidence(&books).stage, Stage::Running, "the kubelet may start it again");
    let again = Observation::Appeared { segment: segment("boot-2", 9), at: ms(2_000), tree: Tree::Kubelet };
    feed(&mut books, [again, container_appeared("cc", 1, 2_010), container_ended("cc", 2_050, Some(5), 6)]);
    feed(&mut books, [Observation::Gone { segment: segment("boot-2", 9), reading: Some(reading(2_100, 6, 1)), at: ms(2_100) }]);
    let evidence = evidence(&books);
    assert_eq!((evidence.stage, evidence.segments.len()), (Stage::Final, 2));
    assert!(evidence.gaps.contains(&Gap::Rebooted { boot_id: "boot".into() }));
}

#[test]
fn a_pod_that_does_not_come_back_after_a_reboot_is_closed() {
    let (mut books, _) = restored(evidence(&running_job()), "boot-2");
    let failed = ApiPod { phase: PodPhase::Failed, ..example::api_pod() };
    feed(&mut books, [Observation::NotThere, Observation::Api(Box::new(failed))]);
    assert_eq!(evidence(&books).stage, Stage::Final);
    let (mut unheard, _) = restored(evidence(&running_job()), "boot-2");
    unheard.tick(ms(602_000));
    assert_eq!(evidence(&unheard).stage, Stage::Final);
}

#[test]
fn an_agent_that_starts_late_counts_from_the_pods_own_counters() {
    let mut books = books();
    feed(&mut books, [api(), looked(&["5a"], 77), container_appeared("5a", 0, 11), gone(2_100, 78)]);
    let evidence = evidence(&books);
    assert_eq!(evidence.segments[0].reading.cpu.map(|cpu| cpu.usage_ns), Some(78));
    assert_eq!(evidence.gaps, [Gap::ContainerMissed { container_id: "aa".into() }], "the API knew one that was never seen");
    assert_eq!(evidence.containers[0].name.as_deref(), Some("main"));
}

/// An init container ran, and the main one is still to come.
fn between_init_and_main() -> (PodEvidence, ApiPod) {
    let mut pod = ApiPod { phase: PodPhase::Pending, ..example::api_pod() };
    let main = pod.containers[0].clone();
    pod.containers[0].container_id = None;
    pod.containers[0].exit = None;
    pod.containers.insert(0, example::api_container("init", "aa", 0));
    pod.containers[0].kind = jobmeter_protocol::ContainerKind::Init;
    let mut books = books();
    feed(&mut books, [Observation::Api(Box::new(pod.clone())), appeared(), container_appeared("aa", 1, 20)]);
    feed(&mut books, [container_ended("aa", 80, Some(42), 60)]);
    pod.containers[1] = jobmeter_protocol::ApiContainer { container_id: None, ..main };
    pod.phase = PodPhase::Succeeded;
    (evidence(&books), pod)
}

fn missed_after(at: i64) -> Gap {
    Gap::PodMissed { last_reading: Some(ms(at)) }
}

#[test]
fn a_main_container_that_ran_while_the_agent_was_down_is_missed_although_its_init_was_read() {
    let (journaled, over) = between_init_and_main();
    assert_eq!(journaled.stage, Stage::Running);
    for before in [vec![], vec![Observation::Api(Box::new(over))]] {
        let (mut books, _) = restored(journaled.clone(), "boot");
        feed(&mut books, before.into_iter().chain([Observation::NotThere]));
        assert_eq!((evidence(&books).stage, evidence(&books).gaps), (Stage::Final, vec![missed_after(80)]));
    }
}

#[test]
fn a_pod_of_which_only_the_sandbox_was_read_is_missed_when_it_went_unseen() {
    let mut before = books();
    feed(&mut before, [appeared(), container_appeared("5a", 0, 11), Observation::Read(reading(15, 3, 9))]);
    let (mut books, _) = restored(PodEvidence { containers: Vec::new(), ..evidence(&before) }, "boot");
    feed(&mut books, [Observation::NotThere]);
    assert_eq!((evidence(&books).stage, evidence(&books).gaps), (Stage::Final, vec![missed_after(15)]));
}

#[test]
fn a_cgroup_that_was_replaced_or_went_unread_after_the_restart_is_missed_as_well() {
    let (journaled, _) = between_init_and_main();
    let (mut books, _) = restored(journaled.clone(), "boot");
    let anew = Observation::Appeared { segment: segment("boot", 8), at: ms(1_001), tree: Tree::Kubelet };
    feed(&mut books, [anew]);
    assert_eq!((evidence(&books).stage, evidence(&books).gaps), (Stage::Running, vec![missed_after(80)]));
    let (mut again, _) = restored(evidence(&books), "boot");
    feed(&mut again, [Observation::NotThere]);
    assert!(evidence(&again).gaps.contains(&missed_after(80)), "a second restart does not forget it");
    let (mut unread, _) = restored(journaled, "boot");
    feed(&mut unread, [appeared(), Observation::Gone { segment: segment("boot", 7), reading: None, at: ms(1_100) }]);
    assert_eq!(evidence(&unread).gaps, [missed_after(80)]);
}

#[test]
fn an_end_that_the_api_tells_in_whole_seconds_may_lie_after_the_last_reading() {
    let told = |finished| {
        let mut pod = example::api_pod();
        pod.containers[0].finished = Some(ms(finished));
        let mut books = books();
        feed(&mut books, [Observation::Api(Box::new(pod)), appeared(), gone(1_500, 66)]);
        evidence(&books).gaps
    };
    assert!(told(1_000).contains(&missed_after(1_500)));
    assert!(!told(500).contains(&missed_after(1_500)));
}

#[test]
fn a_reboot_before_the_first_container_was_journaled_is_told() {
    let mut before = books();
    feed(&mut before, [appeared(), Observation::Read(reading(15, 3, 9))]);
    let (books, _) = restored(evidence(&before), "boot-2");
    assert_eq!(evidence(&books).gaps, [Gap::Rebooted { boot_id: "boot".into() }]);
}

#[test]
fn evidence_of_a_pod_that_is_a_job_by_its_owners_survives_the_apis_list_after_a_restart() {
    let foreign = ApiPod {
        owner: Some(example::owner("example.com/v1", "Worker", "w")),
        restart_policy: jobmeter_protocol::RestartPolicy::Always,
        ..example::api_pod()
    };
    let mut before = books();
    feed(&mut before, [Observation::Api(Box::new(foreign.clone())), appeared(), Observation::Meter, looked(&["aa"], 30)]);
    feed(&mut before, [container_appeared("aa", 1, 20), container_ended("aa", 80, Some(42), 60)]);
    let (mut books, steps) = restored(evidence(&before), "boot");
    assert!(steps.contains(&report()), "the coordinator decides: {steps:?}");
    let steps = books.resync(vec![foreign], ms(1_000));
    assert!(!steps.iter().any(|step| matches!(step, Step::Forget { .. })), "{steps:?}");
    assert!(feed(&mut books, [gone(1_100, 66)]).contains(&report()));
}

#[test]
fn a_cgroup_made_anew_under_the_same_uid_is_not_lost_with_the_acknowledgement_of_the_old_one() {
    let acked = |books: &mut Books| {
        let revision = books.evidence(UID).unwrap().revision;
        feed(books, [Observation::Acked { revision, verdict: Verdict::Kept }])
    };
    let closed = || {
        let mut books = running_job();
        feed(&mut books, [gone(100, 66)]);
        books
    };
    for mut books in [closed(), restored(evidence(&closed()), "boot").0] {
        feed(&mut books, [Observation::Appeared { segment: segment("boot", 9), at: ms(2_000), tree: Tree::Kubelet }]);
        let steps = acked(&mut books);
        assert!(!steps.iter().any(|step| matches!(step, Step::Forget { .. })), "{steps:?}");
        assert_eq!(evidence(&books).stage, Stage::Running);
        let reading = Some(reading(2_100, 5, 1));
        assert!(
            feed(&mut books, [Observation::Gone { segment: segment("boot", 9), reading, at: ms(2_100) }]).contains(&report())
        );
        assert_eq!((evidence(&books).stage, evidence(&books).segments.len()), (Stage::Final, 2));
        assert!(acked(&mut books).contains(&Step::Forget { pod_uid: UID.into(), why: Forgotten::Acknowledged }));
    }
}
