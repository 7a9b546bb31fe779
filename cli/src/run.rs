//! `jobmeter run`: runs jobs on this machine and accounts for them. Coordinator, agent and executor in this one process.
//!
//! In: Job manifests, or a command. Out: the jobs' logs and records in the data directory; a table on stdout for manifests,
//! a report on stderr for a command, whose own output and exit code pass through.

mod command;
mod data_dir;
mod files;
mod link;
mod logs;
mod progress;
mod records;
mod signals;
mod stack;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use jobmeter_coordinator::execute::local::Forker;

use crate::exit::Usage;

pub(crate) use self::data_dir::{DataDir, display_name, read_text};
pub(crate) use self::records::of_pods;
pub(crate) use self::signals::Stops;
pub(crate) use self::stack::{Keeper, Stack, StackOptions, TaskDied};

/// Run jobs, or one command, on this machine and account for every one of them
///
/// Each pod gets cgroups of its own where that is allowed; otherwise its figures come from wait4 and sampling, and say so.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jobmeter run -f examples/quickstart.yaml
  jobmeter run -f nightly.yaml --pool 8 --data-dir /var/lib/jobmeter
  jobmeter run -f nightly.yaml --pools pools.yaml
  jobmeter run -f nightly.yaml --object-store-secret /etc/jobmeter/store
  jobmeter run -- make -j4
  jobmeter run -q --report usage.json -- ./simulate --steps 1000

A job ends with its first process: what that leaves behind is killed (with -- CMD: where there are cgroups).

Exit code: 0 if all jobs completed, 1 if not, 128+n if signal n ended the run, 64 if a file or the command line is wrong. With \
-- CMD that of CMD: 128+n if signal n ended it, 127 if it was not found, 126 if it could not be executed.")]
pub struct RunArgs {
    /// Job manifests (batch/v1, several documents allowed); `-` reads standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "command")]
    pub files: Vec<PathBuf>,

    /// Pods that may run at once [default: the number of cores]
    #[arg(long, value_name = "N", conflicts_with = "command")]
    pub pool: Option<NonZeroUsize>,

    /// Pools that jobs may name by the label jobmeter.io/pool on their pod template: docs/pools.md
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub pools: Option<PathBuf>,

    /// Where records and logs are kept
    #[arg(long, value_name = "DIR", env = "JOBMETER_DATA_DIR", default_value = crate::source::LOCAL_DATA_DIR)]
    pub data_dir: PathBuf,

    /// Keep logs in the object store of this Secret: a directory with one file for each field, as Kubernetes mounts it
    #[arg(long, value_name = "DIR", env = "JOBMETER_OBJECT_STORE_SECRET")]
    pub object_store_secret: Option<PathBuf>,

    /// Serve the API and /metrics here while the jobs run (loopback only)
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// Write the record of CMD as JSON: to standard error, or to a file, which is made before CMD starts
    #[arg(long, value_name = "json|FILE", requires = "command")]
    pub report: Option<Report>,

    /// No progress, no notices, no report
    #[arg(short, long)]
    pub quiet: bool,

    /// A single command to run in place
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Where the record of a single command goes, if not for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    JsonToStderr,
    JsonToFile(PathBuf),
}

impl std::str::FromStr for Report {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "json" { Self::JsonToStderr } else { Self::JsonToFile(PathBuf::from(text)) })
    }
}

/// `JOBMETER_LOG` is a filter as `RUST_LOG` is one.
pub(crate) fn log_to_stderr(default: &str) -> anyhow::Result<()> {
    let filter = std::env::var("JOBMETER_LOG").unwrap_or_else(|_| default.to_owned());
    Ok(jobmeter_daemon::logging::init(jobmeter_daemon::logging::LogFormat::Text, &filter)?)
}

/// What makes the jobs' processes: call it before the first thread is started.
pub fn fork() -> anyhow::Result<Forker> {
    Forker::fork().context("failed to fork")
}

pub async fn run(args: RunArgs, forker: Forker) -> anyhow::Result<ExitCode> {
    if args.files.is_empty() && args.command.is_empty() {
        let what = "nothing to run: name job manifests (jobmeter run -f FILE) or a command (jobmeter run -- CMD)";
        return Err(Usage(what.to_owned()).into());
    }
    log_to_stderr("warn")?;
    if args.command.is_empty() { files::run(args, forker).await } else { command::run(args, forker).await }
}
