//! Ways in which a run could go on for ever, or end as something that it was not.

use super::*;

fn labelled(name: &str) -> NodeFacts {
    NodeFacts { labels: BTreeMap::from([("kind".to_owned(), "worker".to_owned())]), ..facts(name) }
}

#[test]
fn a_node_that_waits_and_is_selected_no_more_is_skipped() {
    let selecting =
        RunSettings { node_selector: BTreeMap::from([("kind".to_owned(), "worker".to_owned())]), canary: 1, ..settings("check") };
    let mut driver = Driver::new(vec![definition(selecting)], &[]);
    for node in ["a", "b"] {
        driver.see(Observation::Node(labelled(node)));
    }
    let run = driver.start("check").unwrap().id;
    driver.see(Observation::Node(facts("b")));
    driver.pod(&run, "a", PodPhase::Succeeded);
    driver.pass(599);
    assert_eq!(driver.states(&run), [NodeRunState::Succeeded, NodeRunState::Waiting]);
    driver.pass(1);
    assert_eq!(driver.run(&run).state, RunState::Succeeded);
    assert!(driver.node(&run, "b").why.as_ref().unwrap().contains("labels"));
}

#[test]
fn a_node_joins_again_when_its_earlier_pod_is_gone() {
    let mut driver = Driver::new(vec![definition(RunSettings { new_nodes: true, ..settings("check") })], &["a", "b"]);
    let run = driver.start("check").unwrap().id;
    let pod = driver.node(&run, "a").clone();
    driver.on_delete = OnDelete::Stay;
    driver.see(Observation::Node(NodeFacts { ready: false, ..facts("a") }));
    driver.pass(600);
    driver.see(Observation::Node(facts("a")));
    assert_eq!(driver.node(&run, "a").state, NodeRunState::Skipped, "it would wait as long as that pod stays");
    driver.lose(&run, "a");
    let again = driver.node(&run, "a");
    assert_eq!((again.state, again.attempt), (NodeRunState::Queued, 1));
    assert_ne!(again.pod, pod.pod);
}

#[test]
fn a_node_that_is_skipped_twice_does_not_get_the_name_of_its_first_pod_again() {
    let joining = RunSettings { new_nodes: true, canary: 1, ..settings("check") };
    let mut driver = Driver::new(vec![definition(joining)], &["a", "b"]);
    let run = driver.start("check").unwrap().id;
    let first = driver.node(&run, "a").pod.clone();
    for _ in 0..2 {
        driver.see(Observation::Node(NodeFacts { ready: false, ..facts("a") }));
        driver.pass(600);
        assert_eq!(driver.node(&run, "a").state, NodeRunState::Skipped);
        driver.see(Observation::Node(facts("a")));
        assert_eq!(driver.node(&run, "a").state, NodeRunState::Waiting, "the canary is another node");
    }
    assert_eq!((driver.node(&run, "a").attempt, &driver.node(&run, "a").pod), (2, &format!("{first}-r2")));
}

#[test]
fn a_pod_that_nobody_may_delete_holds_up_its_run_for_ten_minutes() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Running);
    driver.on_delete = OnDelete::Refuse;
    driver.ask(Command::Cancel { run: run.clone() }).unwrap();
    driver.pass(599);
    assert_eq!(driver.run(&run).state, RunState::Running);
    driver.pass(1);
    assert_eq!(driver.run(&run).state, RunState::Cancelled);
    driver.on_delete = OnDelete::Go;
    driver.pass(60);
    assert!(driver.pods.is_empty(), "it is still tried");
}

#[test]
fn a_pod_of_which_nobody_ever_knows_whether_it_was_made_fails_its_node_and_says_why() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b"]);
    driver.unknown = ["a".to_owned()].into();
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "b", PodPhase::Succeeded);
    let waiting = driver.node(&run, "a");
    assert_eq!(waiting.why.as_deref(), Some("it is not known whether its pod was made: no answer"));
    driver.pass(500);
    assert_eq!(driver.node(&run, "a").state, NodeRunState::Queued);
    driver.pass(300);
    assert_eq!((driver.node(&run, "a").state, driver.run(&run).state), (NodeRunState::Failed, RunState::Failed));
}

#[test]
fn a_run_whose_nodes_all_succeeded_is_not_replaced_any_more() {
    let replace = RunSettings { overlap: Overlap::Replace, ..settings("check") };
    let mut driver = Driver::new(vec![definition(replace)], &["a"]);
    driver.unknown = ["a".to_owned()].into();
    let run = driver.start("check").unwrap().id;
    let name = driver.node(&run, "a").pod.clone();
    let ended = RunPod { name, phase: PodPhase::Succeeded, ..pod(&run, "a", 0) };
    driver.see(Observation::Pod(Box::new(ended)));
    assert_eq!(driver.run(&run).state, RunState::Running, "a second pod may have been made");
    driver.unknown.clear();
    let next = driver.start("check").unwrap().id;
    assert!(driver.pods.is_empty());
    driver.pass(30);
    assert_eq!((driver.run(&run).state, &driver.run(&run).why), (RunState::Succeeded, &None));
    assert_eq!(driver.node(&next, "a").state, NodeRunState::Queued);
}

#[test]
fn a_copy_of_a_pod_in_another_namespace_is_left_alone_and_holds_up_nobody() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a"]);
    let run = driver.start("check").unwrap().id;
    let name = driver.node(&run, "a").pod.clone();
    let copy = RunPod { namespace: "other".to_owned(), name, phase: PodPhase::Running, ..pod(&run, "a", 0) };
    driver.see(Observation::Pod(Box::new(copy)));
    driver.pod(&run, "a", PodPhase::Succeeded);
    assert_eq!(driver.run(&run).state, RunState::Succeeded);
    assert!(!driver.steps.iter().any(|step| matches!(step, Step::Delete { .. })));
}

#[test]
fn a_refusal_that_comes_late_does_not_fail_the_next_attempt() {
    let mut driver = Driver::new(vec![definition(RunSettings { retries: 1, ..settings("check") })], &["a"]);
    driver.unknown = ["a".to_owned()].into();
    let run = driver.start("check").unwrap().id;
    let name = driver.node(&run, "a").pod.clone();
    let key = |name: &str| StepKey::Create { namespace: "jobs".to_owned(), name: name.to_owned() };
    // The second try is on its way when the pod of the first comes and goes, and still when the next attempt begins.
    driver.now += SignedDuration::from_secs(1);
    assert_eq!(driver.runs.plan(driver.now).steps.len(), 1);
    driver.runs.observe(
        Observation::PodGone { namespace: "jobs".to_owned(), name: name.clone(), uid: "uid-seen".to_owned() },
        driver.now,
    );
    driver.now += SignedDuration::from_secs(10);
    let begun = driver.runs.plan(driver.now);
    assert!(matches!(&begun.steps[..], [Step::Create(pod)] if pod.attempt == 1), "{begun:?}");
    begun.changes.into_iter().for_each(|change| driver.store(change));
    driver.see(Observation::Answered { step: key(&name), answer: Answer::Refused { why: "exceeded quota".to_owned() } });
    assert_eq!((driver.node(&run, "a").state, driver.node(&run, "a").attempt), (NodeRunState::Queued, 1));
}
