//! `jobmeter run -- CMD ARG…`: one command in place of this process, as `time(1)` runs it: standard streams are inherited,
//! signals and the exit code pass through. The report goes to stderr, the record to the data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
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
use crate::exit::Usage;
use crate::output::printable;

struct Ended {
    pod_uid: String,
    exit: Option<ExitStatus>,
    could_not_run: Option<String>,
}

pub(super) async fn run(args: RunArgs, forker: Forker) -> anyhow::Result<ExitCode> {
    let since = Timestamp::now();
    // Before the command starts: what it used cannot be measured again.
    let mut report_to = ReportTo::open(&args)?;
    let options = StackOptions {
        data_dir: args.data_dir.clone(),
        pool: None,
        pools: None,
        listen: args.listen,
        allow_remote: false,
        streams: Streams::Inherit,
        object_store_secret: None,
    };
    // Before the command starts: none that arrives early may end us and leave it alone.
    let mut signals = Passed::listen()?;
    let (mut stack, keeper) = Stack::start(options, forker).await?;
    let how = stack.missing_cgroups.clone();
    let job = job(&args.command);
    let mut outcome = None;
    let work = async {
        let ended = outcome.insert(drive(&mut stack, job, &mut signals).await?);
        let pods = BTreeSet::from([ended.pod_uid.clone()]);
        let gathered = records::of_pods(&stack.coordinator, &pods, since).await;
        let why = gathered.why_missing(stack.store_trouble.borrow().as_deref());
        Ok((gathered, why))
    };
    let kept = keeper.until(work).await;
    let Some(ended) = outcome else {
        return kept.and_then(|_| Err(anyhow::anyhow!("the command was not run")));
    };
    if let Some(why) = &ended.could_not_run {
        eprintln!("jobmeter: {}", printable(why));
    }
    // The command's own code matters more than a record that could not be kept, or a report that nobody could take.
    let told = kept.and_then(|(gathered, why)| match gathered.records.first() {
        Some(record) => report_to.write(record, how.as_deref()),
        None => Err(anyhow::anyhow!("the record of this command could not be stored: {why}")),
    });
    if let Err(error) = told {
        eprintln!("jobmeter: {}", printable(&format!("{error:#}")));
    }
    Ok(code(ended.exit))
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
        pool: None,
        priority: 0,
        namespace: "default".to_owned(),
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

/// Where the record goes.
enum ReportTo {
    File { path: PathBuf, file: File },
    JsonToStderr,
    PageToStderr,
    Nowhere,
}

impl ReportTo {
    fn open(args: &RunArgs) -> Result<Self, Usage> {
        match &args.report {
            Some(Report::JsonToFile(path)) => {
                let failed = |error| Usage(format!("--report: failed to create {}: {error}", path.display()));
                Ok(Self::File { path: path.clone(), file: File::create(path).map_err(failed)? })
            }
            Some(Report::JsonToStderr) => Ok(Self::JsonToStderr),
            None if args.quiet => Ok(Self::Nowhere),
            None => Ok(Self::PageToStderr),
        }
    }

    fn write(&mut self, record: &Record, missing_cgroups: Option<&str>) -> anyhow::Result<()> {
        let json = || serde_json::to_string_pretty(record);
        match self {
            Self::File { path, file } => {
                writeln!(file, "{}", json()?).with_context(|| format!("failed to write the report {}", path.display()))
            }
            Self::JsonToStderr => writeln!(io::stderr().lock(), "{}", json()?).context("failed to write the report"),
            Self::PageToStderr => {
                let mut page = Vec::new();
                eff::report::write(None, std::slice::from_ref(record), Timestamp::now(), &mut page)?;
                if let Some(how) = missing_cgroups {
                    writeln!(page, "{how}")?;
                }
                io::stderr().lock().write_all(&page).context("failed to write the report")
            }
            Self::Nowhere => Ok(()),
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
