//! `jobmeter runs`: node runs, what is due, what came out on which node; starts, cancels and repeats them.
//!
//! In: `/v1/runs` and `/v1/run-definitions` of a coordinator in a cluster. Out: a table, or the coordinator's own answer for programs.

mod act;
mod args;
mod definitions;
mod detail;
mod diff;
mod list;
mod results;
mod watch;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use jobmeter_protocol::runs::{Run, RunDetail, RunQuery, Trigger};
use serde::Serialize;

use crate::output::{Grid, printable, yaml};
use crate::source::{RunId, Source};

pub use self::args::{Form, RunsArgs};
use self::args::{ListArgs, What};

pub async fn run(args: RunsArgs) -> anyhow::Result<ExitCode> {
    match args.what.unwrap_or(What::List(args.list)) {
        What::List(args) => list(args).await,
        What::Definitions(args) => {
            let definitions = Source::open(&args.source).await?.run_definitions().await?;
            print(args.output, &definitions, || definitions::lines(&definitions, Timestamp::now()))
        }
        What::Show(args) => {
            let source = Source::open(&args.source).await?;
            let detail = source.run(&find(&source, &args.run).await?).await?;
            print(args.output, &detail, || detail::lines(&detail, Timestamp::now()))
        }
        What::Results(args) => {
            let source = Source::open(&args.source).await?;
            let results = source.run_results(&find(&source, &args.run).await?).await?;
            print(args.output, &results, || results::lines(&results))
        }
        What::Diff(args) => {
            let source = Source::open(&args.source).await?;
            let (a, b) = (side(&source, &args.a).await?, side(&source, &args.b).await?);
            let difference = diff::between(&a, &b);
            print(args.output, &difference, || diff::lines(&difference))
        }
        What::Watch(args) => {
            let source = Source::open(&args.source).await?;
            let run = find(&source, &args.run).await?;
            watch::until_over(&source, &run).await
        }
        What::Start(args) => act::start(args).await,
        What::Cancel(args) => act::cancel(args).await,
        What::Retry(args) => act::retry(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.source).await?;
    // Not the context's: as pools, runs belong to the whole cluster, whoever looks at them.
    let shown = list::ask(&source, &args.query(), args.source.namespace.as_deref(), args.limit).await?;
    print(args.output, &shown.runs, || list::lines(&shown, Timestamp::now()))
}

/// The run itself, or the newest one of a definition.
async fn find(source: &Source, text: &str) -> anyhow::Result<RunId> {
    if let Some(run) = RunId::parse(text) {
        return Ok(run);
    }
    let query = RunQuery { definition: Some(text.to_owned()), limit: Some(1), ..RunQuery::default() };
    let newest: Option<Run> = source.runs(&query).await?.items.into_iter().next();
    match newest.as_ref().map(|run| (RunId::parse(&run.id), &run.id)) {
        Some((Some(run), _)) => Ok(run),
        Some((None, id)) => bail!("{} says that the newest run of {text:?} is {id:?}, which is no ID of a run", source.name),
        None => bail!(
            "{text:?} has no run in {}: `jobmeter runs definitions` shows what may become runs, `jobmeter runs` which there are",
            source.name
        ),
    }
}

async fn side(source: &Source, text: &str) -> anyhow::Result<diff::Side> {
    let id = find(source, text).await?;
    let RunDetail { run, nodes } = source.run(&id).await?;
    Ok(diff::Side { run, nodes, results: source.run_results(&id).await? })
}

/// In one form.
fn print<T: Serialize>(form: Form, answer: &T, lines: impl FnOnce() -> Vec<String>) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout());
    match form {
        Form::Table => lines().iter().try_for_each(|line| writeln!(out, "{line}"))?,
        Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?,
        Form::Yaml => out.write_all(yaml(answer)?.as_bytes())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// `3m12s`, from then to then.
fn took(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    let seconds = |(from, to): (Timestamp, Timestamp)| crate::output::seconds(to.duration_since(from).as_secs_f64().max(0.0));
    from.zip(to).map_or_else(|| "-".to_owned(), seconds)
}

/// `3m12s` before or after now, to the second.
fn apart(one: Timestamp, other: Timestamp) -> String {
    crate::output::seconds(one.duration_since(other).as_secs_f64().abs().round())
}

fn state(run: &Run) -> &'static str {
    if run.stopping && !run.state.is_over() { "stopping" } else { run.state.as_str() }
}

fn trigger(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Schedule { .. } => "schedule".to_owned(),
        Trigger::CatchUp { .. } => "catch-up".to_owned(),
        Trigger::Startup => "start".to_owned(),
        Trigger::Manual => "manual".to_owned(),
        Trigger::Retry { of } => format!("retry of {}", printable(of)),
        Trigger::NewNodes => "new nodes".to_owned(),
    }
}

fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| printable(text).into_owned())
}

/// Lines of a table.
fn table(grid: &Grid) -> Vec<String> {
    let mut text = Vec::new();
    // Writing to a Vec cannot fail; if it did, the table would be short.
    grid.write(true, &mut text).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}
