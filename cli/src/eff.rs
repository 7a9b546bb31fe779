//! `jobmeter eff`: what `seff` is to Slurm, with advice. How well one job, or one pod, used what it asked for.

mod find;
pub mod report;
mod sentences;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use jiff::Timestamp;
use jobmeter_decide::advice::{self, Advice};
use jobmeter_protocol::{Job, Record};
use serde::Serialize;

use crate::output::{Pods, yaml};
use crate::source::{Source, SourceArgs, with_choice};

/// Show how well a job used what it requested, and what to request next time
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(HELP))]
pub struct EffArgs {
    /// NAME of a job or of a pod; job/NAME or pod/NAME where both exist; a pod's UID
    #[arg(value_name = "JOB|POD")]
    pub subject: String,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: EffForm,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EffForm {
    /// A page for people
    #[default]
    Text,
    /// The records, the efficiencies and the advice
    Json,
    /// The same as YAML
    Yaml,
}

const HELP: &str = "\
Examples:
  jobmeter eff pi                     the job pi, all its pods
  jobmeter eff pod/pi-x7k2p -n bench  one pod
  jobmeter eff pi -o json | jq .advice

CPU efficiency is CPU time used of elapsed time × requested cores. Memory has two peaks: the kernel's watermark, which holds \
page cache too, and the peak without it, a lower bound where it is sampled (~). The advice never goes below what was seen, and \
says when the run was too short, cut short or seen in part.

Exit codes: 0; 1 no such job or pod, or no answer; 64 a wrong flag.
";

/// `-o json`.
#[derive(Debug, Serialize)]
struct EffDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<&'a Job>,
    efficiency: Efficiency,
    advice: &'a Advice,
    /// The advice in words.
    advice_text: Vec<String>,
    records: &'a [Record],
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Efficiency {
    /// CPU time used of what was reserved; `null` without a request.
    cpu_of_request_ratio: Option<f64>,
    cores_on_average: Option<f64>,
    /// Of the largest pod.
    memory_peak_of_request_ratio: Option<f64>,
    memory_peak_of_limit_ratio: Option<f64>,
    rss_peak_of_request_ratio: Option<f64>,
}

pub async fn run(args: EffArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(&args.source).await?;
    let found = find::find(&source, &args.subject).await?;
    let advice = advice::advise(&found.records);
    let mut out = BufWriter::new(io::stdout().lock());
    let document = || EffDocument {
        job: found.job.as_ref(),
        efficiency: efficiency(&found.records),
        advice: &advice,
        advice_text: report::next_time(&found.records),
        records: &found.records,
    };
    match args.output {
        EffForm::Text => {
            report::write(found.job.as_ref(), &found.records, Timestamp::now(), &mut out)?;
            if let Some(note) = found.note {
                writeln!(out, "\n{note}")?;
            }
        }
        EffForm::Json => writeln!(out, "{}", serde_json::to_string_pretty(&document())?)?,
        EffForm::Yaml => out.write_all(yaml(&document())?.as_bytes())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn efficiency(records: &[Record]) -> Efficiency {
    let pods = Pods(records);
    let cpu = pods.sum(|usage| usage.cpu_seconds).map(|cpu| cpu.value);
    let peak = pods.largest(|usage| usage.memory_peak_bytes).map(|peak| peak.value);
    let rss = pods.largest(|usage| usage.rss_peak_bytes).map(|peak| peak.value);
    let resources = records.first().map(|record| record.resources).unwrap_or_default();
    let of = |part: Option<u64>, whole: Option<u64>| Some(part? as f64 / whole.filter(|whole| *whole > 0)? as f64);
    Efficiency {
        cpu_of_request_ratio: cpu.zip(pods.reserved_core_seconds()).map(|(cpu, reserved)| cpu / reserved),
        cores_on_average: cpu.zip(pods.pod_seconds().filter(|seconds| *seconds > 0.0)).map(|(cpu, seconds)| cpu / seconds),
        memory_peak_of_request_ratio: of(peak, resources.memory_request_bytes),
        memory_peak_of_limit_ratio: of(peak, resources.memory_limit_bytes),
        rss_peak_of_request_ratio: of(rss, resources.memory_request_bytes),
    }
}
