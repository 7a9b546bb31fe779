//! Triggers, canaries, limits, deadlines, retries.

use super::*;

fn every(name: &str, schedule: &str) -> Definition {
    Definition { schedule: Some(Schedule::parse(schedule).unwrap()), ..definition(settings(name)) }
}

#[test]
fn nothing_is_planned_before_everything_is_known() {
    let now = Timestamp::UNIX_EPOCH;
    let mut runs = Runs::new(now);
    runs.observe(Observation::Definitions(vec![every("check", "@every 1s")]), now);
    runs.observe(Observation::NodesListed(vec![facts("a")]), now);
    runs.observe(Observation::PodsListed(Vec::new()), now);
    runs.observe(Observation::Asked { question: 3, what: Command::Cancel { run: "1".to_owned() } }, now);
    let plan = runs.plan(now + SignedDuration::from_hours(1));
    assert_eq!(plan, Plan { answers: vec![(3, Err(Refusal::NotReady))], ..Plan::default() });
    assert_eq!(runs.next_wake(), None);
}

#[test]
fn a_schedule_begins_runs_and_what_was_missed_is_skipped_or_made_up_for() {
    let mut driver = Driver::new(vec![every("check", "@hourly")], &["a"]);
    driver.pass(1800);
    let due = "2026-11-21T20:00:00Z".parse().unwrap();
    assert_eq!(driver.run("202611212000").trigger, Trigger::Schedule { due });
    driver.pod("202611212000", "a", PodPhase::Succeeded);
    driver.now += SignedDuration::from_mins(150);
    driver.begin();
    assert_eq!(driver.stored.len(), 1);
    assert!(driver.memories["check"].skipped.as_ref().unwrap().why.contains("missed"));

    let mut made_up = every("check", "@hourly");
    made_up.settings = Arc::new(RunSettings { catch_up: Some(SignedDuration::from_hours(1)), ..settings("check") });
    driver.definitions = vec![made_up];
    driver.now += SignedDuration::from_mins(130);
    driver.begin();
    let trigger = &driver.stored.values().next_back().unwrap().run.trigger;
    assert!(matches!(trigger, Trigger::CatchUp { .. }) && driver.stored.len() == 2, "one for all that were missed: {trigger:?}");
}

#[test]
fn times_before_a_schedule_was_followed_were_never_due() {
    let caught_up = |schedule: &str| Definition {
        schedule: Some(Schedule::parse(schedule).unwrap()),
        ..definition(RunSettings { catch_up: Some(SignedDuration::from_hours(24)), ..settings("check") })
    };
    let mut driver = Driver::new(vec![caught_up("@hourly")], &["a"]);
    // Another one was written while nobody led.
    driver.now += SignedDuration::from_mins(20);
    driver.definitions = vec![caught_up("45 19 * * *")];
    driver.begin();
    assert!(driver.stored.is_empty() && driver.memories["check"].skipped.is_none());
    // The definition was away, from before a restart on.
    let definitions = std::mem::take(&mut driver.definitions);
    driver.begin();
    driver.now += SignedDuration::from_hours(30);
    driver.see(Observation::Definitions(definitions.clone()));
    driver.definitions = definitions;
    assert!(driver.stored.is_empty() && driver.memories["check"].skipped.is_none());
    // One that was there is made up for.
    driver.now += SignedDuration::from_hours(24);
    driver.begin();
    assert_eq!(driver.stored.len(), 1);
}

#[test]
fn a_clock_that_was_years_ahead_does_not_silence_a_schedule() {
    let mut driver = Driver::new(vec![every("check", "@hourly")], &["a"]);
    let wrong = Some("2031-01-01T00:00:00Z".parse().unwrap());
    driver.memories.get_mut("check").unwrap().seen_to = wrong;
    driver.begin();
    driver.pass(1800);
    assert_eq!(driver.stored.len(), 1);
    // A little ahead is the clock of the leader before.
    let ahead = Some(driver.now + SignedDuration::from_mins(2));
    driver.memories.get_mut("check").unwrap().seen_to = ahead;
    driver.begin();
    assert_eq!(driver.memories["check"].seen_to, ahead);
}

#[test]
fn a_suspended_definition_runs_only_by_hand() {
    let mut suspended = every("check", "@every 1m");
    (suspended.suspended, suspended.run_on_start) = (true, Some(SignedDuration::from_secs(5)));
    let mut driver = Driver::new(vec![suspended], &["a"]);
    driver.pass(600);
    assert!(driver.stored.is_empty());
    assert!(driver.memories["check"].skipped.is_some());
    assert!(driver.start("check").is_ok());
}

#[test]
fn a_run_at_the_start_begins_after_its_delay_and_once() {
    let mut at_start = definition(settings("check"));
    at_start.run_on_start = Some(SignedDuration::from_secs(30));
    let mut driver = Driver::new(vec![at_start], &["a"]);
    driver.pass(29);
    assert!(driver.stored.is_empty());
    driver.pass(1);
    assert_eq!(driver.stored.values().next().unwrap().run.trigger, Trigger::Startup);
    driver.pass(3600);
    assert_eq!(driver.stored.len(), 1);
}

#[test]
fn the_others_wait_for_the_canary_and_are_skipped_when_it_fails() {
    let canary = RunSettings { canary: 1, ..settings("check") };
    let mut driver = Driver::new(vec![definition(canary)], &["a", "b", "c"]);
    let run = driver.start("check").unwrap().id;
    assert_eq!(driver.states(&run), [NodeRunState::Queued, NodeRunState::Waiting, NodeRunState::Waiting]);
    driver.pod(&run, "a", PodPhase::Failed);
    assert_eq!(driver.states(&run), [NodeRunState::Failed, NodeRunState::Skipped, NodeRunState::Skipped]);
    assert!(driver.run(&run).why.as_ref().unwrap().contains("one of the first 1"));
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Succeeded);
    assert_eq!(driver.states(&run)[1..], [NodeRunState::Queued, NodeRunState::Queued]);
}

#[test]
fn after_its_last_failure_what_is_gated_goes_and_what_runs_ends() {
    let limited = RunSettings { max_failures: Some(1), ..settings("check") };
    let mut driver = Driver::new(vec![definition(limited)], &["a", "b", "c"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "b", PodPhase::Running);
    driver.pod(&run, "a", PodPhase::Failed);
    assert_eq!(driver.states(&run), [NodeRunState::Failed, NodeRunState::Running, NodeRunState::Skipped]);
    assert!(driver.run(&run).stopping && driver.pods.len() == 2);
    driver.pod(&run, "b", PodPhase::Succeeded);
    assert_eq!(driver.run(&run).state, RunState::Failed);
}

#[test]
fn a_node_is_tried_again_later_and_later_by_another_pod() {
    let mut driver = Driver::new(vec![definition(RunSettings { retries: 2, ..settings("check") })], &["a"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Failed);
    driver.pass(9);
    assert_eq!(driver.node(&run, "a").state, NodeRunState::Waiting);
    driver.pass(1);
    let again = driver.node(&run, "a").clone();
    assert_eq!((again.state, again.attempt, again.exit_code), (NodeRunState::Queued, 1, None));
    assert!(again.pod.ends_with("-r1") && driver.pods.len() == 1, "the earlier pod is gone");
    driver.lose(&run, "a");
    driver.pass(19);
    assert_eq!(driver.node(&run, "a").attempt, 1);
    driver.pass(1);
    driver.pod(&run, "a", PodPhase::Failed);
    assert_eq!((driver.node(&run, "a").attempt, driver.run(&run).state), (2, RunState::Failed));
}

#[test]
fn deadlines_end_what_does_not_start_does_not_end_or_takes_too_long() {
    let minutes = |minutes| Some(SignedDuration::from_mins(minutes));
    let limited =
        RunSettings { start_deadline: minutes(1), node_deadline: minutes(2), run_deadline: minutes(5), ..settings("check") };
    let mut driver = Driver::new(vec![definition(limited)], &["a", "b", "c"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Pending);
    let uid = driver.node(&run, "a").pod_uid.clone().unwrap();
    let waiting = RunPod { waiting: Some("ImagePullBackOff".to_owned()), ..driver.pods[&uid].clone() };
    driver.see(Observation::Pod(Box::new(waiting)));
    driver.pod(&run, "b", PodPhase::Running);
    driver.pass(60);
    assert_eq!(driver.node(&run, "a").why.as_deref(), Some("it did not start within 1m: ImagePullBackOff"));
    driver.pass(60);
    assert_eq!(driver.node(&run, "b").why.as_deref(), Some("it ran longer than its deadline of 2m"));
    driver.pass(180);
    assert_eq!(driver.node(&run, "c").why.as_deref(), Some("the run's deadline passed"));
    assert_eq!((driver.run(&run).state, driver.pods.len()), (RunState::Failed, 0));
}

#[test]
fn nodes_that_are_not_usable_are_in_the_run_with_the_reason() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b", "c"]);
    driver.see(Observation::Node(NodeFacts { ready: false, ..facts("b") }));
    driver.see(Observation::Node(NodeFacts { unschedulable: true, ..facts("c") }));
    let run = driver.start("check").unwrap().id;
    assert_eq!(driver.node(&run, "b").why.as_deref(), Some("the node is not ready"));
    assert_eq!(driver.node(&run, "c").why.as_deref(), Some("the node is cordoned"));
    driver.see(Observation::NodeGone { name: "a".into() });
    assert_eq!(driver.node(&run, "a").why.as_deref(), Some("node a is gone"));
    assert!(driver.run(&run).state.is_over());
    assert!(matches!(driver.start("check"), Err(Refusal::NoNodes { .. })));
}

#[test]
fn new_nodes_join_the_run_or_get_one_of_their_own() {
    let mut driver = Driver::new(vec![definition(RunSettings { new_nodes: true, ..settings("check") })], &["a"]);
    driver.see(Observation::Node(facts("x")));
    assert!(driver.stored.is_empty(), "there was no run before");
    let run = driver.start("check").unwrap().id;
    driver.see(Observation::Node(facts("b")));
    assert_eq!(driver.states(&run).len(), 3);
    for node in ["a", "b", "x"] {
        driver.pod(&run, node, PodPhase::Succeeded);
    }
    driver.pass(100);
    driver.see(Observation::Node(facts("c")));
    let own = driver.stored.values().next_back().unwrap();
    assert_eq!((&own.run.trigger, own.nodes.len()), (&Trigger::NewNodes, 1));
    // One that is neither new nor fresh is left alone.
    let id = own.run.id.clone();
    driver.pod(&id, "c", PodPhase::Succeeded);
    driver.see(Observation::Node(facts("a")));
    assert_eq!(driver.stored.len(), 2);
}

#[test]
fn a_cancelled_run_is_over_when_its_pods_are_gone_and_can_be_retried() {
    let mut driver = Driver::new(vec![definition(settings("check"))], &["a", "b"]);
    let run = driver.start("check").unwrap().id;
    driver.pod(&run, "a", PodPhase::Succeeded);
    driver.ask(Command::Cancel { run: run.clone() }).unwrap();
    assert_eq!(driver.states(&run), [NodeRunState::Succeeded, NodeRunState::Cancelled]);
    assert_eq!(driver.run(&run).state, RunState::Cancelled);
    assert_eq!(driver.ask(Command::Cancel { run: run.clone() }), Err(Refusal::Over { run: run.clone(), state: "cancelled" }));
    let retry = driver.ask(Command::Retry { run: run.clone() }).unwrap();
    assert_eq!((retry.trigger, retry.nodes.total), (Trigger::Retry { of: run }, 1));
}

#[test]
fn a_pod_for_a_node_by_name_is_bound_once_its_pool_lets_it_go() {
    let by_name = RunSettings { placement: Placement::NodeName, ..settings("check") };
    let mut driver = Driver::new(vec![definition(by_name)], &["a"]);
    let run = driver.start("check").unwrap().id;
    assert!(!driver.steps.iter().any(|step| matches!(step, Step::Bind { .. })));
    driver.pod(&run, "a", PodPhase::Pending);
    assert!(matches!(driver.steps.last(), Some(Step::Bind { node, .. }) if node == "a"));
}

#[test]
fn a_run_of_five_thousand_nodes_keeps_so_many_pods_ahead() {
    let names: Vec<_> = (0..5_000).map(|node| format!("node-{node:04}")).collect();
    let nodes: Vec<_> = names.iter().map(String::as_str).collect();
    let mut driver = Driver::new(vec![definition(settings("check"))], &nodes);
    let run = driver.start("check").unwrap().id;
    assert_eq!((driver.run(&run).nodes.queued, driver.pods.len()), (50, 50));
    for node in nodes {
        driver.pod(&run, node, PodPhase::Succeeded);
    }
    assert_eq!(driver.run(&run).state, RunState::Succeeded);
    assert_eq!(driver.runs.own_pools(), BTreeMap::from([("run.check".to_owned(), 2)]));
    assert_eq!(driver.runs.definitions(driver.now)[0].last_run.as_ref(), Some(&run));
}
