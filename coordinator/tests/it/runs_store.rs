//! Runs in the store: what is kept of them, and what a change that is repeated, late, or unreadable does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use jobmeter_coordinator::StoreError;
use jobmeter_coordinator::store::{Assembly, Store};
use jobmeter_protocol::runs::{
    DefinitionMemory, GaugeSettings, GaugeValue, NodeResult, NodeRun, NodeRunState, Overlap, Placement, Run, RunChange,
    RunCounts, RunMetrics, RunQuery, RunSettings, RunState, SkippedTrigger, StoredRun, Trigger,
};

use crate::engines::{Bed, on_each_engine};

on_each_engine!(
    everything_that_is_stored_of_runs_comes_back,
    changes_may_be_stored_twice_and_what_is_told_of_a_forgotten_run_is_left_out,
    a_batch_is_stored_whole_or_not_at_all,
    pages_are_newest_first_and_filtered,
    one_unreadable_row_costs_no_other_run,
    the_secret_of_the_tokens_is_made_once_and_survives,
    five_thousand_nodes_are_stored_in_one_batch,
);

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_289_400 + seconds).unwrap()
}

pub(crate) fn run(id: &str, definition: &str, state: RunState) -> Run {
    Run {
        id: id.into(),
        definition: definition.into(),
        namespace: "checks".into(),
        trigger: Trigger::Schedule { due: at(0) },
        state,
        why: (state == RunState::Failed).then(|| "node-b failed: exit code 1".into()),
        created: at(1),
        finished: state.is_over().then(|| at(60)),
        pool: format!("run.{definition}"),
        stopping: false,
        nodes: RunCounts { total: 2, succeeded: 1, failed: 1, ..RunCounts::default() },
    }
}

pub(crate) fn settings(definition: &str) -> Arc<RunSettings> {
    Arc::new(RunSettings {
        name: definition.into(),
        namespace: "checks".into(),
        pool: format!("run.{definition}"),
        own_pool_size: Some(2),
        placement: Placement::Scheduler,
        node_selector: BTreeMap::from([("kubernetes.io/os".into(), "linux".into())]),
        unschedulable_nodes: false,
        pod_template: "kind: Pod\nspec: {nodeName: '{{ .NodeName }}', note: 'ü \"quoted\"'}\n".into(),
        service_account: "checks".into(),
        image_pull_secrets: vec!["registry".into()],
        retries: 1,
        retry_delay: SignedDuration::from_secs(30),
        start_deadline: Some(SignedDuration::from_mins(10)),
        node_deadline: None,
        run_deadline: Some(SignedDuration::from_hours(2)),
        canary: 1,
        max_failures: Some(3),
        new_nodes: true,
        overlap: Overlap::Replace,
        catch_up: Some(SignedDuration::from_hours(1)),
        history: 5,
        result_required: true,
        compatible: false,
        save_pod_log: true,
        report_directory: "/reports/checks".into(),
        metrics: RunMetrics {
            prefix: "checks".into(),
            gauges: BTreeMap::from([("disk".into(), GaugeSettings { help: "Free".into(), labels: vec!["mount".into()] })]),
            latest: true,
        },
        callback_service: None,
        callback_port: Some(8090),
    })
}

pub(crate) fn node(name: &str, state: NodeRunState) -> Box<NodeRun> {
    Box::new(NodeRun {
        node: name.into(),
        state,
        why: (state == NodeRunState::Failed).then(|| "exit code 1".into()),
        attempt: 1,
        pod: format!("checks-job-{name}"),
        pod_uid: Some("0f5c7b46-aaaa-bbbb-cccc-000000000001".into()),
        created: Some(at(2)),
        admitted: Some(at(3)),
        started: Some(at(4)),
        finished: state.is_over().then(|| at(50)),
        exit_code: state.is_over().then_some(0),
        reason: None,
        reported: Some(at(49)),
        files: 2,
        file_bytes: 4096,
        events: 1,
        retry_at: None,
    })
}

pub(crate) fn result(node: &str, value: f64) -> Box<NodeResult> {
    let labels = BTreeMap::from([("mount".into(), "/var".into())]);
    let gauges = BTreeMap::from([("disk".into(), vec![GaugeValue { value, labels }])]);
    Box::new(NodeResult { node: node.into(), attempt: 1, received: at(49), gauges })
}

pub(crate) fn begun(id: &str, definition: &str) -> RunChange {
    RunChange::Run { run: Box::new(run(id, definition, RunState::Running)), settings: Some(settings(definition)) }
}

pub(crate) fn of_node(run: &str, node: Box<NodeRun>) -> RunChange {
    RunChange::Node { run: run.into(), node }
}

pub(crate) fn of_result(run: &str, result: Box<NodeResult>) -> RunChange {
    RunChange::Result { run: run.into(), result }
}

fn memory(definition: &str) -> DefinitionMemory {
    let skipped = Some(SkippedTrigger { at: at(5), why: "run 202611211930 still runs".into() });
    DefinitionMemory { definition: definition.into(), schedule: Some("@hourly".into()), seen_to: Some(at(5)), skipped }
}

const A: &str = "202611211930";
const B: &str = "202611211931";

async fn everything_that_is_stored_of_runs_comes_back(bed: &Bed) {
    let store = bed.open();
    assert_eq!(store.stored_runs().await.unwrap(), (vec![], vec![]));
    let changes = vec![
        // In whatever order: a result before its node, a node before its run.
        of_result(A, result("node-b", 0.25)),
        of_node(A, node("node-b", NodeRunState::Failed)),
        begun(A, "checks"),
        of_node(A, node("node-a", NodeRunState::Running)),
        of_node(A, node("Node-c", NodeRunState::Waiting)),
        RunChange::Memory(memory("checks")),
        RunChange::Memory(memory("burn-in")),
    ];
    store.apply_runs(changes).await.unwrap();
    let ended = RunChange::Run { run: Box::new(run(A, "checks", RunState::Failed)), settings: None };
    store.apply_runs(vec![of_node(A, node("node-a", NodeRunState::Succeeded)), ended]).await.unwrap();
    // A result of a node of which nothing else is known yet.
    store.apply_runs(vec![of_result(A, result("node-d", 7.0)), of_result(A, result("node-b", 0.5))]).await.unwrap();
    store.close().await.unwrap();

    let store = bed.open();
    let nodes = [("Node-c", NodeRunState::Waiting), ("node-a", NodeRunState::Succeeded), ("node-b", NodeRunState::Failed)];
    let expected = StoredRun {
        run: run(A, "checks", RunState::Failed),
        settings: settings("checks"),
        nodes: nodes.map(|(name, state)| (name.to_owned(), *node(name, state))).into(),
        results: [("node-b", 0.5), ("node-d", 7.0)].map(|(name, value)| (name.to_owned(), Arc::new(*result(name, value)))).into(),
    };
    let memories = vec![memory("burn-in"), memory("checks")];
    assert_eq!(store.stored_runs().await.unwrap(), (vec![expected.clone()], memories));
    let detail = bed.reader().run(A).await.unwrap().unwrap();
    assert_eq!((detail.run, detail.nodes), (expected.run, expected.nodes.into_values().collect()));
    let results = bed.reader().run_results(A).await.unwrap().unwrap();
    assert_eq!(results, [*result("node-b", 0.5), *result("node-d", 7.0)]);
    assert_eq!((store.run(B).await.unwrap(), store.run_results(B).await.unwrap()), (None, None));
}

async fn changes_may_be_stored_twice_and_what_is_told_of_a_forgotten_run_is_left_out(bed: &Bed) {
    let store = bed.open();
    let changes = vec![
        begun(A, "checks"),
        of_node(A, node("node-a", NodeRunState::Running)),
        of_result(A, result("node-a", 1.0)),
        begun(B, "checks"),
    ];
    store.apply_runs(changes.clone()).await.unwrap();
    let once = store.stored_runs().await.unwrap();
    store.apply_runs(changes).await.unwrap();
    assert_eq!(store.stored_runs().await.unwrap(), once);

    // What is on its way when a run is forgotten brings nothing of it back.
    let late = vec![
        of_node(A, node("node-b", NodeRunState::Running)),
        RunChange::Forget { run: A.into() },
        of_result(A, result("node-a", 2.0)),
        RunChange::Run { run: Box::new(run(A, "checks", RunState::Cancelled)), settings: None },
    ];
    for _ in 0..2 {
        store.apply_runs(late.clone()).await.unwrap();
        let ids: Vec<String> = store.stored_runs().await.unwrap().0.into_iter().map(|stored| stored.run.id).collect();
        assert_eq!(ids, [B]);
    }
    // The ID is given again within the minute: nothing of before hangs on it.
    store.apply_runs(vec![begun(A, "burn-in")]).await.unwrap();
    let detail = store.run(A).await.unwrap().unwrap();
    assert_eq!((detail.run.definition.as_str(), detail.nodes.len()), ("burn-in", 0));
    assert_eq!(store.run_results(A).await.unwrap().unwrap(), []);
}

async fn a_batch_is_stored_whole_or_not_at_all(bed: &Bed) {
    let store = bed.open();
    store.apply_runs(vec![begun(A, "checks")]).await.unwrap();
    bed.sabotage("ALTER TABLE run_nodes RENAME TO moved");
    let changes = vec![begun(B, "checks"), RunChange::Memory(memory("checks")), of_node(B, node("a", NodeRunState::Waiting))];
    let error = store.apply_runs(changes.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Engine { .. }), "{error:?}");
    bed.sabotage("ALTER TABLE moved RENAME TO run_nodes");
    let (runs, memories) = store.stored_runs().await.unwrap();
    assert_eq!((runs.len(), memories.len()), (1, 0));
    store.apply_runs(changes).await.unwrap();
    assert_eq!(store.stored_runs().await.unwrap().0.len(), 2);
}

async fn pages_are_newest_first_and_filtered(bed: &Bed) {
    let store = bed.open();
    let ids = ["202611211929", "202611211930", "20261121193001", "20261121193002", "202611211931"];
    let mut changes: Vec<RunChange> = ids.iter().enumerate().map(|(n, id)| begun(id, ["checks", "burn-in"][n % 2])).collect();
    changes.push(RunChange::Run { run: Box::new(run(ids[2], "checks", RunState::Failed)), settings: None });
    store.apply_runs(changes).await.unwrap();
    let page = async |query: RunQuery| {
        let page = store.runs(&query).await.unwrap();
        (page.items.into_iter().map(|run| run.id).collect::<Vec<_>>().join(" "), page.next)
    };
    let all = RunQuery { limit: Some(2), ..RunQuery::default() };
    let (first, next) = page(all.clone()).await;
    assert_eq!((first.as_str(), next.as_deref()), ("202611211931 20261121193002", Some("20261121193002")));
    let (second, next) = page(RunQuery { after: next, ..all.clone() }).await;
    assert_eq!((second.as_str(), next.as_deref()), ("20261121193001 202611211930", Some("202611211930")));
    assert_eq!(page(RunQuery { after: next, ..all }).await, ("202611211929".to_owned(), None));
    let of = |definition: &str| RunQuery { definition: Some(definition.into()), ..RunQuery::default() };
    assert_eq!(page(of("burn-in")).await.0, "20261121193002 202611211930");
    assert_eq!(page(RunQuery { state: Some(RunState::Failed), ..of("checks") }).await.0, ids[2]);
    assert_eq!(page(RunQuery { state: Some(RunState::Failed), ..of("burn-in") }).await.0, "");
    assert_eq!(page(of("it's \0 nothing")).await.0, "");
    let error = store.runs(&RunQuery { limit: Some(1001), ..RunQuery::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "limit: 1001 is not between 1 and 1000");
}

async fn one_unreadable_row_costs_no_other_run(bed: &Bed) {
    let store = bed.open();
    let c = "202611211932";
    for id in [A, B, c] {
        let nodes = ["node-a", "node-b"].map(|name| of_node(id, node(name, NodeRunState::Running)));
        store.apply_runs(vec![begun(id, "checks")]).await.unwrap();
        store.apply_runs(nodes.into()).await.unwrap();
    }
    store.apply_runs(vec![of_result(c, result("node-a", 1.0)), RunChange::Memory(memory("checks"))]).await.unwrap();
    bed.sabotage(&format!(
        "UPDATE runs SET settings = '{{' WHERE id = '{A}'; UPDATE runs SET run = '{{' WHERE id = '{B}';
         UPDATE run_nodes SET doc = '{{' WHERE run = '{c}' AND node = 'node-a'; UPDATE run_definitions SET doc = '{{'"
    ));
    let (runs, memories) = store.stored_runs().await.unwrap();
    assert_eq!((runs.len(), memories.len()), (1, 0));
    assert_eq!(runs[0].nodes.keys().collect::<Vec<_>>(), ["node-b"]);
    assert_eq!(runs[0].results.keys().collect::<Vec<_>>(), ["node-a"]);
    assert_eq!(store.totals().await.unwrap().skipped, 4);
    let page = store.runs(&RunQuery::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), [c, A]);
    assert_eq!(store.run(c).await.unwrap().unwrap().nodes.len(), 1);
    let error = store.run(B).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with(&format!("what is stored of run {B} cannot be read")), "{cause}");
}

async fn the_secret_of_the_tokens_is_made_once_and_survives(bed: &Bed) {
    let store = bed.open();
    let first: Vec<u8> = (0..=255).collect();
    assert_eq!(store.run_secret(&first).await.unwrap(), first);
    assert_eq!(store.run_secret(b"a later one").await.unwrap(), first);
    store.close().await.unwrap();
    let store = bed.open();
    assert_eq!(store.run_secret(b"after a restart").await.unwrap(), first);
    bed.sabotage("UPDATE run_secret SET secret = 'never-shown !'");
    // Another one in its place would make strangers of the pods that run.
    let error = format!("{:?}", store.run_secret(b"x").await.unwrap_err());
    assert!(error.contains("the secret of the runs' tokens") && !error.contains("never-shown"), "{error}");
}

async fn five_thousand_nodes_are_stored_in_one_batch(bed: &Bed) {
    const NODES: usize = 5_000;
    let store = bed.open();
    let changes = |state| (0..NODES).map(move |n| of_node(A, node(&format!("node-{n:04}"), state))).collect::<Vec<_>>();
    store.apply_runs(vec![begun(A, "checks")]).await.unwrap();
    for state in [NodeRunState::Waiting, NodeRunState::Succeeded] {
        let changes = changes(state);
        let begun = Instant::now();
        store.apply_runs(changes).await.unwrap();
        println!("{NODES} nodes {}: {:?}", state.as_str(), begun.elapsed());
    }
    let begun = Instant::now();
    let nodes = store.run(A).await.unwrap().unwrap().nodes;
    println!("{NODES} nodes read: {:?}", begun.elapsed());
    assert_eq!((nodes.len(), nodes[NODES - 1].state), (NODES, NodeRunState::Succeeded));
    assert!(nodes.is_sorted_by_key(|node| node.node.clone()));
}

#[tokio::test]
async fn a_database_of_before_there_were_runs_is_brought_up_to_date() {
    let Some(bed) = Bed::postgres() else { return };
    drop(bed.open());
    bed.sabotage("DROP TABLE runs, run_nodes, run_definitions, run_secret; DELETE FROM migrations WHERE version = 3");
    let store = bed.open();
    store.apply_runs(vec![begun(A, "checks")]).await.unwrap();
    assert_eq!(store.stored_runs().await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn runs_of_an_old_epoch_are_refused_and_nothing_of_them_is_stored() {
    let Some(bed) = Bed::postgres() else { return };
    let leader = |epoch| Store::open_leader(&bed.place(), epoch, Assembly::default(), Box::new(|_| {})).unwrap();
    let old = leader(1);
    old.apply_runs(vec![begun(A, "checks")]).await.unwrap();
    let new = leader(2);
    let error = old.apply_runs(vec![begun(B, "checks")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { epoch: 1, found: 2, .. }), "{error:?}");
    assert_eq!(new.stored_runs().await.unwrap().0.len(), 1);
}
