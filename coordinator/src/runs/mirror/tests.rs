use jiff::Timestamp;
use jobmeter_protocol::runs::{GaugeValue, Run, RunCounts, RunState, Trigger};
use serde_json::json;

use super::*;
use crate::runs::address::tests::settings;

fn result(node: &str, attempt: u32, values: usize) -> Box<NodeResult> {
    let labels = BTreeMap::from([("disk".to_owned(), "sda".to_owned())]);
    let values = vec![GaugeValue { value: 1.0, labels }; values];
    let gauges = BTreeMap::from([("free".to_owned(), values)]);
    Box::new(NodeResult { node: node.to_owned(), attempt, received: Timestamp::UNIX_EPOCH, gauges })
}

fn run(id: &str) -> StoredRun {
    let settings = Arc::new(settings(json!({})));
    let run = Run {
        id: id.to_owned(),
        definition: settings.name.clone(),
        namespace: settings.namespace.clone(),
        trigger: Trigger::Manual,
        state: RunState::Running,
        why: None,
        created: Timestamp::UNIX_EPOCH,
        finished: None,
        pool: settings.pool.clone(),
        stopping: false,
        nodes: RunCounts::default(),
    };
    StoredRun { run, settings, nodes: BTreeMap::new(), results: BTreeMap::new() }
}

fn held_of(mirror: &Mirror, run: &str, node: &str) -> usize {
    mirror.runs()[run].results[node].gauges.get("free").map_or(0, Vec::len)
}

#[test]
fn results_of_any_size_take_a_bounded_amount_of_memory_and_the_newest_runs_are_shown() {
    // A third of all that is held.
    let third = held::MOST_BYTES / 3 / held::bytes(&result("a", 0, 1_000)) * 1_000;
    let mut mirror = Mirror::new(vec![run("202611211930"), run("202611211931")]);
    let post = |mirror: &mut Mirror, run: &str, node: &str, values: usize| {
        mirror.apply(RunChange::Result { run: run.to_owned(), result: result(node, 1, values) });
    };
    post(&mut mirror, "202611211930", "a", third);
    post(&mut mirror, "202611211930", "b", third);
    // The same again takes no more.
    post(&mut mirror, "202611211930", "b", third);
    post(&mut mirror, "202611211931", "a", third - 1_000);
    assert_eq!(held_of(&mirror, "202611211930", "b"), third, "there was room for it");
    post(&mut mirror, "202611211931", "b", third);
    assert_eq!((held_of(&mirror, "202611211930", "a"), held_of(&mirror, "202611211930", "b")), (0, 0), "the older one made room");
    assert_eq!(held_of(&mirror, "202611211931", "b"), third);
    post(&mut mirror, "202611211930", "a", 2 * third);
    assert_eq!(held_of(&mirror, "202611211930", "a"), 0, "an old one takes nothing from a newer one");

    // After a restart it is the same.
    let mut again = vec![run("202611211930"), run("202611211931")];
    for known in &mut again {
        known.results = ["a", "b"].map(|node| (node.to_owned(), Arc::new(*result(node, 1, third)))).into();
    }
    let mut mirror = Mirror::new(again);
    let shown = ["202611211930", "202611211931"].map(|run| ["a", "b"].map(|node| held_of(&mirror, run, node)));
    assert_eq!(shown, [[third, 0], [third, third]]);
    assert!(!mirror.takes_result("202611211930", "b", 0), "that there is one of a later attempt is known");

    mirror.apply(RunChange::Forget { run: "202611211931".to_owned() });
    post(&mut mirror, "202611211930", "b", third);
    assert_eq!(held_of(&mirror, "202611211930", "b"), third, "what was forgotten gave its room back");
}
