//! News of a cluster, one after the other, and what follows from each.

use jobmeter_decide::example;
use jobmeter_protocol::{PodPhase, RestartPolicy};

use super::*;

fn pod(uid: &str, owner: Option<OwnerRef>) -> Seen {
    let pod =
        ApiPod { uid: uid.into(), owner, restart_policy: RestartPolicy::Always, phase: PodPhase::Running, ..example::api_pod() };
    Seen { pod: Box::new(pod), owners: None }
}

fn job() -> OwnerRef {
    example::owner("batch/v1", "Job", "sort")
}

fn worker() -> OwnerRef {
    example::owner("example.com/v1", "Worker", "w")
}

fn after(world: &mut World, event: Event) -> Effects {
    let mut effects = Effects::default();
    world.handle(event, &mut effects);
    effects
}

fn resolved(world: &mut World, uid: &str, owners: Option<Vec<OwnerRef>>) -> Effects {
    let mut effects = Effects::default();
    world.resolved(Resolved { pod_uid: uid.into(), owners }, &mut effects);
    effects
}

fn world() -> World {
    World::new(Scope::default())
}

fn stored_owners(effects: &Effects) -> Vec<Option<usize>> {
    effects
        .changes
        .iter()
        .map(|change| match change {
            Change::Api { owners, .. } => owners.as_ref().map(Vec::len),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_pod_of_a_job_is_stored_at_once_and_again_when_its_owners_are_known() {
    let mut world = world();
    let first = after(&mut world, Event::PodApplied(pod("a", Some(job()))));
    assert_eq!((stored_owners(&first), first.lookups.len()), (vec![None], 1));
    // It is asked for once, however often the pod changes.
    assert_eq!(after(&mut world, Event::PodApplied(pod("a", Some(job())))).lookups, []);
    let known = resolved(&mut world, "a", Some(vec![job(), example::owner("batch/v1", "CronJob", "c")]));
    assert_eq!(stored_owners(&known), [Some(2)]);
    // And is not forgotten with the next change.
    assert_eq!(stored_owners(&after(&mut world, Event::PodApplied(pod("a", Some(job()))))), [Some(2)]);
    assert!(world.meter().is_empty(), "its agent can see that it is a job");
}

#[test]
fn a_pod_that_may_be_a_job_is_stored_only_when_it_is_one_and_its_agent_is_told() {
    let mut world = world();
    for uid in ["a", "b"] {
        let effects = after(&mut world, Event::PodApplied(pod(uid, Some(worker()))));
        assert_eq!((effects.changes, effects.lookups.len()), (vec![], 1));
    }
    assert_eq!(resolved(&mut world, "b", Some(vec![worker()])).changes, [Change::Discard { uid: "b".into() }]);
    assert_eq!(stored_owners(&resolved(&mut world, "a", Some(vec![worker(), job()]))), [Some(2)]);
    assert_eq!(world.meter(), &BTreeMap::from([("node-a".to_owned(), BTreeSet::from(["a".to_owned()]))]));
    assert_eq!(world.pods(), 1);
    let gone = after(&mut world, Event::PodGone { uid: "a".into(), last: None });
    assert_eq!(gone.changes, [Change::Vanished { uid: "a".into() }]);
    assert!(world.meter().is_empty());
}

#[test]
fn a_pod_that_is_no_job_by_its_chain_loses_the_record_that_it_had_meanwhile() {
    let mut world = world();
    let mut restarted = pod("a", Some(worker()));
    restarted.pod.restart_policy = RestartPolicy::OnFailure;
    assert_eq!(stored_owners(&after(&mut world, Event::PodApplied(restarted.clone()))), [None]);
    let discard = [Change::Discard { uid: "a".into() }];
    assert_eq!(resolved(&mut world, "a", Some(vec![worker()])).changes, discard);
    // Nor does its next change bring it back.
    assert_eq!(after(&mut world, Event::PodApplied(restarted.clone())), Effects::default());
    after(&mut world, Event::PodGone { uid: "a".into(), last: Some(restarted.clone()) });
    // One that went before its chain was known is no job either.
    after(&mut world, Event::PodApplied(restarted));
    after(&mut world, Event::PodGone { uid: "a".into(), last: None });
    assert_eq!(resolved(&mut world, "a", Some(vec![worker()])).changes, discard);
}

#[test]
fn a_look_up_that_failed_is_tried_again() {
    let mut world = world();
    after(&mut world, Event::PodApplied(pod("a", Some(job()))));
    let mut effects = Effects::default();
    world.retry(&mut effects);
    assert_eq!(effects.lookups, [], "it is under way");
    resolved(&mut world, "a", None);
    world.retry(&mut effects);
    assert_eq!(effects.lookups.len(), 1);
}

#[test]
fn a_pod_without_owner_needs_no_look_up() {
    let mut world = world();
    let mut bare = pod("a", None);
    bare.pod.restart_policy = RestartPolicy::Never;
    let effects = after(&mut world, Event::PodApplied(bare));
    assert_eq!((stored_owners(&effects), effects.lookups.len()), (vec![Some(0)], 0));
}

#[test]
fn the_last_state_of_a_deleted_pod_is_stored_before_its_end() {
    let mut world = world();
    let effects = after(&mut world, Event::PodGone { uid: "a".into(), last: Some(pod("a", Some(job()))) });
    assert!(matches!(effects.changes.as_slice(), [Change::Api { .. }, Change::Vanished { .. }]), "{effects:?}");
    assert_eq!(world.pods(), 0);
}

#[test]
fn what_is_not_in_a_list_is_not_there_but_only_in_its_namespace() {
    let mut world = world();
    let elsewhere = |uid: &str| {
        let mut seen = pod(uid, Some(job()));
        seen.pod.namespace = "elsewhere".into();
        seen
    };
    for seen in [pod("a", Some(job())), pod("b", Some(job())), elsewhere("c")] {
        after(&mut world, Event::PodApplied(seen));
    }
    let listed = Event::PodsListed {
        namespace: Some("bench".into()),
        pods: vec![pod("b", Some(job()))],
        present: HashSet::from(["b".to_owned(), "a service".to_owned()]),
    };
    let effects = after(&mut world, listed);
    assert_eq!(world.pods(), 2, "b and c");
    assert!(matches!(effects.listed.as_slice(), [Listed::Pods { present, .. }] if present.len() == 2));
}

#[test]
fn a_pod_that_goes_before_its_owners_are_known_still_gets_them() {
    let mut world = world();
    after(&mut world, Event::PodApplied(pod("a", Some(job()))));
    after(&mut world, Event::PodGone { uid: "a".into(), last: None });
    resolved(&mut world, "a", None);
    let mut effects = Effects::default();
    world.retry(&mut effects);
    assert_eq!((world.pods(), effects.lookups.len()), (0, 1));
    assert_eq!(stored_owners(&resolved(&mut world, "a", Some(vec![job()]))), [Some(1)]);
    assert_eq!(resolved(&mut world, "a", Some(vec![job()])).changes, [], "it is forgotten now");
}

#[test]
fn a_pod_of_a_node_run_is_metered_and_nobody_is_asked_whose_it_is() {
    let labels = [("jobmeter.io/run", "202611211930"), ("batch-job-controller.bakito.github.com/owner", "disks")];
    let pod = serde_json::json!({
        "metadata": {"name": "a", "namespace": "bench", "uid": "a", "labels": std::collections::BTreeMap::from(labels)},
        "spec": {"restartPolicy": "Never", "containers": []}
    });
    let pod = jobmeter_kubepod::api_pod(&serde_json::from_value(pod).unwrap()).unwrap();
    let mut world = world();
    let seen = after(&mut world, Event::PodApplied(Seen { pod: Box::new(pod.clone()), owners: None }));
    assert_eq!((stored_owners(&seen), seen.lookups.len()), (vec![Some(1)], 0));
    assert!(world.undecided().is_empty());
    assert_eq!(Scope::default().judge(&pod, None), Metered::Yes(jobmeter_decide::metered::Why::RestartNever));
}
