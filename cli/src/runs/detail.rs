//! What one run looks like: its head, and what came of it on each node. Pure.

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeRun, NodeRunState, Run, RunCounts, RunDetail, Trigger};

use super::{apart, or_dash, state, table, took, trigger};
use crate::output::{Align, Grid, bytes, printable};

/// Never empty.
pub(super) fn lines(detail: &RunDetail, now: Timestamp) -> Vec<String> {
    let mut lines = head(&detail.run, now);
    if detail.nodes.is_empty() {
        return lines;
    }
    let mut grid = Grid::new([
        ("NODE", Align::Left),
        ("STATE", Align::Left),
        ("ATTEMPT", Align::Right),
        ("TOOK", Align::Right),
        ("EXIT", Align::Left),
        ("REPORTED", Align::Left),
        ("FILES", Align::Left),
        ("WHY", Align::Left),
    ]);
    for node in &detail.nodes {
        let ran = !node.pod.is_empty();
        grid.row([
            printable(&node.node).into_owned(),
            node.state.as_str().to_owned(),
            if ran { node.attempt.saturating_add(1).to_string() } else { "-".to_owned() },
            took(node.started, node.finished.or_else(|| (node.state == NodeRunState::Running).then_some(now))),
            exit(node),
            if node.reported.is_some() { "yes".to_owned() } else { "-".to_owned() },
            files(node),
            or_dash(node.why.as_deref()),
        ]);
    }
    lines.push(String::new());
    lines.extend(table(&grid));
    lines
}

fn head(run: &Run, now: Timestamp) -> Vec<String> {
    let why = run.why.as_deref().map(|why| format!(": {}", printable(why))).unwrap_or_default();
    let due = match run.trigger {
        Trigger::Schedule { due } | Trigger::CatchUp { due } => format!(", due {}", at(due)),
        _ => String::new(),
    };
    let facts = [
        ("Run", printable(&run.id).into_owned()),
        ("Definition", format!("{} (namespace {})", printable(&run.definition), printable(&run.namespace))),
        ("State", format!("{}{why}", state(run))),
        ("Trigger", format!("{}{due}", trigger(&run.trigger))),
        ("Began", format!("{}, {} ago", at(run.created), apart(now, run.created))),
        ("Took", took(Some(run.created), Some(run.finished.unwrap_or(now)))),
        ("Pool", printable(&run.pool).into_owned()),
        ("Nodes", counts(&run.nodes)),
    ];
    facts.into_iter().map(|(name, value)| format!("{:<11} {value}", format!("{name}:"))).collect()
}

fn at(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `5: 2 succeeded, 1 failed`; what is none is not said.
pub(super) fn counts(counts: &RunCounts) -> String {
    let RunCounts { total, waiting, queued, starting, running, succeeded, failed, skipped, cancelled } = *counts;
    let parts = [
        (NodeRunState::Succeeded, succeeded),
        (NodeRunState::Failed, failed),
        (NodeRunState::Skipped, skipped),
        (NodeRunState::Cancelled, cancelled),
        (NodeRunState::Running, running),
        (NodeRunState::Starting, starting),
        (NodeRunState::Queued, queued),
        (NodeRunState::Waiting, waiting),
    ];
    let parts = parts.into_iter().filter(|(_, count)| *count > 0).map(|(state, count)| format!("{count} {}", state.as_str()));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { total.to_string() } else { format!("{total}: {}", parts.join(", ")) }
}

/// `137 (OOMKilled)`.
fn exit(node: &NodeRun) -> String {
    let reason = node.reason.as_deref().map(|reason| printable(reason).into_owned());
    match (node.exit_code, reason) {
        (Some(code), Some(reason)) => format!("{code} ({reason})"),
        (Some(code), None) => code.to_string(),
        (None, Some(reason)) => reason,
        (None, None) => "-".to_owned(),
    }
}

/// `3 (1.2Mi)`.
fn files(node: &NodeRun) -> String {
    if node.files == 0 { "-".to_owned() } else { format!("{} ({})", node.files, bytes(node.file_bytes)) }
}
