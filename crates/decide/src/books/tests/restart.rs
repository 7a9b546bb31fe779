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
    feed(&mut books, [api(), looked(&["5a"], 77), container_appeared("5a", 0, 11), gone(1_100, 78)]);
    let evidence = evidence(&books);
    assert_eq!(evidence.segments[0].reading.cpu.map(|cpu| cpu.usage_ns), Some(78));
    assert_eq!(evidence.gaps, [Gap::ContainerMissed { container_id: "aa".into() }], "the API knew one that was never seen");
    assert_eq!(evidence.containers[0].name.as_deref(), Some("main"));
}
