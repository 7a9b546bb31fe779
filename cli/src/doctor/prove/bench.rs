//! Where the trials run: the machinery of `jobmeter run`, in this process, with a data directory of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use jobmeter_coordinator::execute::local::{ExecutorEvent, Forker, Streams};
use jobmeter_decide::local::JobOutcome;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::time::TimeValLike;

use super::plan::{Outcome, Trial};
use crate::run::{Keeper, Stack, StackOptions, of_pods};

/// Removed with everything in it when it is dropped.
pub(super) struct Scratch {
    path: PathBuf,
}

pub(super) struct Bench {
    stack: Stack,
}

impl Scratch {
    /// On a disk where there is one: on tmpfs the pages of a file are memory of the job, and no page cache.
    pub(super) fn create() -> anyhow::Result<Self> {
        let name = format!("jobmeter-proof-{}", std::process::id());
        let places = [std::env::temp_dir(), PathBuf::from("/var/tmp"), std::env::current_dir()?];
        let on_disk = |place: &&PathBuf| statfs(place.as_path()).is_ok_and(|found| found.filesystem_type() != TMPFS_MAGIC);
        let place = places.iter().find(on_disk).unwrap_or(&places[0]);
        let path = place.join(name);
        fs::create_dir(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(error = &error as &dyn std::error::Error, path = %self.path.display(), "failed to clean up");
        }
    }
}

impl Bench {
    pub(super) async fn set_up(scratch: &Scratch, forker: Forker) -> anyhow::Result<(Self, Keeper)> {
        let options = StackOptions {
            data_dir: scratch.path().join("data"),
            pool: None,
            pools: None,
            listen: None,
            allow_remote: false,
            streams: Streams::Log,
            object_store_secret: None,
        };
        let (stack, keeper) = Stack::start(options, forker).await?;
        Ok((Self { stack }, keeper))
    }

    /// How the jobs' processes are contained and read.
    pub(super) fn setting(&self) -> String {
        let missing = self.stack.missing_cgroups.as_ref().map(|why| format!("\n{why}")).unwrap_or_default();
        format!("measured with {}{missing}", self.stack.how)
    }

    /// One trial at a time: `RUSAGE_CHILDREN` knows children, not jobs.
    pub(super) async fn run(&mut self, trial: &Trial) -> anyhow::Result<Outcome> {
        let jobs = jobmeter_jobfile::read(trial.name, &trial.manifest).context("failed to read our own manifest")?.jobs;
        let since = Timestamp::now();
        let before = waited_cpu_seconds()?;
        self.stack.executor.submit(jobs).await?;
        let mut pods = BTreeSet::new();
        loop {
            match self.stack.events.recv().await.context("the executor ended before the proof")? {
                ExecutorEvent::PodEnded { pod_uid, .. } => {
                    pods.insert(pod_uid);
                }
                ExecutorEvent::CouldNotRun { why, .. } => bail!("failed to start {}: {why}", trial.what),
                ExecutorEvent::JobFinished { outcome: JobOutcome::Complete, .. } => break,
                ExecutorEvent::JobFinished { .. } => bail!("failed to run {}: the workload did not complete", trial.what),
                _ => {}
            }
        }
        let waited_cpu_seconds = waited_cpu_seconds()? - before;
        let gathered = of_pods(&self.stack.coordinator, &pods, since).await;
        if !gathered.missing.is_empty() {
            let why = gathered.why_missing(self.stack.store_trouble.borrow().as_deref());
            bail!("the record of {} could not be stored: {why}", trial.what);
        }
        let confession = trial.tell.as_deref().map(read_confession).transpose()?;
        Ok(Outcome { records: gathered.records, waited_cpu_seconds, confession })
    }

    /// Ends what runs, at once, and takes its cgroups away. Events are taken meanwhile: the executor waits for its readers.
    pub(super) async fn abandon(&mut self) {
        let events = &mut self.stack.events;
        tokio::select! {
            () = self.stack.executor.stop(true) => {}
            () = async { while events.recv().await.is_some() {} } => {}
        }
    }
}

/// CPU time of every child that this process has waited for, and of theirs: wait4's own sum, to the microsecond.
fn waited_cpu_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("failed to ask for the CPU time of the children")?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

fn read_confession(path: &Path) -> anyhow::Result<crate::workload::Confession> {
    let text = fs::read(path).with_context(|| format!("failed to read what the workload told in {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("failed to understand {}", path.display()))
}
