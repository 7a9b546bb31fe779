//! Runs, one line each.

use futures::{TryStreamExt, pin_mut};
use jiff::Timestamp;
use jobmeter_protocol::runs::{Run, RunCounts, RunQuery};

use super::{apart, or_dash, state, table, took, trigger};
use crate::output::{Align, Grid, printable};
use crate::source::{Source, SourceError};

pub(super) struct Shown {
    pub(super) runs: Vec<Run>,
    /// There are older ones.
    pub(super) more: bool,
}

pub(super) async fn ask(source: &Source, query: &RunQuery, namespace: Option<&str>, limit: u32) -> Result<Shown, SourceError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // One more than is shown says whether there is more. Of a namespace the coordinator knows nothing: any number may be others'.
    let most = if namespace.is_some() { None } else { Some(limit.saturating_add(1) as u64) };
    let pages = source.all_runs(query, most);
    pin_mut!(pages);
    let mut runs = Vec::new();
    while runs.len() <= limit
        && let Some(page) = pages.try_next().await?
    {
        runs.extend(page.into_iter().filter(|run: &Run| namespace.is_none_or(|namespace| namespace == run.namespace)));
    }
    let more = runs.len() > limit;
    runs.truncate(limit);
    Ok(Shown { runs, more })
}

/// Never empty.
pub(super) fn lines(shown: &Shown, now: Timestamp) -> Vec<String> {
    if shown.runs.is_empty() {
        return vec!["there are no such runs: `jobmeter runs definitions` shows what may become one".to_owned()];
    }
    let mut grid = Grid::new([
        ("RUN", Align::Left),
        ("DEFINITION", Align::Left),
        ("STATE", Align::Left),
        ("TRIGGER", Align::Left),
        ("NODES", Align::Right),
        ("DONE", Align::Right),
        ("FAILED", Align::Right),
        ("AGE", Align::Right),
        ("TOOK", Align::Right),
        ("WHY", Align::Left),
    ]);
    for run in &shown.runs {
        grid.row([
            printable(&run.id).into_owned(),
            printable(&run.definition).into_owned(),
            state(run).to_owned(),
            trigger(&run.trigger),
            run.nodes.total.to_string(),
            done(&run.nodes).to_string(),
            run.nodes.failed.to_string(),
            apart(now, run.created),
            took(Some(run.created), Some(run.finished.unwrap_or(now))),
            or_dash(run.why.as_deref()),
        ]);
    }
    let mut lines = table(&grid);
    if shown.more {
        lines.push("… and older ones (--limit shows more)".to_owned());
    }
    lines
}

/// Over, in whatever way.
pub(super) fn done(nodes: &RunCounts) -> u32 {
    [nodes.succeeded, nodes.failed, nodes.skipped, nodes.cancelled].into_iter().fold(0, u32::saturating_add)
}
