//! What batch-job-controller got wrong and must hold here.

use super::*;

#[test]
fn refused_creates_do_not_hold_up_the_other_nodes() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b", "c", "d"]);
    driver.refused = ["a", "b"].map(str::to_owned).into();
    let run = driver.start("check").unwrap().id;
    for node in ["c", "d"] {
        driver.pod(&run, node, PodPhase::Succeeded);
    }
    let failed = driver.node(&run, "a");
    assert!(failed.state == NodeRunState::Failed && failed.why.as_ref().unwrap().contains("exceeded quota"), "{failed:?}");
    let ended = driver.run(&run);
    assert_eq!((ended.state, ended.why.as_deref()), (RunState::Failed, Some("2 of 4 nodes failed")));
    assert!(driver.start("check").is_ok(), "the next one begins");
}

#[test]
fn two_triggers_in_one_minute_get_two_ids_whosever_they_are() {
    let mut driver = Driver::new(vec![definition(settings("check")), definition(settings("update"))], &["a"]);
    let ids: Vec<_> = ["check", "update"].map(|name| driver.start(name).unwrap().id).into();
    assert_eq!(ids, ["202611211930", "20261121193001"]);
    assert_eq!(driver.pods.len(), 2);
}

#[test]
fn nodes_with_the_same_first_dns_label_both_run() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["node.x", "node.y"]);
    let run = driver.start("check").unwrap().id;
    for node in ["node.x", "node.y"] {
        driver.pod(&run, node, PodPhase::Succeeded);
    }
    assert_eq!(driver.run(&run).state, RunState::Succeeded);
}

#[test]
fn a_history_of_one_keeps_the_current_run_and_forgets_the_one_before() {
    let mut driver = Driver::new(vec![definition(RunSettings { history: 1, ..settings("check") })], &["a"]);
    let first = driver.start("check").unwrap().id;
    driver.pod(&first, "a", PodPhase::Succeeded);
    driver.pass(3600);
    assert!(driver.stored.contains_key(&first) && driver.pods.len() == 1, "its end does not take it away");
    let second = driver.start("check").unwrap().id;
    assert_eq!(driver.stored.keys().collect::<Vec<_>>(), [&second]);
    assert!(driver.pods.values().all(|pod| pod.run == second));
}

#[test]
fn overlapping_runs_never_have_two_pools_at_once() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b"]);
    let first = driver.start("check").unwrap().id;
    assert_eq!(driver.start("check"), Err(Refusal::Overlaps { definition: "check".to_owned(), run: first.clone() }));
    driver.pod(&first, "a", PodPhase::Running);
    assert!(driver.start("check").is_err(), "also when all its pods are made");
    assert_eq!(driver.pods.len(), 2);

    let replace = RunSettings { overlap: Overlap::Replace, ..settings("check") };
    driver.see(Observation::Definitions(vec![definition(replace)]));
    // The pod of `a` takes its time to go.
    let going = driver.node(&first, "a").pod_uid.clone().unwrap();
    driver.runs.observe(
        Observation::Asked { question: 1, what: Command::Start(StartRun { definition: "check".to_owned(), nodes: Vec::new() }) },
        driver.now,
    );
    let plan = driver.runs.plan(driver.now);
    assert!(plan.steps.iter().all(|step| matches!(step, Step::Delete { .. })), "{:?}", plan.steps);
    for change in plan.changes {
        driver.store(change);
    }
    for step in plan.steps {
        let (key, answer) = driver.take(step);
        let answer = if key == (StepKey::Delete { uid: going.clone() }) { Answer::Done } else { answer };
        driver.see(Observation::Answered { step: key, answer });
    }
    assert_eq!(driver.pods.len(), 0, "nothing of the second is made while a pod of the first may run");
    assert_eq!(driver.run(&first).state, RunState::Running);
    driver.see(Observation::PodGone { namespace: "jobs".to_owned(), name: driver.node(&first, "a").pod.clone(), uid: going });
    assert_eq!(driver.run(&first).state, RunState::Cancelled);
    assert_eq!(driver.pods.len(), 2);
}

#[test]
fn a_pod_that_is_deleted_while_it_is_pending_fails_its_node_and_not_the_others() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Pending);
    driver.lose(&run, "a");
    assert_eq!(driver.node(&run, "a").why.as_deref(), Some("its pod was deleted"));
    driver.pod(&run, "b", PodPhase::Succeeded);
    assert_eq!(driver.run(&run).why.as_deref(), Some("1 of 2 nodes failed"));
}

#[test]
fn a_late_result_counts_once() {
    let mut driver = Driver::new(vec![definition(RunSettings { result_required: true, ..settings("check") })], &["a", "b"]);
    let run = driver.start("check").unwrap().id;
    driver.report(&run, "a", 0);
    driver.pod(&run, "a", PodPhase::Succeeded);
    assert_eq!(driver.node(&run, "a").state, NodeRunState::Succeeded);
    driver.pod(&run, "b", PodPhase::Succeeded);
    assert_eq!(driver.node(&run, "b").state, NodeRunState::Running, "its result is awaited");
    driver.pass(10);
    assert_eq!(driver.node(&run, "b").why.as_deref(), Some("it ended well without having posted a result"));
    assert_eq!(driver.run(&run).state, RunState::Failed);
    driver.begin();
    driver.report(&run, "b", 0);
    driver.report(&run, "b", 0);
    let ended = driver.run(&run);
    assert_eq!((ended.state, ended.nodes.succeeded, ended.nodes.failed, &ended.why), (RunState::Succeeded, 2, 0, &None));
}

#[test]
fn a_failed_pod_says_why_and_a_result_does_not_make_it_right() {
    let mut driver = Driver::new(vec![definition(RunSettings { result_required: true, ..settings("check") })], &["a"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Failed);
    driver.report(&run, "a", 0);
    let node = driver.node(&run, "a");
    assert_eq!((node.state, node.why.as_deref()), (NodeRunState::Failed, Some("its pod failed with exit code 1")));
    assert!(node.reported.is_some());
}

#[test]
fn a_restart_goes_on_with_the_run() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b", "c"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Running);
    let lost = driver.node(&run, "b").pod_uid.clone().unwrap();
    driver.pods.remove(&lost);
    driver.begin();
    assert_eq!(driver.states(&run), [NodeRunState::Running, NodeRunState::Failed, NodeRunState::Queued]);
    driver.pod(&run, "a", PodPhase::Succeeded);
    driver.pod(&run, "c", PodPhase::Succeeded);
    assert!(driver.run(&run).state.is_over());
    assert_eq!(driver.made, 3);
}
