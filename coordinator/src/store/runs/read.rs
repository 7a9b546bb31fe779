//! Rows → runs. A row that cannot be read does not cost the others.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionMemory, NodeResult, NodeRun, Run, RunDetail, StoredRun};

use super::super::engine::EngineError;
use super::super::row::{parsed, readable, text, unreadable};
use super::super::sql::{self, Conditions, Database, Row};
use super::apply::subject;
use super::query::RunSelect;
use crate::runs::held;

/// Everything that is kept.
pub(in crate::store) type Stored = (Vec<StoredRun>, Vec<DefinitionMemory>);

pub(in crate::store) fn stored(database: &mut dyn Database, skipped: &AtomicU64) -> Result<Stored, EngineError> {
    const RUNS: &str = "SELECT id, run, settings FROM runs";
    const NODES: &str = "SELECT run, node, doc, result FROM run_nodes ORDER BY run DESC";
    const MEMORIES: &str = "SELECT definition, doc FROM run_definitions ORDER BY definition";
    const ACTION: &str = "read the runs";
    let mut runs = BTreeMap::new();
    for (id, run, settings) in sql::all(database, ACTION, RUNS, &[], |row| Ok((row.text(0)?, row.text(1)?, row.text(2)?)))? {
        let of = named(&id);
        let Some(run) = readable::<Run>(&of, &run, skipped) else { continue };
        let Some(settings) = readable(&format!("the settings of {of}"), &settings, skipped) else { continue };
        let run = StoredRun { run, settings: Arc::new(settings), nodes: BTreeMap::new(), results: BTreeMap::new() };
        runs.insert(id, run);
    }
    // One row at a time: all results together may be more than there is memory.
    let mut room = held::MOST_BYTES;
    database.each(ACTION, NODES, &[], &mut |mut row| {
        let (id, node, doc, result) = (row.text(0)?, row.text(1)?, row.optional_text(2)?, row.optional_text(3)?);
        let Some(stored) = runs.get_mut(&id) else { return Ok(ControlFlow::Continue(())) };
        let of = subject(&id, &node);
        if let Some(doc) = doc.and_then(|doc| readable::<NodeRun>(&of, &doc, skipped)) {
            stored.nodes.insert(node.clone(), doc);
        }
        if let Some(result) = result.and_then(|result| readable::<NodeResult>(&format!("the result of {of}"), &result, skipped)) {
            stored.results.insert(node, Arc::new(held::within(&mut room, result)));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let memories = sql::all(database, ACTION, MEMORIES, &[], |row| Ok((row.text(0)?, row.text(1)?)))?;
    let memories = memories.iter().filter_map(|(name, doc)| readable(&format!("definition {name}"), doc, skipped));
    Ok((runs.into_values().collect(), memories.collect()))
}

pub(in crate::store) fn page(
    database: &mut dyn Database,
    select: &RunSelect,
    skipped: &AtomicU64,
) -> Result<Page<Run>, EngineError> {
    let mut sql = Conditions::default();
    let state = select.state.map(|state| state.as_str().to_owned());
    for (condition, wanted) in [("definition = ?", &select.definition), ("state = ?", &state), ("id < ?", &select.after)] {
        if let Some(wanted) = wanted {
            sql.and(condition, [text(wanted)]);
        }
    }
    let statement =
        format!("SELECT id, run FROM runs WHERE {} ORDER BY id DESC LIMIT {}", sql.conjunction(), u64::from(select.limit) + 1);
    let mut rows = sql::all(database, "read a page of runs", &statement, &sql.values, |row| Ok((row.text(0)?, row.text(1)?)))?;
    let limit = usize::try_from(select.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let items = rows.iter().filter_map(|(id, run)| readable(&named(id), run, skipped)).collect();
    Ok(Page { items, next: rows.pop().filter(|_| more).map(|(id, _)| id) })
}

/// One statement, so that a run and its nodes are of one moment.
pub(in crate::store) fn detail(
    database: &mut dyn Database,
    id: &str,
    skipped: &AtomicU64,
) -> Result<Option<RunDetail>, EngineError> {
    const DETAIL: &str = "SELECT 0, '', run FROM runs WHERE id = ?1
                          UNION ALL SELECT 1, node, doc FROM run_nodes WHERE run = ?1 AND doc IS NOT NULL ORDER BY 1, 2";
    let mut rows = sql::all(database, "read a run", DETAIL, &[text(id)], headed)?.into_iter();
    let Some((true, _, run)) = rows.next() else { return Ok(None) };
    let nodes = rows.filter_map(|(_, node, doc)| readable(&subject(id, &node), &doc, skipped));
    Ok(Some(RunDetail { run: parsed(&named(id), &run)?, nodes: nodes.collect() }))
}

pub(in crate::store) fn results(
    database: &mut dyn Database,
    id: &str,
    skipped: &AtomicU64,
) -> Result<Option<Vec<NodeResult>>, EngineError> {
    const RESULTS: &str = "SELECT 0, '', '' FROM runs WHERE id = ?1
                           UNION ALL SELECT 1, node, result FROM run_nodes WHERE run = ?1 AND result IS NOT NULL ORDER BY 1, 2";
    let mut rows = sql::all(database, "read the results of a run", RESULTS, &[text(id)], headed)?.into_iter();
    let Some((true, ..)) = rows.next() else { return Ok(None) };
    Ok(Some(rows.filter_map(|(_, node, result)| readable(&subject(id, &node), &result, skipped)).collect()))
}

/// Whether it is the run's own row; else the node's name, and what is kept of it.
fn headed(row: &mut Row) -> Result<(bool, String, String), EngineError> {
    Ok((!row.flag(0)?, row.text(1)?, row.text(2)?))
}

/// To be called within a writing transaction.
pub(in crate::store) fn secret(database: &mut dyn Database, candidate: &[u8]) -> Result<Vec<u8>, EngineError> {
    const ACTION: &str = "read or write the secret of the runs' tokens";
    const OFFER: &str = "INSERT INTO run_secret (one, secret) VALUES (1, ?) ON CONFLICT (one) DO NOTHING";
    database.execute(ACTION, OFFER, &[text(STANDARD.encode(candidate))])?;
    let kept = sql::first(database, ACTION, "SELECT secret FROM run_secret", &[], |row| row.text(0))?;
    // What is wrong with it is not repeated: it is a secret.
    let broken = || unreadable("the secret of the runs' tokens", &"it is not base64");
    STANDARD.decode(kept.ok_or_else(broken)?).map_err(|_| broken())
}

fn named(id: &str) -> String {
    format!("run {id}")
}
