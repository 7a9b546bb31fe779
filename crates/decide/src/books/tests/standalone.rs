//! Pods of the local executor, with and without cgroups.

use jobmeter_protocol::{ContainerExit, ContainerKind, ExitStatus, Gap, Method};

use super::*;

fn exited(id: &str, from: i64, to: i64) -> Observation {
    Observation::Exited(Box::new(ContainerExit {
        pod_uid: UID.into(),
        container_id: id.into(),
        name: format!("name-{id}"),
        kind: ContainerKind::Main,
        attempt: 0,
        started: ms(from),
        ended: ms(to),
        exit: ExitStatus { code: Some(3), signal: None },
        user_ns: 1_000,
        system_ns: 500,
        max_rss_bytes: 1 << 20,
    }))
}

#[test]
fn without_cgroups_the_pod_is_what_wait4_says_of_its_containers() {
    let mut books = Books::new(Options { local_cgroups: false, ..options() }, ms(0));
    let steps = feed(&mut books, [api(), exited("aa", 0, 10), exited("bb", 10, 30), Observation::FinalAsked]);
    assert!(steps.contains(&report()));
    let evidence = evidence(&books);
    assert_eq!((evidence.stage, evidence.segments.len()), (Stage::Final, 1));
    assert_eq!((evidence.segments[0].method, evidence.segments[0].id.cgroup_inode), (Method::Rusage, 0));
    assert_eq!(evidence.segments[0].reading.cpu.map(|cpu| cpu.usage_ns), Some(3_000));
    assert_eq!(evidence.sampled.process_hwm_bytes, Some(1 << 20));
    assert!(evidence.containers.iter().all(|c| c.method == Method::Rusage && c.exit.is_some() && c.reading.is_some()));
    assert_eq!(evidence.gaps, []);
}

#[test]
fn with_cgroups_wait4_gives_the_exit_and_the_kernel_the_figures() {
    let mut books = books();
    let local = Observation::Appeared { segment: segment("boot", 7), at: ms(1), tree: Tree::Local };
    let early = feed(&mut books, [api(), exited("aa", 2, 40)]);
    assert!(early.contains(&report()));
    assert!(evidence(&books).segments.is_empty(), "its cgroup is still to be heard of");
    assert_eq!(evidence(&books).gaps, []);
    feed(&mut books, [local, container_appeared("aa", 0, 1), container_ended("aa", 41, Some(7), 9), Observation::FinalAsked]);
    let evidence = evidence(&books);
    assert_eq!(evidence.segments.len(), 1);
    assert_eq!(evidence.segments[0].reading.cpu.map(|cpu| cpu.usage_ns), Some(9));
    assert_eq!((evidence.containers[0].ended, evidence.containers[0].method), (Some(ms(40)), Method::Kernel));
    assert_eq!((evidence.stage, evidence.gaps.as_slice()), (Stage::Final, &[][..]));
}

#[test]
fn a_pod_whose_cgroup_could_not_be_made_falls_back_to_wait4_at_its_end() {
    let mut books = books();
    feed(&mut books, [api(), exited("aa", 2, 40), Observation::NotThere, Observation::FinalAsked]);
    assert_eq!(evidence(&books).segments[0].method, Method::Rusage);
    assert_eq!(evidence(&books).gaps, []);
}

#[test]
fn a_started_process_is_sampled_until_it_is_waited_for() {
    let mut books = Books::new(Options { local_cgroups: false, ..options() }, ms(0));
    let started = feed(&mut books, [api(), Observation::Started { container_id: "aa".into() }]);
    assert!(started.contains(&Step::Sample { pod_uid: UID.into(), on: true }));
    assert_eq!(evidence(&books).gaps, Vec::<Gap>::new());
    assert!(feed(&mut books, [exited("aa", 0, 10)]).contains(&Step::Sample { pod_uid: UID.into(), on: false }));
}

#[test]
fn an_executor_that_is_faster_than_the_watcher_makes_no_gap() {
    let mut books = books();
    let local = Observation::Appeared { segment: segment("boot", 7), at: ms(1), tree: Tree::Local };
    let steps = feed(&mut books, [api(), local, container_appeared("aa", 0, 1), exited("aa", 2, 40)]);
    assert!(steps.contains(&report()));
    // What is reported once stays in the coordinator's books, whatever comes later.
    assert_eq!(evidence(&books).gaps, []);
    feed(&mut books, [container_ended("aa", 41, None, 9)]);
    assert_eq!(evidence(&books).gaps, [Gap::ContainerMissed { container_id: "aa".into() }]);
}
