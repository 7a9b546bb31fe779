//! `jobmeter pools` and `jobmeter pool NAME`: how full the pools are, who is in them, who waits and why.
//!
//! In: `/v1/pools` of a coordinator that is running. Out: a table, or the coordinator's own answer for programs.

mod detail;
mod list;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::exit::Usage;
use crate::output::yaml;
use crate::screen;
use crate::source::{Source, SourceArgs, SourceError, with_choice};

use self::detail::Parts;

/// Show the pools: how full they are, how many wait, and why
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(POOLS_HELP))]
pub struct PoolsArgs {
    #[command(flatten)]
    pub form: FormArgs,

    #[command(flatten)]
    pub source: SourceArgs,
}

/// Show one pool: who is in it, who waits, and why
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(POOL_HELP))]
pub struct PoolArgs {
    /// Name of the pool
    pub name: String,

    /// At most so many lines of those in it, and of those that wait
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(..=i64::from(MOST)))]
    pub limit: u32,

    /// Only who waits
    #[arg(long, conflicts_with = "running")]
    pub waiting: bool,

    /// Only who is in it
    #[arg(long)]
    pub running: bool,

    #[command(flatten)]
    pub form: FormArgs,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub struct FormArgs {
    /// Again and again, in place, until Ctrl-C; one answer where stdout is no terminal
    #[arg(short, long)]
    pub watch: bool,

    /// Time between two answers, with --watch
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "2s")]
    pub interval: String,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: PoolForm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PoolForm {
    /// Columns for people
    #[default]
    Table,
    /// All that the coordinator says
    Json,
    /// The same as YAML
    Yaml,
}

const POOLS_HELP: &str = "\
Examples:
  jobmeter pools                 one line for each pool
  jobmeter pools -w              refreshed until Ctrl-C
  jobmeter pools -o json | jq '.[] | select(.queued > 0) | .name'

USED counts whoever holds a place: pods that run, that start, or that are on the way. OVER is what is used beyond the size, \
QUEUED who waits, OLDEST for how long the first of them has. NODES can take pods of the pool now. WAITING FOR is how many wait \
for which reason; `jobmeter pool NAME` says it in sentences. Pools belong to the whole cluster, so -n changes nothing here.

Exit codes: 0; 1 no answer; 64 a wrong flag.
";

const POOL_HELP: &str = "\
Examples:
  jobmeter pool gpu              who is in it, who waits and why
  jobmeter pool gpu --waiting --limit 200
  jobmeter pool gpu -w           refreshed until Ctrl-C
  jobmeter pool gpu -o json | jq '.waiting[] | [.name, .why]'

Who waits is shown in the order of admission: first come, first served, unless a priority or the pool's order says otherwise. \
-n shows only members of one namespace; positions are those of the whole pool.

Exit codes: 0; 1 no such pool, or no answer; 64 a wrong flag.
";

/// What a coordinator tells at once. Those of one namespace may be far behind.
const MOST: u32 = 10_000;

pub async fn all(args: PoolsArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.source).await?;
    let lines = |pools: &[_]| list::lines(pools, Timestamp::now());
    answer(&args.form, async || source.pools().await, |pools| lines(pools)).await
}

pub async fn one(args: PoolArgs) -> anyhow::Result<ExitCode> {
    if !is_name(&args.name) {
        return Err(Usage(format!("\"{}\" is no name of a pool: `jobmeter pools` shows them", args.name)).into());
    }
    let source = Source::open(&args.source).await?;
    // Not the context's: a pool belongs to the whole cluster, whoever looks at it.
    let namespace = args.source.namespace.as_deref();
    let asked = if namespace.is_some() { MOST } else { args.limit };
    let parts = match (args.waiting, args.running) {
        (true, _) => Parts::Waiting,
        (false, true) => Parts::Members,
        (false, false) => Parts::Both,
    };
    let ask = async || Ok(detail::narrow(source.pool(&args.name, asked).await?, parts, namespace, args.limit));
    answer(&args.form, ask, |detail| detail::lines(detail, parts, namespace, Timestamp::now())).await
}

/// In one form, once or again and again.
async fn answer<T: Serialize>(
    form: &FormArgs,
    ask: impl AsyncFn() -> Result<T, SourceError>,
    lines: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<ExitCode> {
    let interval = screen::interval(&form.interval)?;
    if form.watch && form.output != PoolForm::Table {
        return Err(Usage("--watch shows tables: leave out -o, or --watch".to_owned()).into());
    }
    let first = ask().await?;
    if form.watch && io::stdout().is_terminal() {
        screen::refresh(lines(&first), interval, async || Ok(lines(&ask().await?))).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = BufWriter::new(io::stdout());
    match form.output {
        PoolForm::Table => lines(&first).iter().try_for_each(|line| writeln!(out, "{line}"))?,
        PoolForm::Json => writeln!(out, "{}", serde_json::to_string_pretty(&first)?)?,
        PoolForm::Yaml => out.write_all(yaml(&first)?.as_bytes())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A label value: nothing else can be a pool, and nothing else may become part of an address.
fn is_name(text: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// `3m12s`, since then.
fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    let elapsed = |since| crate::output::seconds(now.duration_since(since).as_secs_f64().max(0.0).round());
    since.map_or_else(|| "-".to_owned(), elapsed)
}

/// Lines of a table.
fn table(grid: &crate::output::Grid) -> Vec<String> {
    let mut text = Vec::new();
    // Writing to a Vec cannot fail; if it did, the table would be short.
    grid.write(true, &mut text).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_label_value_is_a_name() {
        assert!(["gpu", "a", "a.b_c-d", "X9"].into_iter().all(is_name));
        assert!(!["", "a/b", "../jobs", "a?x=1", "-a", "a-", "ä", &"x".repeat(64)].into_iter().any(is_name));
    }
}
