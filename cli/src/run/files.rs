//! `jobmeter run -f FILE…`: all jobs of the files, progress on stderr, at the end a table on stdout.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use jiff::Timestamp;
use jobmeter_coordinator::execute::local::{ExecutorEvent, Forker, Streams};
use jobmeter_decide::local::JobOutcome;
use jobmeter_jobfile::LocalJob;

use super::data_dir::read_job_file;
use super::progress::Progress;
use super::{RunArgs, Stack, StackOptions, Stops, logs, records};
use crate::exit::Usage;
use crate::output::{Rendering, printable, render_records};

/// What became of it all.
struct Finished {
    completed: usize,
    /// By UID, with their names.
    pods: BTreeMap<String, String>,
    /// The signal that cut it short.
    signal: Option<i32>,
}

pub(super) async fn run(args: RunArgs, forker: Forker) -> anyhow::Result<ExitCode> {
    let mut jobs = Vec::new();
    for file in &args.files {
        let read = read_job_file(file)?;
        if !args.quiet {
            for notice in &read.notices {
                eprintln!("jobmeter: {}: {notice}", file.display());
            }
        }
        jobs.extend(read.jobs);
    }
    let total = jobs.len();
    let since = Timestamp::now();
    let options = StackOptions {
        data_dir: args.data_dir.clone(),
        pool: args.pool,
        pools: args.pools.clone(),
        listen: args.listen,
        allow_remote: false,
        streams: Streams::Log,
        object_store_secret: args.object_store_secret.clone(),
    };
    let (mut stack, keeper) = Stack::start(options, forker).await?;
    if let Some(notice) = stack.missing_cgroups.as_ref().filter(|_| !args.quiet) {
        eprintln!("jobmeter: {notice}");
    }
    if let Some(notice) = stack.executor.unenforced(&jobs).filter(|_| !args.quiet) {
        eprintln!("jobmeter: {notice}");
    }
    let how = stack.how.clone();
    let work = async {
        let progress = Progress::new(total, args.quiet);
        let finished = drive(&mut stack, jobs, &progress).await;
        progress.finish();
        let finished = finished?;
        let pods: BTreeSet<String> = finished.pods.keys().cloned().collect();
        let gathered = records::of_pods(&stack.coordinator, &pods, since).await;
        let why = gathered.why_missing(stack.store_trouble.borrow().as_deref());
        // Everything has ended: what is left is the way of the logs into the store.
        stack.executor.stop(false).await;
        let logs = logs::whereabouts(&stack.coordinator, &stack.data_dir, &gathered.records).await;
        Ok((finished, gathered, why, logs))
    };
    let (finished, gathered, why, logs) = keeper.until(work).await?;

    let stdout = &mut std::io::stdout().lock();
    render_records(&gathered.records, &Rendering::table(Timestamp::now()), stdout)?;
    if !gathered.missing.is_empty() {
        let missing: Vec<_> = gathered.missing.iter().filter_map(|uid| finished.pods.get(uid)).map(String::as_str).collect();
        eprintln!("jobmeter: the records of {} could not be stored: {}", missing.join(", "), printable(&why));
    }
    if !args.quiet {
        eprintln!("\n{} of {total} jobs completed; measured with {how}", finished.completed);
        eprintln!("logs: {}", printable(&logs));
    }
    Ok(match finished.signal {
        Some(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        None if finished.completed == total => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

async fn drive(stack: &mut Stack, jobs: Vec<LocalJob>, progress: &Progress) -> anyhow::Result<Finished> {
    let mut stops = Stops::listen()?;
    let total = jobs.len();
    stack.executor.submit(jobs).await.map_err(|error| Usage(error.to_string()))?;
    let mut overview = stack.executor.overview();
    let mut finished = Finished { completed: 0, pods: BTreeMap::new(), signal: None };
    let mut over = 0;
    while over < total {
        // Every arm is cancel-safe: channels and signal streams.
        tokio::select! {
            event = stack.events.recv() => {
                let Some(event) = event else { anyhow::bail!("the executor ended before its jobs") };
                progress.event(&event);
                match event {
                    ExecutorEvent::JobFinished { outcome, .. } => {
                        over += 1;
                        finished.completed += usize::from(outcome == JobOutcome::Complete);
                    }
                    ExecutorEvent::JobHeld { .. } => over += 1,
                    ExecutorEvent::PodEnded { pod, pod_uid, .. } => { finished.pods.insert(pod_uid, pod); }
                    _ => {}
                }
            }
            Ok(()) = overview.changed() => progress.overview(&overview.borrow_and_update()),
            signal = stops.next() => {
                let again = finished.signal.replace(signal).is_some();
                progress.line(match again {
                    false => "stopping: jobs get SIGTERM, and SIGKILL after their grace period (once more: now)",
                    true => "stopping now",
                });
                stack.executor.begin_stop(again).await;
            }
        }
    }
    Ok(finished)
}
