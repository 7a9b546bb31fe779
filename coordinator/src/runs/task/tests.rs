//! The loop over a cluster in memory, with the real decisions and a real database.

mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_decide::pool::NodeFacts;
use jobmeter_decide::runs::{Answer, Command, CreatePod, Definition, PodPhase, Refusal, RunPod};
use jobmeter_protocol::runs::{
    NodeResult, NodeRunState, Overlap, Placement, Run, RunCounts, RunMetrics, RunSettings, RunState, StartRun, StoredRun, Trigger,
};
use prometheus::Registry;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::execute::run_pods::{RunPods, SaveLogsError};
use crate::leadership::Authority;
use crate::metrics::Metrics;
use crate::pool::{FromRuns, OwnPools, StoredPods};
use crate::runs::reports::ReportDirectory;
use crate::runs::view::Posted;
use crate::runs::{ReportRefused, RunsView, TokenKey};
use crate::store::{Assembly, Store};

use kit::*;

#[tokio::test]
async fn a_run_goes_from_its_trigger_over_every_node_to_its_end_with_results_and_logs() {
    let world = World::new(&["a", "b", "c"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    assert_eq!(term.own.borrow().clone(), OwnPools::from([("run.inventory".to_owned(), 2)]));
    for node in ["a", "b", "c"] {
        term.works(&run.id, node).await;
    }
    term.run_is(&run.id, RunState::Succeeded).await;
    let ended = term.run(&run.id);
    assert_eq!(ended.results.len(), 3);
    assert_eq!(ended.run.nodes.succeeded, 3);
    assert_eq!(term.cluster.calls("create").len(), 3, "each pod was made once");
    term.eventually("three logs", async || (term.cluster.calls("log").len() == 3).then_some(())).await;
    // As people see it from the store, of whichever replica.
    assert_eq!(term.store.run_results(&run.id).await.unwrap().unwrap().len(), 3);
    assert_eq!(term.store.run(&run.id).await.unwrap().unwrap().run, ended.run);
    term.end().await;
}

#[tokio::test]
async fn a_coordinator_that_was_restarted_goes_on_and_counts_a_late_report_once() {
    let world = World::new(&["a", "b", "c"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.works(&run.id, "a").await;
    term.node_is(&run.id, "a", NodeRunState::Succeeded).await;
    for node in ["b", "c"] {
        term.pod_is_made(node).await;
        term.cluster.becomes(node, PodPhase::Running);
        term.node_is(&run.id, node, NodeRunState::Running).await;
    }
    let key: TokenKey = term.view.key().unwrap();
    term.end().await;
    // Nobody leads: b ends, and what it posts is not answered.
    world.cluster.becomes("b", PodPhase::Succeeded);

    let term = world.term(Authority::alone()).await;
    term.eventually("the runs are known again", async || term.view.snapshot().ok()).await;
    let token = key.token(&run.id, "b", 0);
    let known = term.view.key().unwrap().attempt(&token, &run.id, "b", 0);
    assert_eq!(known, Some(0), "a token of before the restart is good");
    term.posts(&run.id, "b", 0, 7.0).await.unwrap();
    term.posts(&run.id, "b", 0, 8.0).await.unwrap();
    term.posts(&run.id, "c", 0, 1.0).await.unwrap();
    term.eventually("c is watched", async || term.cluster.pod_of("c")).await;
    term.cluster.becomes("c", PodPhase::Succeeded);
    term.run_is(&run.id, RunState::Succeeded).await;
    let ended = term.run(&run.id);
    assert_eq!((ended.results.len(), ended.run.nodes.succeeded), (3, 3));
    assert_eq!(value(&ended, "b"), 8.0, "a repeated result replaces the one before");
    assert_eq!(term.cluster.calls("create").len(), 3, "no pod was made again");
    term.end().await;
}

#[tokio::test]
async fn pods_that_cannot_be_made_hold_up_nobody_else_and_it_is_said_why() {
    let world = World::new(&["a", "b", "c", "d"]);
    world.cluster.refused.lock().unwrap().extend(["a".to_owned(), "b".to_owned()]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.works(&run.id, "c").await;
    term.works(&run.id, "d").await;
    term.node_is(&run.id, "c", NodeRunState::Succeeded).await;
    term.node_is(&run.id, "d", NodeRunState::Succeeded).await;
    // Each refusal was an attempt, and there are no further ones.
    term.run_is(&run.id, RunState::Failed).await;
    for node in ["a", "b"] {
        let refused = &term.run(&run.id).nodes[node];
        assert_eq!(refused.state, NodeRunState::Failed);
        assert!(refused.why.as_deref().is_some_and(|why| why.contains("exceeded quota")), "{refused:?}");
    }
    term.end().await;
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_loses_nothing_and_nothing_is_answered_meanwhile() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.pod_is_made("a").await;
    term.cluster.becomes("a", PodPhase::Running);
    term.node_is(&run.id, "a", NodeRunState::Running).await;

    refuse(&world.database(), FULL);
    let view = term.view.clone();
    let id = run.id.clone();
    let posting = tokio::spawn(async move {
        let posted = Posted::Result(Box::new(result("a", 0, 5.0)));
        view.report(&id, "a", 0, posted).await.unwrap()
    });
    let failing = || format!("{:?}", term.sources.snapshot()).contains("the disk is full");
    term.eventually("the trouble is told", async || failing().then_some(())).await;
    assert!(!posting.is_finished(), "answered although it is not durable");
    assert_eq!(term.run(&run.id).results.len(), 0, "shown although it is not durable");
    term.cluster.becomes("a", PodPhase::Succeeded);

    refuse(&world.database(), EMPTIED);
    posting.await.unwrap().unwrap();
    assert_eq!(term.store.run_results(&run.id).await.unwrap().unwrap().len(), 1, "it was answered, so it is in the database");
    term.run_is(&run.id, RunState::Succeeded).await;
    let active = |source: &str| matches!(term.sources.snapshot()[source].state, SourceState::Active);
    term.eventually("all is well again", async || active("run-store").then_some(())).await;
    term.end().await;
}

#[tokio::test]
async fn a_run_that_could_not_be_stored_gets_no_pods() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    let first = term.start().await;
    term.works(&first.id, "a").await;
    term.run_is(&first.id, RunState::Succeeded).await;
    let made = term.cluster.calls("create").len();

    refuse(&world.database(), FULL);
    let view = term.view.clone();
    let start = Command::Start(StartRun { definition: "inventory".to_owned(), nodes: vec![] });
    let starting = tokio::spawn(async move { view.command(start).await });
    let failing = || format!("{:?}", term.sources.snapshot()).contains("the disk is full");
    term.eventually("the trouble is told", async || failing().then_some(())).await;
    assert!(!starting.is_finished());
    assert_eq!(term.cluster.calls("create").len(), made);
    // Asked to stop, it does not wait for a disk.
    term.end().await;
    assert!(starting.await.unwrap().is_err(), "nobody knows whether it was begun, and that is what is said");
}

#[tokio::test]
async fn what_was_answered_can_be_seen() {
    let world = World::new(&["a", "b"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    assert_eq!(term.run(&run.id).run.id, run.id, "the run is shown before it is answered");
    for count in 1..=50 {
        term.posts(&run.id, "a", 0, f64::from(count)).await.unwrap();
        assert_eq!(value(&term.run(&run.id), "a"), f64::from(count));
    }
    term.end().await;
}

#[tokio::test]
async fn a_result_of_an_earlier_attempt_never_replaces_that_of_a_later_one() {
    let mut world = World::new(&["a"]);
    world.settings.retries = 1;
    world.settings.retry_delay = SignedDuration::from_millis(10);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.pod_is_made("a").await;
    let beyond = term.posts(&run.id, "a", 1, 3.0).await;
    assert!(matches!(beyond, Err(ReportRefused::Unknown { .. })), "an attempt that was not made yet");
    assert!(matches!(term.posts(&run.id, "z", 0, 3.0).await, Err(ReportRefused::Unknown { .. })));
    assert!(matches!(term.posts("200001010000", "a", 0, 3.0).await, Err(ReportRefused::Unknown { .. })));
    term.cluster.becomes("a", PodPhase::Running);
    term.cluster.becomes("a", PodPhase::Failed);
    term.eventually("a second attempt", async || term.cluster.pod_of("a").filter(|pod| pod.attempt == 1)).await;
    term.posts(&run.id, "a", 1, 2.0).await.unwrap();
    term.posts(&run.id, "a", 0, 1.0).await.unwrap();
    assert_eq!(value(&term.run(&run.id), "a"), 2.0);
    assert_eq!(term.store.run_results(&run.id).await.unwrap().unwrap()[0].attempt, 1);
    term.end().await;
}

#[tokio::test]
async fn without_the_authority_no_pod_is_made_and_no_node_has_failed_for_it() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::lapsed(4)).await;
    let run = term.start().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(term.cluster.calls("create"), Vec::<String>::new());
    let node = term.run(&run.id).nodes["a"].clone();
    assert!(!node.state.is_over(), "{node:?}");
    term.end().await;
    // The next leader does it.
    let term = world.term(Authority::alone()).await;
    term.works(&run.id, "a").await;
    term.run_is(&run.id, RunState::Succeeded).await;
    term.end().await;
}

#[tokio::test]
async fn a_pods_log_is_saved_before_the_pod_is_deleted() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    let pod = term.pod_is_made("a").await;
    term.cluster.becomes("a", PodPhase::Running);
    term.node_is(&run.id, "a", NodeRunState::Running).await;
    term.view.command(Command::Cancel { run: run.id.clone() }).await.unwrap().unwrap();
    term.run_is(&run.id, RunState::Cancelled).await;
    let calls: Vec<_> = term.cluster.calls.lock().unwrap().iter().filter(|call| !call.starts_with("create")).cloned().collect();
    assert_eq!(calls, [format!("log {}", pod.name), format!("delete {}", pod.name)]);
    term.end().await;
}

#[tokio::test]
async fn a_pod_with_our_label_from_elsewhere_is_not_taken_for_ours_and_its_log_is_written_nowhere() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    let pod = term.pod_is_made("a").await;
    let stranger = |namespace: &str, node: &str, name: &str| RunPod {
        namespace: namespace.to_owned(),
        node: node.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{namespace}-{name}"),
        phase: PodPhase::Running,
        started: Some(Timestamp::now()),
        ..pod.clone()
    };
    // Of a node that the run does not have: it is deleted, and its log would be a file wherever it likes.
    let climbing = stranger("bench", "../../out", "climbing");
    world.cluster.pods.lock().unwrap().insert("climbing".to_owned(), climbing.clone());
    world.cluster.tell(Observation::Pod(Box::new(climbing)));
    // Of another namespace, and else as if it were ours.
    world.cluster.tell(Observation::Pod(Box::new(stranger("elsewhere", "a", "other"))));
    world.cluster.tell(Observation::Pod(Box::new(RunPod { phase: PodPhase::Failed, ..stranger("elsewhere", "a", &pod.name) })));
    term.eventually("it is deleted", async || (term.cluster.calls("delete") == ["delete climbing"]).then_some(())).await;
    term.works(&run.id, "a").await;
    term.run_is(&run.id, RunState::Succeeded).await;
    assert_eq!(term.cluster.calls("delete"), ["delete climbing"], "what is in another namespace is none of ours");
    term.eventually("its own log", async || (term.cluster.calls("log") == [format!("log {}", pod.name)]).then_some(())).await;
    term.end().await;
}

#[tokio::test]
async fn pods_may_be_let_go_once_they_are_stored_and_until_they_are_over() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    assert_eq!(*term.stored.borrow(), Some(Default::default()), "none, before anything is stored");
    let run = term.start().await;
    term.pod_is_made("a").await;
    let is_stored = || term.stored.borrow().as_ref().is_some_and(|stored| stored.len() == 1);
    term.eventually("its pod is stored", async || is_stored().then_some(())).await;
    let kept = term.store.run(&run.id).await.unwrap().unwrap().nodes.remove(0);
    assert!(term.stored.borrow().as_ref().unwrap().contains(kept.pod_uid.as_deref().unwrap()));
    term.cluster.becomes("a", PodPhase::Failed);
    term.node_is(&run.id, "a", NodeRunState::Failed).await;
    term.eventually("it is over", async || (!is_stored()).then_some(())).await;
    term.end().await;
}

#[tokio::test]
async fn the_snapshot_is_fresh_although_there_is_always_something_to_observe() {
    let world = World::new(&["a"]);
    let store = Store::open(&world.database(), Assembly::default(), Box::new(|_| {})).unwrap();
    let (_inbox, seen) = mpsc::channel(64);
    let (view, desk) = RunsView::new();
    let mut storing = Storing::new(store.clone(), Metrics::register(&Registry::new(), 10).unwrap(), SourceBoard::default());
    let begun = storing.begin().await.unwrap();
    let (told, _pools) = FromRuns::channel();
    let steps = Steps::new(world.cluster.clone(), Authority::alone());
    let mut task = Task::new(Parts { seen, steps, storing, begun, desk, told });
    let mut published = view.changes();
    published.mark_unchanged();
    // One turn after the other, and the timers in between never get theirs.
    task.settle(Plan::default()).await;
    assert!(!published.has_changed().unwrap(), "not at each turn");
    tokio::time::sleep(PUBLISH).await;
    task.settle(Plan::default()).await;
    assert!(published.has_changed().unwrap());
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_answered_before_the_lists_were_read_survives_a_crash() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.pod_is_made("a").await;
    term.cluster.becomes("a", PodPhase::Running);
    term.node_is(&run.id, "a", NodeRunState::Running).await;
    term.end().await;

    // A term that lists nothing: the API server is away.
    let store = Store::open(&world.database(), Assembly::default(), Box::new(|_| {})).unwrap();
    let (_inbox, seen) = mpsc::channel(64);
    let (view, desk) = RunsView::new();
    let mut storing = Storing::new(store.clone(), Metrics::register(&Registry::new(), 10).unwrap(), SourceBoard::default());
    let begun = storing.begin().await.unwrap();
    let (told, _pools) = FromRuns::channel();
    let steps = Steps::new(world.cluster.clone(), Authority::alone());
    let token = CancellationToken::new();
    let task = tokio::spawn(Task::new(Parts { seen, steps, storing, begun, desk, told }).run(token.clone()));
    view.report(&run.id, "a", 0, Posted::Result(Box::new(result("a", 0, 1.0)))).await.unwrap().unwrap();
    view.report(&run.id, "a", 0, Posted::File { bytes: 5 }).await.unwrap().unwrap();
    let kept = store.run(&run.id).await.unwrap().unwrap().nodes.remove(0);
    assert!(kept.reported.is_some() && kept.file_bytes == 5, "answered, so it is in the database: {kept:?}");
    token.cancel();
    task.await.unwrap().unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn with_a_history_of_one_the_current_run_is_kept_and_the_one_before_goes_with_its_reports() {
    let world = World::new(&["a"]);
    let created = Timestamp::now() - SignedDuration::from_hours(1);
    let before = Run {
        id: "202611211930".to_owned(),
        definition: "inventory".to_owned(),
        namespace: "bench".to_owned(),
        trigger: Trigger::Manual,
        state: RunState::Succeeded,
        why: None,
        created,
        finished: Some(created),
        pool: "run.inventory".to_owned(),
        stopping: false,
        nodes: RunCounts::default(),
    };
    let directory = |run: &Run| ReportDirectory::of(&world.settings, &run.id).path().to_owned();
    std::fs::create_dir(directory(&before)).unwrap();
    std::fs::write(directory(&before).join("a.json"), "{}").unwrap();
    let store = Store::open(&world.database(), Assembly::default(), Box::new(|_| {})).unwrap();
    let settings = Some(Arc::new(world.settings.clone()));
    store.apply_runs(vec![RunChange::Run { run: Box::new(before.clone()), settings }]).await.unwrap();
    store.close().await.unwrap();

    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.works(&run.id, "a").await;
    term.run_is(&run.id, RunState::Succeeded).await;
    term.eventually("the run before is forgotten", async || {
        (!term.view.snapshot().unwrap().runs.contains_key(&before.id)).then_some(())
    })
    .await;
    assert_eq!(term.cluster.calls("forget"), [format!("forget {}", before.id)]);
    assert!(!directory(&before).exists());
    assert!(directory(&run).is_dir());
    assert!(term.store.run(&before.id).await.unwrap().is_none());
    assert!(term.store.run(&run.id).await.unwrap().is_some());
    term.end().await;
}

#[tokio::test]
async fn a_definitions_pool_stays_until_its_last_run_is_over() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    let run = term.start().await;
    term.pod_is_made("a").await;
    term.cluster.tell(Observation::Definitions(vec![]));
    term.eventually("the definition is gone", async || term.view.snapshot().unwrap().definitions.is_empty().then_some(())).await;
    assert_eq!(term.own.borrow().clone(), OwnPools::from([("run.inventory".to_owned(), 2)]), "its run needs it");
    term.works(&run.id, "a").await;
    term.run_is(&run.id, RunState::Succeeded).await;
    term.eventually("the pool is gone", async || term.own.borrow().is_empty().then_some(())).await;
    term.end().await;
}

#[tokio::test]
async fn a_watch_that_is_gone_is_no_way_to_go_on() {
    let world = World::new(&["a"]);
    let term = world.term(Authority::alone()).await;
    *world.cluster.inbox.lock().unwrap() = None;
    assert!(term.task.await.unwrap().is_err());
}
