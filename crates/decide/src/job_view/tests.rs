//! What a job is called, by what is known of its object and of its pods.

use super::*;
use crate::example::{at, owner};

fn identity(condition: Option<JobCondition>, gone: bool) -> JobIdentity {
    JobIdentity {
        cluster: String::new(),
        namespace: "bench".into(),
        owner: owner("batch/v1", "Job", "sort"),
        condition,
        created: Some(at(0.0)),
        finished: condition.filter(|c| *c != JobCondition::Active).map(|_| at(9.0)),
        gone,
    }
}

/// Ended (or not) at this second.
fn pod(reason: Reason, finished: f64) -> PodFacts {
    PodFacts {
        reason,
        created: Some(at(1.0)),
        started: Some(at(2.0)),
        finished: (reason != Reason::Running).then(|| at(finished)),
        cpu_seconds: Some(Figure::kernel(1.5)),
        memory_peak_bytes: Some(Figure::kernel(100)),
        rss_peak_bytes: None,
        oom_kills: 0,
        resources: Resources::default(),
        partial: false,
    }
}

#[test]
fn the_state_of_a_job() {
    use JobCondition::{Active, Complete, Failed};
    let pending = PodFacts { started: None, ..pod(Reason::Running, 0.0) };
    let ok = || pod(Reason::Completed, 5.0);
    let bad = || pod(Reason::Error, 4.0);
    for (case, condition, gone, pods, expected) in [
        ("just created", Some(Active), false, vec![], JobState::Pending),
        ("waits for a node", Some(Active), false, vec![pending.clone()], JobState::Pending),
        ("runs", Some(Active), false, vec![pending, pod(Reason::Running, 0.0)], JobState::Running),
        ("between a failed pod and the next one", Some(Active), false, vec![bad()], JobState::Running),
        ("complete after a retry", Some(Complete), false, vec![bad(), ok()], JobState::Completed),
        ("complete, and cleaned up", Some(Complete), true, vec![ok()], JobState::Completed),
        ("out of retries", Some(Failed), false, vec![bad(), bad()], JobState::Failed),
        ("deleted while it ran", Some(Active), true, vec![pod(Reason::Deleted, 4.0)], JobState::Deleted),
        ("a pod of its own that ended well", None, false, vec![ok()], JobState::Completed),
        ("a pod of its own that failed", None, false, vec![pod(Reason::OOMKilled, 4.0)], JobState::Failed),
        ("a pod of its own that was deleted", None, false, vec![pod(Reason::Deleted, 4.0)], JobState::Deleted),
        ("retried without an object: the last one counts", None, false, vec![ok(), bad()], JobState::Completed),
    ] {
        assert_eq!(view(identity(condition, gone), &pods).state, expected, "{case}");
    }
}

#[test]
fn figures_are_summed_or_the_greatest_and_keep_the_weakest_method() {
    let sampled = PodFacts {
        cpu_seconds: Some(Figure::new(0.5, Method::Sampled)),
        memory_peak_bytes: Some(Figure::new(300, Method::Sampled)),
        oom_kills: 2,
        partial: true,
        ..pod(Reason::OOMKilled, 8.0)
    };
    let nothing = PodFacts { cpu_seconds: None, memory_peak_bytes: None, ..pod(Reason::NeverRan, 8.0) };
    let job = view(identity(Some(JobCondition::Failed), false), &[pod(Reason::Completed, 5.0), sampled, nothing]);
    assert_eq!(job.cpu_seconds, Some(Figure::new(2.0, Method::Sampled)));
    assert_eq!(job.memory_peak_bytes, Some(Figure::new(300, Method::Sampled)));
    assert_eq!((job.oom_kills, job.partial_records), (2, 1));
    assert_eq!(job.pods, PodCounts { completed: 1, failed: 2, ..PodCounts::default() });
    assert_eq!((job.started, job.finished), (Some(at(2.0)), Some(at(9.0))));
}

#[test]
fn a_job_that_runs_has_not_finished_although_some_of_its_pods_have() {
    let job = view(identity(Some(JobCondition::Active), false), &[pod(Reason::Completed, 5.0), pod(Reason::Running, 0.0)]);
    assert_eq!((job.state, job.finished), (JobState::Running, None));
}
