//! The life of a kubelet's pod.

use jobmeter_protocol::{ApiPod, Gap, PodPhase, RestartPolicy};

use super::*;

/// `aa` is the only container of [`example::api_pod`]; `5a` is its sandbox.
fn short_job() -> Vec<Observation> {
    vec![
        appeared(),
        container_appeared("5a", 0, 11),
        container_appeared("aa", 1, 20),
        container_ended("aa", 80, Some(42), 60),
        Observation::Read(reading(90, 65, 4_000)),
        gone(100, 66),
    ]
}

#[test]
fn a_job_of_60_ms_is_reported_when_its_container_ends_and_when_its_cgroup_goes() {
    let mut books = books();
    feed(&mut books, [api()]);
    let mut observations = short_job().into_iter();
    let started = feed(&mut books, observations.by_ref().take(3));
    assert!(!started.contains(&report()) && started.contains(&Step::Sample { pod_uid: UID.into(), on: true }));
    let ended = feed(&mut books, observations.by_ref().take(1));
    assert!(ended.contains(&report()) && ended.contains(&Step::Journal(UID.into())));
    assert_eq!(evidence(&books).stage, Stage::Ended);
    let closed = feed(&mut books, observations);
    assert!(closed.contains(&report()) && closed.contains(&Step::Sample { pod_uid: UID.into(), on: false }));
    let evidence = evidence(&books);
    assert_eq!((evidence.stage, evidence.gaps.as_slice()), (Stage::Final, &[][..]));
    assert_eq!(evidence.segments[0].reading.cpu.map(|cpu| cpu.usage_ns), Some(66));
    assert_eq!(evidence.containers.len(), 1, "the sandbox is not a container of the job");
    assert_eq!(evidence.containers[0].name.as_deref(), Some("main"));
    assert_eq!(evidence.containers[0].reading.as_ref().and_then(|r| r.cpu).map(|cpu| cpu.usage_ns), Some(42));
}

#[test]
fn names_come_from_the_api_even_when_it_speaks_last() {
    let mut books = books();
    let before = feed(&mut books, short_job());
    assert!(!before.contains(&report()), "nobody said that it is a job");
    assert!(before.contains(&Step::Identify(UID.into())));
    assert!(feed(&mut books, [api()]).contains(&report()));
    assert_eq!(evidence(&books).containers[0].name.as_deref(), Some("main"));
}

#[test]
fn the_first_cgroup_is_a_container_where_the_runtime_makes_no_sandbox() {
    let mut books = books();
    feed(&mut books, [api(), appeared(), container_appeared("aa", 0, 20), container_ended("aa", 80, Some(42), 42)]);
    assert_eq!(evidence(&books).containers[0].container_id, "aa");
}

#[test]
fn a_sandbox_made_anew_is_not_a_container_of_the_job() {
    let mut books = books();
    feed(&mut books, [api()].into_iter().chain(short_job().into_iter().take(4)).chain([container_appeared("5b", 2, 95)]));
    assert_eq!(evidence(&books).containers.len(), 1);
    assert_eq!(evidence(&books).stage, Stage::Ended);
}

#[test]
fn a_container_whose_cgroup_went_unread_is_named_as_missed_and_costs_no_total() {
    let mut books = books();
    let missed = [api(), appeared(), container_appeared("aa", 1, 20), container_ended("aa", 80, None, 60), gone(100, 66)];
    feed(&mut books, missed);
    assert_eq!(evidence(&books).gaps, [Gap::ContainerMissed { container_id: "aa".into() }]);
}

#[test]
fn a_pod_that_went_before_its_last_reading_says_so() {
    let mut books = books();
    let ended_unread =
        Observation::ContainerEnded { container_id: "aa".into(), at: ms(80), container: None, pod: None, late: false };
    let lost = Observation::Gone { segment: segment("boot", 7), reading: None, at: ms(100) };
    feed(
        &mut books,
        [api(), appeared(), container_appeared("aa", 1, 20), Observation::Read(reading(50, 40, 1)), ended_unread, lost],
    );
    assert!(evidence(&books).gaps.contains(&Gap::PodMissed { last_reading: Some(ms(50)) }));
}

#[test]
fn a_service_is_not_followed_and_leaves_nothing_behind() {
    let mut books = books();
    let service = Observation::Api(Box::new(ApiPod {
        owner: Some(example::owner("apps/v1", "ReplicaSet", "web")),
        restart_policy: RestartPolicy::Always,
        ..example::api_pod()
    }));
    feed(&mut books, [service]);
    let steps = feed(&mut books, short_job());
    assert_eq!(steps[0], Step::Follow { pod_uid: UID.into(), on: false });
    assert!(steps[1..].iter().all(|step| matches!(step, Step::Idle(Idle::NotAJob(_)))), "{steps:?}");
    feed(&mut books, [Observation::ApiGone]);
    assert!(books.pods.is_empty());
}

#[test]
fn a_pod_that_turns_out_to_be_no_job_is_dropped_from_the_journal() {
    let mut books = books();
    feed(&mut books, short_job().into_iter().take(4));
    let pod = ApiPod { restart_policy: RestartPolicy::Always, owner: None, ..example::api_pod() };
    let steps = feed(&mut books, [Observation::Api(Box::new(pod))]);
    assert!(steps.contains(&Step::Follow { pod_uid: UID.into(), on: false }));
    assert!(steps.contains(&Step::Forget { pod_uid: UID.into(), why: Forgotten::NotAJob }));
}

#[test]
fn a_failed_container_that_may_be_restarted_does_not_end_the_pod() {
    let mut books = books();
    let mut pod = ApiPod { restart_policy: RestartPolicy::OnFailure, phase: PodPhase::Running, ..example::api_pod() };
    pod.containers[0].exit = Some(jobmeter_protocol::ExitStatus { code: Some(1), signal: None });
    feed(&mut books, [Observation::Api(Box::new(pod.clone()))].into_iter().chain(short_job().into_iter().take(4)));
    assert_eq!(evidence(&books).stage, Stage::Running);
    pod.containers[0].exit = Some(jobmeter_protocol::ExitStatus { code: Some(0), signal: None });
    assert!(feed(&mut books, [Observation::Api(Box::new(pod))]).contains(&report()));
    assert_eq!(evidence(&books).stage, Stage::Ended);
}

#[test]
fn an_init_container_that_ended_does_not_end_the_pod() {
    let mut books = books();
    let mut pod = ApiPod { phase: PodPhase::Pending, ..example::api_pod() };
    pod.containers[0].container_id = None;
    pod.containers[0].exit = None;
    pod.containers.insert(0, example::api_container("init", "aa", 0));
    pod.containers[0].kind = jobmeter_protocol::ContainerKind::Init;
    let steps = feed(&mut books, [Observation::Api(Box::new(pod))].into_iter().chain(short_job().into_iter().take(4)));
    assert!(steps.contains(&report()), "its figures are worth a report all the same");
    assert_eq!(evidence(&books).stage, Stage::Running);
}

#[test]
fn what_changed_while_a_report_was_on_its_way_is_sent_again() {
    let mut books = books();
    feed(&mut books, [api()].into_iter().chain(short_job().into_iter().take(4)));
    let in_flight = books.evidence(UID).unwrap().revision;
    assert!(feed(&mut books, [gone(100, 66)]).contains(&report()));
    let acked = |revision| Observation::Acked { revision, verdict: Verdict::Kept };
    assert_eq!(feed(&mut books, [acked(in_flight)]), [Step::Idle(Idle::StillDue)]);
    let last = books.evidence(UID).unwrap().revision;
    assert_eq!(feed(&mut books, [acked(last)]), [Step::Forget { pod_uid: UID.into(), why: Forgotten::Acknowledged }]);
    assert_eq!(feed(&mut books, [gone(100, 66), api()]), [Step::Idle(Idle::Settled), Step::Idle(Idle::Settled)]);
}

#[test]
fn a_pod_that_the_api_forgot_is_reported_under_the_name_of_its_log_directory() {
    let mut books = books();
    books.resync(Vec::new(), ms(0));
    feed(&mut books, short_job());
    let identity = Identity { namespace: "science".into(), pod: "pi".into() };
    feed(&mut books, [Observation::Identified(Some(identity))]);
    assert!(!books.tick(ms(1_000)).contains(&report()), "the API may only be late");
    assert!(books.tick(ms(20_000)).contains(&report()));
    assert_eq!((evidence(&books).namespace.as_deref(), evidence(&books).pod.as_deref()), (Some("science"), Some("pi")));
}

#[test]
fn the_coordinator_hears_that_nothing_is_known_of_a_pod_it_asks_for() {
    let mut books = books();
    assert_eq!(feed(&mut books, [Observation::Wanted])[0], Step::ReadPod(UID.into()));
    assert_eq!(feed(&mut books, [Observation::NotThere]), [Step::SayUnknown(UID.into())]);
    assert!(books.pods.is_empty());
}

#[test]
fn a_pod_of_a_foreign_owner_is_metered_once_the_coordinator_names_it() {
    let mut books = books();
    let pod = ApiPod {
        owner: Some(example::owner("example.com/v1", "Worker", "w")),
        restart_policy: RestartPolicy::Always,
        ..example::api_pod()
    };
    let steps = feed(&mut books, [Observation::Api(Box::new(pod)), appeared()]);
    assert_eq!(steps[1], Step::Follow { pod_uid: UID.into(), on: false });
    let steps = feed(&mut books, [Observation::Meter]);
    assert_eq!(steps[..2], [Step::Follow { pod_uid: UID.into(), on: true }, Step::ReadPod(UID.into())]);
    let looked = Observation::Looked {
        segment: segment("boot", 7),
        tree: Tree::Kubelet,
        pod: Some(reading(50, 40, 1)),
        containers: vec![("aa".into(), None)],
        at: ms(50),
    };
    assert!(feed(&mut books, [looked]).contains(&Step::Sample { pod_uid: UID.into(), on: true }));
}

#[test]
fn a_live_pod_is_journaled_and_reported_now_and_then() {
    let mut books = books();
    feed(&mut books, [api()].into_iter().chain(short_job().into_iter().take(3)));
    books.tick(ms(31_000));
    feed(&mut books, [Observation::Read(reading(32_000, 1_000, 9))]);
    let steps = books.tick(ms(61_500));
    assert!(steps.contains(&Step::Journal(UID.into())) && steps.contains(&report()), "{steps:?}");
    assert_eq!(books.live().len(), 1);
}

#[test]
fn beyond_the_limit_unclaimed_evidence_goes_before_that_of_jobs() {
    let mut books = Books::new(Options { limits: Limits { unacknowledged: 1, ..Limits::default() }, ..options() }, ms(0));
    feed(&mut books, [api()].into_iter().chain(short_job()));
    for observation in short_job() {
        books.observe("stranger", observation, ms(500));
    }
    let steps = books.tick(ms(1_000));
    assert!(steps.contains(&Step::Forget { pod_uid: "stranger".into(), why: Forgotten::NoRoom }), "{steps:?}");
    assert!(books.evidence(UID).is_some());
}

#[test]
fn a_pod_that_only_the_api_knows_is_said_to_be_unknown_when_the_coordinator_asks() {
    let mut books = books();
    feed(&mut books, [api()]);
    for _ in 0..2 {
        assert!(feed(&mut books, [Observation::Wanted]).contains(&Step::ReadPod(UID.into())));
        assert!(feed(&mut books, [Observation::NotThere]).contains(&Step::SayUnknown(UID.into())));
    }
    let steps = feed(&mut books, short_job());
    assert!(steps.contains(&report()), "it may come all the same");
}

#[test]
fn a_clock_that_was_set_back_delays_no_report_and_gives_nothing_up_early() {
    let mut books = books();
    feed(&mut books, [api()].into_iter().chain(short_job().into_iter().take(3)));
    books.tick(ms(3_600_000));
    feed(&mut books, [Observation::Read(reading(32_000, 1_000, 9))]);
    let steps = books.tick(ms(2_000));
    assert!(steps.contains(&Step::Journal(UID.into())) && steps.contains(&report()), "{steps:?}");
    for observation in short_job() {
        books.observe("stranger", observation, ms(7_200_000));
    }
    books.tick(ms(0));
    books.tick(ms(3_599_000));
    assert!(books.evidence("stranger").is_some());
    books.tick(ms(3_601_000));
    assert!(books.evidence("stranger").is_none(), "an hour after the step nobody has claimed it");
}
