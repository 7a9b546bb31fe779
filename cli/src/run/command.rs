//! `jobmeter run -- CMD ARG…`: one command in place of this process, as `time(1)` runs it: standard streams are inherited,
//! signals and the exit code pass through. The report goes to stderr, the record to the data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use jobmeter_coordinator::execute::local::{ExecutorEvent, Forker, Streams};
use jobmeter_decide::local::{Plan, Restart};
use jobmeter_jobfile::{Container, JobName, LocalJob, PodTemplate};
use jobmeter_protocol::{ContainerKind, ExitStatus, Record, Resources};

use super::signals::Passed;
use super::{Report, RunArgs, Stack, StackOptions, records};
use crate::eff;
use crate::output::printable;

struct Ended {
    pod_uid: String,
    exit: Option<ExitStatus>,
    could_not_run: Option<String>,
}

pub(super) async fn run(args: RunArgs, forker: Forker) -> anyhow::Result<ExitCode> {
    let since = Timestamp::now();
    let options = StackOptions {
        data_dir: args.data_dir.clone(),
        pool: None,
        listen: args.listen,
        allow_remote: false,
        streams: Streams::Inherit,
    };
    // Before the command starts: none that arrives early may end us and leave it alone.
    let mut signals = Passed::listen()?;
    let (mut stack, keeper) = Stack::start(options, forker).await?;
    let how = stack.missing_cgroups.clone();
    let job = job(&args.command);
    let work = async {
        let ended = drive(&mut stack, job, &mut signals).await?;
        let pods = BTreeSet::from([ended.pod_uid.clone()]);
        Ok((ended, records::of_pods(&stack.coordinator, &pods, since).await?))
    };
    let (ended, records) = keeper.until(work).await?;

    if let Some(why) = &ended.could_not_run {
        eprintln!("jobmeter: {}", printable(why));
    }
    let told = report(&args, &records, how.as_deref());
    let code = code(ended.exit);
    // The command's own code matters more than a report that nobody could take.
    if let Err(error) = told {
        eprintln!("jobmeter: {error:#}");
    }
    Ok(code)
}

async fn drive(stack: &mut Stack, job: LocalJob, signals: &mut Passed) -> anyhow::Result<Ended> {
    stack.executor.submit(vec![job]).await?;
    let mut could_not_run = None;
    let mut ended = None;
    loop {
        // Both arms are cancel-safe: a channel and signal streams.
        tokio::select! {
            event = stack.events.recv() => match event.context("the executor ended before the command")? {
                ExecutorEvent::CouldNotRun { why, .. } => could_not_run = Some(why),
                ExecutorEvent::PodEnded { pod_uid, exit, .. } => ended = Some((pod_uid, exit)),
                ExecutorEvent::JobFinished { .. } => break,
                _ => {}
            },
            signal = signals.next() => stack.executor.forward(signal).await,
        }
    }
    let (pod_uid, exit) = ended.context("the command was not run")?;
    Ok(Ended { pod_uid, exit, could_not_run })
}

/// A Job of one pod and one container, tried once.
fn job(command: &[String]) -> LocalJob {
    let name = job_name(command.first().map(String::as_str).unwrap_or_default());
    let container = Container {
        name: "command".to_owned(),
        kind: ContainerKind::Main,
        image: None,
        // Nothing is to be expanded in a command that a shell has seen already.
        argv: command.iter().map(|word| word.replace('$', "$$")).collect(),
        env: Vec::new(),
        working_dir: None,
        resources: Resources::default(),
    };
    let plan = Plan {
        completions: Some(1),
        parallelism: 1,
        indexed: false,
        backoff_limit: 0,
        active_deadline: None,
        pod_active_deadline: None,
        suspended: false,
        restart: Restart::Never,
        grace: Duration::from_secs(30),
        containers: vec![ContainerKind::Main],
    };
    LocalJob {
        name: JobName::Generated { prefix: format!("{name}-") },
        namespace: "default".to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        plan,
        pod: PodTemplate {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            containers: vec![container],
            service_account: "default".to_owned(),
        },
    }
}

/// The program's name as Kubernetes would let a job be called.
fn job_name(program: &str) -> String {
    const ENOUGH: usize = 40;
    let base = program.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let name: String = base.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(ENOUGH).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "command".to_owned() } else { name.to_owned() }
}

fn report(args: &RunArgs, records: &[Record], missing_cgroups: Option<&str>) -> anyhow::Result<()> {
    let json = || records.first().map(serde_json::to_string_pretty).transpose();
    match &args.report {
        Some(Report::JsonToFile(path)) => {
            let file = File::create(path);
            let written = file.and_then(|mut file| writeln!(file, "{}", json()?.unwrap_or_default()));
            written.with_context(|| format!("failed to write the report {}", path.display()))
        }
        Some(Report::JsonToStderr) => {
            writeln!(io::stderr().lock(), "{}", json()?.unwrap_or_default()).context("failed to write the report")
        }
        None if args.quiet => Ok(()),
        None => {
            let mut page = Vec::new();
            eff::report::write(None, records, Timestamp::now(), &mut page)?;
            if let Some(how) = missing_cgroups {
                writeln!(page, "{how}")?;
            }
            io::stderr().lock().write_all(&page).context("failed to write the report")
        }
    }
}

/// As a shell tells it.
fn code(exit: Option<ExitStatus>) -> ExitCode {
    let number = match exit {
        Some(ExitStatus { code: Some(code), .. }) => code,
        Some(ExitStatus { signal: Some(signal), .. }) => 128 + signal,
        _ => 1,
    };
    ExitCode::from(u8::try_from(number).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_after_its_program() {
        for (program, name) in
            [("/usr/bin/Sort", "sort"), ("./a_b.sh", "a-b-sh"), ("[", "command"), ("", "command"), ("x/", "command")]
        {
            assert_eq!(job_name(program), name, "{program}");
        }
    }

    #[test]
    fn nothing_in_a_command_is_expanded() {
        let job = job(&["echo".to_owned(), "$(HOME) $$ $".to_owned()]);
        let run = job.pod.containers[0].resolve(&jobmeter_jobfile::PodFacts::default());
        assert_eq!(run.argv, ["echo", "$(HOME) $$ $"]);
    }
}
