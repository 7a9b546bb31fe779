//! `jobmeter standalone`: coordinator, agent and executor of one machine that keep running. In: submissions over HTTP. Out:
//! the API, `/metrics`, records and logs in the data directory.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use jobmeter_coordinator::execute::local::{ExecutorEvent, Forker, Streams};
use jobmeter_decide::local::JobOutcome;
use tracing::{info, warn};

use crate::run::{Stack, StackOptions, Stops};

/// Where `jobmeter submit` looks, too.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:9470";

/// Keep a coordinator with an agent running on this machine; it serves the API and runs what is submitted
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  jobmeter standalone --pool 4 &
  jobmeter submit -f examples/quickstart.yaml --wait
  curl http://127.0.0.1:9470/metrics

SIGTERM or SIGINT stops it: running jobs get SIGTERM, and SIGKILL after their grace period. A second signal kills them at once.

Exit code: 0 stopped by a signal; 64 a mistake on the command line; 1 or 70 it could not go on.")]
pub struct StandaloneArgs {
    /// Where to serve the API and /metrics
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADDRESS)]
    pub listen: SocketAddr,

    /// Allow an address that other machines can reach; then reading asks for the token, too
    #[arg(long)]
    pub allow_remote: bool,

    /// Pods that may run at once [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub pool: Option<NonZeroUsize>,

    /// Pools that jobs may name by the label jobmeter.io/pool on their pod template: docs/pools.md
    #[arg(long, value_name = "FILE")]
    pub pools: Option<PathBuf>,

    /// Where records, logs and the token are kept
    #[arg(long, value_name = "DIR", env = "JOBMETER_DATA_DIR", default_value = crate::source::LOCAL_DATA_DIR)]
    pub data_dir: PathBuf,

    /// Keep logs in the object store of this Secret: a directory with one file for each field, as Kubernetes mounts it
    #[arg(long, value_name = "DIR", env = "JOBMETER_OBJECT_STORE_SECRET")]
    pub object_store_secret: Option<PathBuf>,
}

pub async fn run(args: StandaloneArgs, forker: Forker) -> anyhow::Result<ExitCode> {
    crate::run::log_to_stderr("info")?;
    let mut stops = Stops::listen()?;
    let options = StackOptions {
        data_dir: args.data_dir,
        pool: args.pool,
        pools: args.pools,
        listen: Some(args.listen),
        allow_remote: args.allow_remote,
        streams: Streams::Log,
        object_store_secret: args.object_store_secret,
    };
    let (mut stack, keeper) = Stack::start(options, forker).await?;
    if let Some(notice) = &stack.missing_cgroups {
        eprintln!("jobmeter: {notice}");
    }
    let address = stack.address.context("there is no listener")?;
    let announced = stack.data_dir.address();
    std::fs::write(&announced, format!("http://{address}\n"))
        .with_context(|| format!("failed to write {}", announced.display()))?;
    // Whoever started us may wait for this line.
    writeln!(std::io::stdout().lock(), "http://{address}").context("failed to write the address")?;
    info!(%address, how = stack.how, token = %stack.data_dir.token().display(), "ready");

    let work = async {
        serve(&mut stack, &mut stops).await;
        Ok(())
    };
    let ended = keeper.until(work).await;
    if let Err(error) = std::fs::remove_file(&announced) {
        warn!(error = &error as &dyn std::error::Error, path = %announced.display(), "failed to remove a file");
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// Until a signal has come and everything that ran has ended.
async fn serve(stack: &mut Stack, stops: &mut Stops) {
    let executor = stack.executor.clone();
    let stopped = async {
        stops.next().await;
        info!("stopping: running jobs get SIGTERM");
        let graceful = executor.stop(false);
        tokio::pin!(graceful);
        // Cancel-safe: the first is pinned, the second a signal stream.
        tokio::select! {
            () = &mut graceful => {}
            _ = stops.next() => {
                info!("stopping: running jobs are killed");
                executor.stop(true).await;
            }
        }
    };
    tokio::pin!(stopped);
    loop {
        // Cancel-safe: pinned, and a channel.
        tokio::select! {
            () = &mut stopped => return,
            event = stack.events.recv() => match event {
                Some(event) => log(&event),
                None => return,
            },
        }
    }
}

fn log(event: &ExecutorEvent) {
    match event {
        ExecutorEvent::JobFinished { job, outcome: JobOutcome::Complete } => {
            info!(namespace = job.namespace, job = job.name, "job completed");
        }
        ExecutorEvent::JobFinished { job, outcome: JobOutcome::Failed(why) } => {
            info!(namespace = job.namespace, job = job.name, reason = why.as_str(), "job failed");
        }
        ExecutorEvent::CouldNotRun { job, container, why, .. } => {
            warn!(namespace = job.namespace, job = job.name, container, why, "container could not run");
        }
        ExecutorEvent::JobHeld { job } => {
            info!(namespace = job.namespace, job = job.name, "job is suspended, or has a parallelism of 0");
        }
        ExecutorEvent::PodStarted { .. } | ExecutorEvent::PodEnded { .. } | ExecutorEvent::Retry { .. } => {}
    }
}
