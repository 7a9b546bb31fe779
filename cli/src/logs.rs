//! `jobmeter logs`: what the containers of a job wrote, while they run and long after their pods are gone.
//!
//! In: the name of a job or a pod. Out: the bytes of its logs on stdout, as they come; what is to be said about them on stderr.

mod find;
mod follow;
mod list;
mod pick;
mod print;
mod read;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::{Timestamp, Zoned};

use self::pick::Wanted;
use self::read::Reading;
use crate::acct::parse_when;
use crate::exit::{FAILED, Usage};
use crate::source::{Source, SourceArgs, with_choice};

/// Show what a job wrote: its logs while it runs, and after its pods are gone
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(HELP))]
pub struct LogsArgs {
    /// NAME of a pod or of a job; pod/NAME or job/NAME where both exist; a pod's UID
    #[arg(value_name = "JOB|POD", required_unless_present = "list")]
    pub subject: Option<String>,

    /// Only this container [default: all but init containers and sidecars]
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,

    /// Init containers and sidecars, too
    #[arg(long, conflicts_with = "container")]
    pub all_containers: bool,

    /// Go on with what is written from now, until the container ends
    #[arg(short, long)]
    pub follow: bool,

    /// The run before the last one, of a container that was restarted
    #[arg(short, long)]
    pub previous: bool,

    /// This run of a container that was restarted; 0 is the first
    #[arg(long, value_name = "N", conflicts_with = "previous")]
    pub attempt: Option<u32>,

    /// Begin each line with the time when it was written
    #[arg(long)]
    pub timestamps: bool,

    /// Only lines that were written at or after this: 5m (ago), 2026-11-20T17:00, RFC 3339, today
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,

    /// How long to wait for logs that are on their way to the store
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub wait: Duration,

    /// Show which logs there are, and where; without a name all of them
    #[arg(long, conflicts_with_all = ["follow", "timestamps", "since"])]
    pub list: bool,

    /// Form of the list
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM", requires = "list")]
    pub output: ListForm,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ListForm {
    #[default]
    Table,
    /// An array of all that is known of each log
    Json,
}

const HELP: &str = "\
Examples:
  jobmeter logs pi                          all pods of the job pi
  jobmeter logs pi-x7k2p -c main            one container of one pod
  jobmeter logs -f pi                       and what they write from now on
  jobmeter logs pi --since 5m --timestamps  the last five minutes, each line with its time
  jobmeter logs pi-x7k2p --previous         the run before the last restart
  jobmeter logs pi --list                   which logs there are, their sizes, and where they are kept
  jobmeter logs --list -o json | jq '.[] | select(.state == \"lost\")'

One log goes to stdout byte for byte. Several follow one another, each under a line ==> pod/container <==; with -f they are \
merged line by line, each line begins with [pod/container].
Of jobs with the same name the newest is shown. A log that is on its way is waited for. What a log lacks is said on stderr.

Exit codes: 0; 1 no such job or pod, a log that is lost, expired or did not come in time, or no answer; 64 a wrong flag.
";

pub async fn run(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let since = args.since.as_deref().map(|text| parse_when(text, &Zoned::now())).transpose();
    let since: Option<Timestamp> = since.map_err(|error| Usage(format!("--since: {error}")))?;
    let source = Source::open(&args.source).await?;
    let mut stdout = io::stdout().lock();
    let Some(subject) = &args.subject else {
        list::all(&source, args.output, &mut stdout).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let found = find::find(&source, subject).await?;
    if let Some(note) = &found.note {
        tell(note);
    }
    let wanted = Wanted {
        container: args.container.as_deref(),
        all_containers: args.all_containers || args.list,
        attempt: args.attempt,
        previous: args.previous,
        all_attempts: args.list && args.attempt.is_none() && !args.previous,
    };
    let runs = pick::pick(&found.pods, &wanted)?;
    if args.list {
        list::of(&runs, args.output, &mut stdout)?;
        return Ok(ExitCode::SUCCESS);
    }
    let reading = Reading {
        source: &source,
        follow: args.follow,
        timestamps: args.timestamps,
        since,
        patience: args.wait,
        late: AtomicBool::new(false),
    };
    let whole = if args.follow && runs.len() > 1 {
        follow::merged(&reading, &runs, &mut stdout).await?
    } else {
        print::in_turn(&reading, &runs, &mut stdout).await?
    };
    stdout.flush()?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// A line for people, beside the log.
fn tell(text: &str) {
    // Nobody reads stderr when it is closed; the exit code still tells.
    writeln!(io::stderr(), "jobmeter: {}", crate::output::printable(text)).unwrap_or_default();
}
