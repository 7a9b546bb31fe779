//! What a person sees while jobs run: a bar on a terminal, else a line for each job that ends. Always on stderr.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jobmeter_coordinator::execute::local::{ExecutorEvent, JobRef, Overview};
use jobmeter_decide::local::{JobOutcome, WaitReason};

use crate::output::printable;

pub(super) struct Progress {
    form: Form,
}

enum Form {
    Bar(ProgressBar),
    Lines,
    Silent,
}

impl Progress {
    pub(super) fn new(jobs: usize, quiet: bool) -> Self {
        let form = match quiet {
            true => Form::Silent,
            false if std::io::stderr().is_terminal() => Form::Bar(bar(jobs)),
            false => Form::Lines,
        };
        Self { form }
    }

    pub(super) fn event(&self, event: &ExecutorEvent) {
        match event {
            ExecutorEvent::JobFinished { job, outcome } => {
                if let Form::Bar(bar) = &self.form {
                    bar.inc(1);
                }
                match outcome {
                    JobOutcome::Complete if matches!(self.form, Form::Bar(_)) => {}
                    JobOutcome::Complete => self.line(&format!("{} completed", name(job))),
                    JobOutcome::Failed(why) => self.line(&format!("{} failed: {}", name(job), why.as_str())),
                }
            }
            ExecutorEvent::JobHeld { job } => {
                self.line(&format!("{} is suspended or has a parallelism of 0: nothing of it will run", name(job)));
            }
            ExecutorEvent::CouldNotRun { job, container, why, .. } => {
                self.line(&format!("{}: container {container} could not run: {why}", name(job)));
            }
            ExecutorEvent::Retry { .. } | ExecutorEvent::PodStarted { .. } | ExecutorEvent::PodEnded { .. } => {}
        }
    }

    pub(super) fn overview(&self, overview: &Overview) {
        if let Form::Bar(bar) = &self.form {
            bar.set_message(message(overview));
        }
    }

    pub(super) fn line(&self, text: &str) {
        let text = printable(text);
        match &self.form {
            Form::Bar(bar) => bar.println(&*text),
            Form::Lines => eprintln!("jobmeter: {text}"),
            Form::Silent => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn bar(jobs: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(u64::try_from(jobs).ok(), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:24} {pos}/{len} jobs  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// `2 running, waiting: 4 for a free place, 3 for their pool (pool full), 1 to try again`.
fn message(overview: &Overview) -> String {
    let mut waiting: BTreeMap<Cow<'static, str>, u32> = BTreeMap::new();
    for job in &overview.waiting {
        *waiting.entry(reason(&job.why)).or_default() += job.pods;
    }
    let mut waiting: Vec<_> = waiting.into_iter().filter(|(_, pods)| *pods > 0).collect();
    // Stable: equally many stay in the order of their words.
    waiting.sort_by_key(|(_, pods)| std::cmp::Reverse(*pods));
    let waiting: Vec<String> = waiting.iter().map(|(why, pods)| format!("{pods} {why}")).collect();
    let running = format!("{} running", overview.running);
    if waiting.is_empty() { running } else { format!("{running}, waiting: {}", waiting.join(", ")) }
}

fn reason(why: &WaitReason) -> Cow<'static, str> {
    match why {
        WaitReason::PoolFull => "for a free place".into(),
        WaitReason::Pool(why) => format!("for their pool ({})", why.as_str().replace('_', " ")).into(),
        WaitReason::BackoffUntil(_) => "to try again".into(),
        WaitReason::ParallelismReached => "for others of their job".into(),
        WaitReason::Suspended => "suspended".into(),
    }
}

pub(super) fn name(job: &Arc<JobRef>) -> String {
    if job.namespace == "default" { job.name.clone() } else { format!("{}/{}", job.namespace, job.name) }
}
