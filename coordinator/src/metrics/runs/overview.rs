//! Runs and their nodes in numbers, by definition: what an alert is made of.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeRunState, RunCounts, RunState};

use super::scrape::Scrape;
use crate::metrics::table;
use crate::runs::RunsSnapshot;

/// Definitions with series of their own. There are a handful, unless somebody makes them by program.
const DEFINITIONS: usize = 1_000;
/// Where the numbers of all others are.
const OTHER: &str = "(other)";

pub(super) fn write(snapshot: &RunsSnapshot, scrape: &mut Scrape) {
    let names: BTreeSet<&str> = snapshot.definitions.iter().map(|definition| definition.name.as_str()).collect();
    let runs = || snapshot.runs.values().rev();
    // Those that are gone last: their runs are going too.
    let gone = runs().map(|run| run.run.definition.as_str()).filter(|name| !names.contains(name));
    let own: BTreeSet<&str> = names.iter().copied().chain(gone).take(DEFINITIONS).collect();
    let shown = |name: &str| own.get(name).copied().unwrap_or(OTHER);

    let mut states: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut nodes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut successes: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    // A series that begins with its first failure cannot be alerted on.
    for name in &names {
        for state in [RunState::Running, RunState::Succeeded, RunState::Failed, RunState::Cancelled] {
            states.entry((shown(name), state.as_str())).or_default();
        }
    }
    for run in runs().map(|run| &run.run) {
        let name = shown(run.definition.as_str());
        *states.entry((name, run.state.as_str())).or_default() += 1;
        if seen.insert(run.definition.as_str()) {
            for (state, count) in counts(&run.nodes) {
                *nodes.entry((name, state.as_str())).or_default() += count;
            }
        }
        if let (RunState::Succeeded, Some(finished)) = (run.state, run.finished) {
            let last = successes.entry(name).or_insert(finished);
            *last = (*last).max(finished);
        }
    }
    let due = snapshot.definitions.iter().filter(|definition| own.contains(definition.name.as_str()));
    let due = due.filter_map(|definition| Some((definition.name.as_str(), definition.next?)));

    let mut level = |name: &str, values: &[&str], value: f64| {
        let metric = table::find(name);
        scrape.gauge(metric.name, metric.help, &metric.labels.iter().copied().zip(values.iter().copied()).collect(), value);
    };
    for ((definition, state), count) in states {
        level("jobmeter_runs", &[definition, state], f64::from(count));
    }
    for ((definition, state), count) in nodes {
        level("jobmeter_run_nodes", &[definition, state], f64::from(count));
    }
    for (definition, at) in due {
        level("jobmeter_run_next_schedule_timestamp_seconds", &[definition], at.as_second() as f64);
    }
    for (definition, at) in successes.into_iter().filter(|(name, _)| *name != OTHER) {
        level("jobmeter_run_last_success_timestamp_seconds", &[definition], at.as_second() as f64);
    }
}

fn counts(counts: &RunCounts) -> [(NodeRunState, u32); 8] {
    let RunCounts { total: _, waiting, queued, starting, running, succeeded, failed, skipped, cancelled } = *counts;
    [
        (NodeRunState::Waiting, waiting),
        (NodeRunState::Queued, queued),
        (NodeRunState::Starting, starting),
        (NodeRunState::Running, running),
        (NodeRunState::Succeeded, succeeded),
        (NodeRunState::Failed, failed),
        (NodeRunState::Skipped, skipped),
        (NodeRunState::Cancelled, cancelled),
    ]
}
