//! Two runs side by side: what is not the same on a node. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jobmeter_protocol::runs::{NodeResult, NodeRun, Run};
use serde::Serialize;
use serde_json::Value;

use super::results::gauge;
use super::table;
use crate::output::{Align, Grid, percent, printable, seconds};

/// A node that took a little longer is no news.
const DURATION_RATIO: f64 = 0.2;

pub(super) struct Side {
    pub(super) run: Run,
    pub(super) nodes: Vec<NodeRun>,
    pub(super) results: Vec<NodeResult>,
}

#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// IDs of the runs.
    a: String,
    b: String,
    only_in_a: Vec<String>,
    only_in_b: Vec<String>,
    /// Nodes of both.
    nodes: usize,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    node: String,
    what: What,
    /// Absent where that run has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<Value>,
    /// Of B relative to A; absent where one of the two is no number, or A is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_ratio: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    State,
    ExitCode,
    DurationSeconds,
    Gauge { name: String, labels: BTreeMap<String, String> },
}

pub(super) fn between(a: &Side, b: &Side) -> Difference {
    let (of_a, of_b) = (by_node(a), by_node(b));
    let only = |here: &BTreeMap<&str, Node>, there: &BTreeMap<&str, Node>| {
        here.keys().filter(|node| !there.contains_key(*node)).map(|node| (*node).to_owned()).collect()
    };
    let both: Vec<(&str, &Node, &Node)> = of_a.iter().filter_map(|(name, a)| Some((*name, a, of_b.get(name)?))).collect();
    Difference {
        a: a.run.id.clone(),
        b: b.run.id.clone(),
        only_in_a: only(&of_a, &of_b),
        only_in_b: only(&of_b, &of_a),
        nodes: both.len(),
        changes: both.into_iter().flat_map(|(name, a, b)| changes(name, a, b)).collect(),
    }
}

/// What is compared of a node.
type Node = BTreeMap<What, Value>;

fn by_node(side: &Side) -> BTreeMap<&str, Node> {
    let mut nodes: BTreeMap<&str, Node> = side.nodes.iter().map(|node| (node.node.as_str(), facts(node))).collect();
    for result in &side.results {
        let Some(node) = nodes.get_mut(result.node.as_str()) else { continue };
        for (name, values) in &result.gauges {
            // Of two with the same labels the last, as in the metrics.
            node.extend(values.iter().map(|value| {
                let what = What::Gauge { name: name.clone(), labels: value.labels.clone() };
                (what, Value::from(value.value))
            }));
        }
    }
    nodes
}

fn facts(node: &NodeRun) -> Node {
    let duration = node.started.zip(node.finished).map(|(started, finished)| finished.duration_since(started).as_secs_f64());
    let facts = [
        Some((What::State, Value::from(node.state.as_str()))),
        node.exit_code.map(|code| (What::ExitCode, Value::from(code))),
        duration.map(|duration| (What::DurationSeconds, Value::from(duration))),
    ];
    facts.into_iter().flatten().collect()
}

fn changes(node: &str, a: &Node, b: &Node) -> Vec<Change> {
    let whats: BTreeSet<&What> = a.keys().chain(b.keys()).collect();
    let change = |what: &What| {
        let (a, b) = (a.get(what), b.get(what));
        let change_ratio = ratio(what, a, b);
        let same = match what {
            // One that never ran has another state: that says it.
            What::DurationSeconds => a.is_none() || b.is_none() || change_ratio.is_none_or(|ratio| ratio.abs() <= DURATION_RATIO),
            _ => a == b,
        };
        let shown = || Change { node: node.to_owned(), what: what.clone(), a: a.cloned(), b: b.cloned(), change_ratio };
        (!same).then(shown)
    };
    whats.into_iter().filter_map(change).collect()
}

/// An exit code is a word, not an amount.
fn ratio(what: &What, a: Option<&Value>, b: Option<&Value>) -> Option<f64> {
    let is_amount = matches!(what, What::DurationSeconds | What::Gauge { .. });
    let (a, b) = (a?.as_f64()?, b?.as_f64()?);
    (is_amount && a != 0.0).then(|| (b - a) / a.abs()).filter(|ratio| ratio.is_finite())
}

/// Never empty.
pub(super) fn lines(difference: &Difference) -> Vec<String> {
    let Difference { a, b, only_in_a, only_in_b, nodes, changes } = difference;
    let (a, b) = (printable(a), printable(b));
    let changed: BTreeSet<&str> = changes.iter().map(|change| change.node.as_str()).collect();
    let mut lines =
        vec![format!("A is run {a}, B is run {b}. They have {nodes} nodes in common; {} of them differ.", changed.len())];
    if !changes.is_empty() {
        let columns =
            [("NODE", Align::Left), ("WHAT", Align::Left), ("A", Align::Right), ("B", Align::Right), ("CHANGE", Align::Right)];
        let mut grid = Grid::new(columns);
        for change in changes {
            grid.row([
                printable(&change.node).into_owned(),
                word(&change.what),
                value(&change.what, change.a.as_ref()),
                value(&change.what, change.b.as_ref()),
                change.change_ratio.map_or_else(|| "-".to_owned(), relative),
            ]);
        }
        lines.push(String::new());
        lines.extend(table(&grid));
    }
    let only = [("A", only_in_a), ("B", only_in_b)].into_iter().filter(|(_, nodes)| !nodes.is_empty());
    let only = only.map(|(side, nodes)| {
        let nodes: Vec<_> = nodes.iter().map(|node| printable(node)).collect();
        format!("Only in {side}: {}", nodes.join(", "))
    });
    let only: Vec<String> = only.collect();
    if !only.is_empty() {
        lines.push(String::new());
        lines.extend(only);
    }
    lines
}

fn word(what: &What) -> String {
    match what {
        What::State => "state".to_owned(),
        What::ExitCode => "exit code".to_owned(),
        What::DurationSeconds => "duration".to_owned(),
        What::Gauge { name, labels } => gauge(name, labels),
    }
}

fn value(what: &What, value: Option<&Value>) -> String {
    match (what, value) {
        (_, None) => "-".to_owned(),
        (What::DurationSeconds, Some(value)) => value.as_f64().map_or_else(|| "-".to_owned(), seconds),
        // `512`, where JSON says 512.0.
        (What::Gauge { .. }, Some(value)) => value.as_f64().map_or_else(|| value.to_string(), |value| value.to_string()),
        (_, Some(Value::String(text))) => printable(text).into_owned(),
        (_, Some(value)) => value.to_string(),
    }
}

fn relative(ratio: f64) -> String {
    format!("{}{}", if ratio > 0.0 { "+" } else { "" }, percent(ratio))
}
