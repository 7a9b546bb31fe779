//! What the capture of logs is told.

use jobmeter_protocol::{ApiPod, OwnerRef, PodPhase, RestartPolicy, api_pod::EarlierRun};

use super::*;

fn running() -> ApiPod {
    let mut pod = ApiPod { phase: PodPhase::Running, ..example::api_pod() };
    pod.containers[0].finished = None;
    pod.containers[0].exit = None;
    pod
}

fn owned(api_version: &str, kind: &str) -> ApiPod {
    let owner: OwnerRef = example::owner(api_version, kind, "top");
    ApiPod { owner: Some(owner), restart_policy: RestartPolicy::Always, ..running() }
}

#[test]
fn a_job_pod_is_one_as_soon_as_the_api_says_so_and_ends_with_its_containers() {
    let mut books = books();
    feed(&mut books, [appeared(), container_appeared("sandbox", 0, 11), container_appeared("aa", 1, 12)]);
    let unnamed = books.standing(UID);
    assert_eq!((unnamed.job, unnamed.known, unnamed.over), (None, true, false));
    feed(&mut books, [Observation::Api(Box::new(running()))]);
    let live = books.standing(UID);
    assert_eq!((live.job, live.ended), (Some(true), false));
    assert!(!live.is_over("main", 0));
    // The kernel knows seconds before the API does.
    feed(&mut books, [container_ended("aa", 60, Some(1), 2)]);
    let ended = books.standing(UID);
    assert!(ended.ended && ended.is_over("main", 0) && !ended.over);
    feed(&mut books, [gone(70, 2)]);
    assert!(books.standing(UID).over);
}

#[test]
fn a_run_that_was_followed_by_another_is_over_and_the_other_is_not() {
    let mut books = books();
    let mut pod = owned("batch/v1", "Job");
    pod.containers[0].restart_count = 2;
    pod.containers[0].earlier =
        vec![EarlierRun { container_id: "a0".into(), attempt: 1, started: None, finished: None, exit: None, reason: None }];
    feed(&mut books, [appeared(), Observation::Api(Box::new(pod))]);
    let standing = books.standing(UID);
    let over: Vec<bool> = (0..4).map(|attempt| standing.is_over("main", attempt)).collect();
    assert_eq!(over, [true, true, false, false]);
    assert!(!standing.is_over("other", 0));
}

#[test]
fn a_service_is_no_job_and_a_pod_of_unknown_owners_is_undecided_until_it_is_named() {
    let mut books = books();
    feed(&mut books, [appeared(), Observation::Api(Box::new(owned("apps/v1", "ReplicaSet")))]);
    assert_eq!(books.standing(UID).job, Some(false));
    let mut books = super::books();
    feed(&mut books, [appeared(), Observation::Api(Box::new(owned("example.com/v1", "Worker")))]);
    assert_eq!(books.standing(UID).job, None);
    feed(&mut books, [Observation::Meter]);
    assert_eq!(books.standing(UID).job, Some(true));
}

#[test]
fn that_nobody_knows_a_pod_means_something_only_after_the_api_was_heard() {
    let mut books = books();
    assert_eq!(books.standing(UID), Standing::default());
    books.resync(Vec::new(), ms(1));
    let nobody = books.standing(UID);
    assert_eq!((nobody.job, nobody.known, nobody.over), (None, false, true));
}

#[test]
fn a_pod_whose_books_are_closed_is_over() {
    let mut books = books();
    feed(&mut books, [appeared(), container_appeared("aa", 1, 12), api(), container_ended("aa", 60, Some(1), 2), gone(70, 2)]);
    let revision = books.evidence(UID).unwrap().revision;
    feed(&mut books, [Observation::Acked { revision, verdict: Verdict::Kept }]);
    let closed = books.standing(UID);
    assert!(closed.known && closed.over && books.evidence(UID).is_none());
}
