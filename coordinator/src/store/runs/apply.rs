//! Changes of runs → rows. Each may be made again, and those of one transaction in any order that keeps a run before it is forgotten.

use std::collections::BTreeMap;

use jobmeter_protocol::runs::{DefinitionMemory, NodeResult, NodeRun, Run, RunChange, RunSettings};

use super::super::engine::EngineError;
use super::super::row::{json, text, time};
use super::super::sql::{Database, Value};

const SAVE: &str = "save a run";
const FIRST: &str = "INSERT INTO runs (id, definition, state, created, finished, run, settings) VALUES (?, ?, ?, ?, ?, ?, ?)
                     ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished = excluded.finished, run = excluded.run";
const LATER: &str = "UPDATE runs SET state = ?, finished = ?, run = ? WHERE id = ?";
const MEMORY: &str = "INSERT INTO run_definitions (definition, doc) VALUES (?, ?)
                      ON CONFLICT (definition) DO UPDATE SET doc = excluded.doc";

/// Rows of one statement: a run begins with a row for each of its nodes, and a database may be a network away.
const ROWS: usize = 64;

/// By run and node; the last one of each counts.
#[derive(Default)]
struct Pending<'a> {
    nodes: BTreeMap<(&'a str, &'a str), &'a NodeRun>,
    results: BTreeMap<(&'a str, &'a str), &'a NodeResult>,
}

pub(in crate::store) fn all(database: &mut dyn Database, changes: &[RunChange]) -> Result<(), EngineError> {
    let mut pending = Pending::default();
    for change in changes {
        match change {
            RunChange::Run { run: row, settings } => run(database, row, settings.as_deref())?,
            RunChange::Node { run, node } => drop(pending.nodes.insert((run, &node.node), node)),
            RunChange::Result { run, result } => drop(pending.results.insert((run, &result.node), result)),
            RunChange::Memory(doc) => memory(database, doc)?,
            RunChange::Forget { run } => {
                pending.nodes.retain(|(of, _), _| of != run);
                pending.results.retain(|(of, _), _| of != run);
                forget(database, run)?;
            }
        }
    }
    pending.save(database)
}

fn run(database: &mut dyn Database, run: &Run, settings: Option<&RunSettings>) -> Result<(), EngineError> {
    let doc = json(&run.id, run)?;
    let (state, finished) = (text(run.state.as_str()), time(run.finished));
    let Some(settings) = settings else {
        // One that was forgotten stays so.
        return database.execute(SAVE, LATER, &[state, finished, doc, text(&run.id)]).map(drop);
    };
    let settings = json(&run.id, settings)?;
    let values = [text(&run.id), text(&run.definition), state, time(Some(run.created)), finished, doc, settings];
    database.execute(SAVE, FIRST, &values).map(drop)
}

fn memory(database: &mut dyn Database, memory: &DefinitionMemory) -> Result<(), EngineError> {
    let values = [text(&memory.definition), json(&memory.definition, memory)?];
    database.execute("save what is remembered of a definition", MEMORY, &values).map(drop)
}

fn forget(database: &mut dyn Database, run: &str) -> Result<(), EngineError> {
    const ACTION: &str = "forget a run";
    for sql in ["DELETE FROM run_nodes WHERE run = ?", "DELETE FROM runs WHERE id = ?"] {
        database.execute(ACTION, sql, &[text(run)])?;
    }
    Ok(())
}

impl Pending<'_> {
    fn save(&self, database: &mut dyn Database) -> Result<(), EngineError> {
        let nodes = self.nodes.iter().map(|((run, name), node)| {
            Ok([text(*run), text(*name), text(node.state.as_str()), json(&subject(run, name), node)?])
        });
        upsert(database, "save nodes of a run", ["run", "node", "state", "doc"], nodes.collect::<Result<_, EngineError>>()?)?;
        let results =
            self.results.iter().map(|((run, name), result)| Ok([text(*run), text(*name), json(&subject(run, name), result)?]));
        upsert(database, "save results of a run", ["run", "node", "result"], results.collect::<Result<_, EngineError>>()?)
    }
}

pub(super) fn subject(run: &str, node: &str) -> String {
    format!("node {node} of run {run}")
}

/// By run and node, the first two columns. Rows of a run that is not there are left out.
fn upsert<const N: usize>(
    database: &mut dyn Database,
    action: &'static str,
    columns: [&str; N],
    rows: Vec<[Value; N]>,
) -> Result<(), EngineError> {
    // Two forms only, so that a database has to understand each but once.
    let (many, one) = (statement(columns, ROWS), statement(columns, 1));
    let chunks = rows.chunks_exact(ROWS);
    let rest = chunks.remainder();
    for rows in chunks {
        database.execute(action, &many, rows.as_flattened())?;
    }
    for row in rest {
        database.execute(action, &one, row)?;
    }
    Ok(())
}

fn statement<const N: usize>(columns: [&str; N], rows: usize) -> String {
    let row = format!("({})", ["?"; N].join(", "));
    let numbered: Vec<String> = (1..=N).map(|n| format!("v.column{n}")).collect();
    let updated: Vec<String> = columns.iter().skip(2).map(|column| format!("{column} = excluded.{column}")).collect();
    format!(
        "INSERT INTO run_nodes ({}) SELECT {} FROM (VALUES {}) AS v WHERE v.column1 IN (SELECT id FROM runs)
         ON CONFLICT (run, node) DO UPDATE SET {}",
        columns.join(", "),
        numbered.join(", "),
        vec![row; rows].join(", "),
        updated.join(", "),
    )
}
