//! `jobmeter top`: the job pods that run now, refreshed in place.
//!
//! In: `/v1/live` of a coordinator. Out: frames on a terminal, one answer elsewhere. Lines keep their place: oldest first.

mod frame;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use jobmeter_protocol::LivePod;

use crate::screen;
use crate::source::{Source, SourceArgs, with_choice};

use self::frame::Frame;

/// Show the job pods that run now
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(HELP))]
pub struct TopArgs {
    /// One answer, then end; also where stdout is no terminal
    #[arg(long)]
    pub once: bool,

    /// Time between two answers
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "1s")]
    pub interval: String,

    /// Order of the lines
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub sort_by: Order,

    /// Form of the answer; json is one array, then the end
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: TopForm,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// Oldest first: new pods come at the end, and no line jumps
    #[default]
    Started,
    /// Namespace and name
    Name,
    /// CPU in use, most first
    Cpu,
    /// Memory in use, most first
    Memory,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TopForm {
    #[default]
    Table,
    Json,
}

const HELP: &str = "\
Examples:
  jobmeter top                   every second, until Ctrl-C
  jobmeter top -n bench --sort-by cpu
  jobmeter top --once -o json | jq length

CORES is the CPU in use between the last two readings, CPU the time used so far, MEMORY what is in use now, MEM-PEAK the \
kernel's watermark with page cache, MAX-RSS the largest seen without it. It needs a coordinator that is running: with a \
directory of records alone nothing is live.

Exit codes: 0; 1 no answer; 64 a wrong flag.
";

pub async fn run(args: TopArgs) -> anyhow::Result<ExitCode> {
    let interval = screen::interval(&args.interval)?;
    let source = Source::open(&args.source).await?;
    let namespace = source.default_namespace.clone();
    let ask = async || source.live(namespace.as_deref()).await.map(|pods| order(pods, args.sort_by));
    let pods = ask().await?;
    let mut out = BufWriter::new(io::stdout());
    if args.output == TopForm::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&pods)?)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let frame = |pods: &[LivePod]| Frame { pods, now: Timestamp::now(), namespaces: namespace.is_none() }.lines();
    if args.once || !io::stdout().is_terminal() {
        frame(&pods).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    screen::refresh(frame(&pods), interval, async || Ok(frame(&ask().await?))).await?;
    Ok(ExitCode::SUCCESS)
}

/// Ties go by identity, so that equal lines do not change places.
fn order(mut pods: Vec<LivePod>, by: Order) -> Vec<LivePod> {
    let identity = |one: &LivePod, other: &LivePod| {
        (&one.namespace, &one.pod, &one.pod_uid).cmp(&(&other.namespace, &other.pod, &other.pod_uid))
    };
    pods.sort_by(|one, other| {
        let first = match by {
            Order::Started => one.started.unwrap_or(one.at).cmp(&other.started.unwrap_or(other.at)),
            Order::Name => std::cmp::Ordering::Equal,
            Order::Cpu => other.cpu_cores.unwrap_or(0.0).total_cmp(&one.cpu_cores.unwrap_or(0.0)),
            Order::Memory => other.memory_bytes.cmp(&one.memory_bytes),
        };
        first.then_with(|| identity(one, other))
    });
    pods
}
