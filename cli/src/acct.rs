//! `jobmeter acct`: what `sacct` is to Slurm. Jobs, or their pods, as tables or for programs.
//!
//! In: flags. Out: lines on stdout, page by page as the source gives them.

mod query;
mod states;
mod when;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use futures::{StreamExt, TryStreamExt, pin_mut};
use jiff::{Timestamp, Zoned};
use jobmeter_protocol::{Job, Record, RecordQuery, SortBy};

pub use self::when::{WhenError, parse_when};

use self::query::Subject;
use crate::exit::Usage;
use crate::output::{Column, Form, Renderer, Rendering, Row, Units, describe_fields, parse_format, renderer};
use crate::source::{Source, SourceArgs, SourceError, with_choice};

/// Requests for the pods of jobs that are under way at once.
const LOOKUPS: usize = 8;

/// Show what jobs used: one line for each job, or for each pod with --pods
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = with_choice(HELP))]
pub struct AcctArgs {
    /// Jobs to show: NAME or job/NAME; pod/NAME shows that pod [default: all]
    #[arg(value_name = "JOB")]
    pub subjects: Vec<String>,

    /// One line for each pod
    #[arg(long)]
    pub pods: bool,

    /// Label selector of the pods, as kubectl's: team=a,tier!=b,env in (x,y),!c
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,

    /// Ended at or after this: 2h (ago), 2026-11-20, 2026-11-20T17:00, RFC 3339, today, yesterday
    #[arg(short = 'S', long, visible_alias = "starttime", value_name = "WHEN")]
    pub since: Option<String>,

    /// Started at or before this
    #[arg(short = 'E', long, visible_alias = "endtime", value_name = "WHEN")]
    pub until: Option<String>,

    /// States, with commas, any case; of jobs: Pending Running Completed Failed Deleted; of pods: Running Completed Error
    /// OOMKilled Evicted Deadline Deleted Lost NeverRan; sacct's names and letters too
    #[arg(short = 's', long, value_name = "STATE,…")]
    pub state: Option<String>,

    /// Newest, longest or largest first; names by the alphabet [default: finished]
    #[arg(long, value_name = "WHAT")]
    pub sort_by: Option<Sort>,

    /// At most so many lines [default: all there are]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Form of the answer
    #[arg(short = 'o', long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Form,

    /// Fields to show, with commas, each with a width if you like (JobName%-30); `--format help` lists them
    #[arg(long, value_name = "FIELD[%WIDTH],…")]
    pub format: Option<String>,

    /// Neither header nor legend
    #[arg(long, visible_alias = "no-headers")]
    pub noheader: bool,

    /// Fields between `|`, for scripts; as sacct's, but in base units unless --units says otherwise
    #[arg(short = 'P', long = "parsable2", conflicts_with = "output")]
    pub parsable: bool,

    /// Units of the figures [default: human in tables, base elsewhere]
    #[arg(long, value_enum, value_name = "UNITS")]
    pub units: Option<Units>,

    #[command(flatten)]
    pub source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    Finished,
    Started,
    Elapsed,
    Cpu,
    Memory,
    Rss,
    Name,
}

const HELP: &str = "\
Examples:
  jobmeter acct                                     every job
  jobmeter acct --since 2h --state failed           what failed in the last two hours
  jobmeter acct --pods pi -o wide                   each pod of the job pi, with everything
  jobmeter acct --sort-by memory --limit 10         the ten with the largest watermark
  jobmeter acct -P --format JobID,Elapsed,MaxRSS    for a script
  jobmeter acct --pods --format Pod,State,Log       where each pod's log is
  jobmeter acct --pods -o json | jq '.[].usage'     whole records

Units: tables are for people (66.7ms, 401.0Mi, 500m); JSON, YAML, CSV and -P carry seconds, bytes, millicores, ratios and \
RFC 3339. --units slurm prints as sacct does (00:01:02, 410624K).

Marks: a figure without a mark is the kernel's own count. ~ sampled (a lower bound), * rusage, = derived. ! after a state \
means that part of the truth could not be seen. MEM-PEAK is the kernel's watermark with page cache, MAX-RSS the peak without.

Exit codes: 0 also if nothing matched; 1 a job that was named is unknown, or no answer; 64 a wrong flag.
";

pub async fn run(args: AcctArgs) -> anyhow::Result<ExitCode> {
    if args.format.as_deref().is_some_and(|format| format.eq_ignore_ascii_case("help")) {
        io::stdout().write_all(describe_fields().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = args.format.as_deref().map(parse_format).transpose().map_err(|error| Usage(error.to_string()))?;
    let plan = query::plan(&args, &Zoned::now()).map_err(|error| Usage(error.to_string()))?;
    let source = Source::open(&args.source).await?;
    let namespace = source.default_namespace.clone();
    let how = Rendering {
        form: if args.parsable { Form::Parsable } else { args.output },
        columns,
        header: !args.noheader,
        units: args.units,
        namespaces: namespace.is_none(),
        now: Timestamp::now(),
    };
    let mut answer = Answer {
        source: &source,
        with_pods: needs_pods(&how),
        renderer: renderer(&how, plan.pods),
        out: BufWriter::new(io::stdout().lock()),
        lines: 0,
    };
    for subject in &plan.subjects {
        let query = RecordQuery { namespace: namespace.clone(), ..plan.query_for(subject) };
        let before = answer.lines;
        let left = args.limit.map(|limit| limit.saturating_sub(before));
        if plan.pods {
            answer.records(&query, left).await?
        } else {
            answer.jobs(&query, left).await?
        }
        if answer.lines == before && left != Some(0) && *subject != Subject::All {
            answer.finish()?;
            anyhow::bail!("{}", nothing_found(subject, namespace.as_deref(), &source.name, plan.narrowed));
        }
    }
    let lines = answer.lines;
    answer.finish()?;
    if lines == 0 && matches!(how.form, Form::Table | Form::Wide) {
        let place = namespace.map_or_else(|| "in any namespace".to_owned(), |name| format!("in namespace {name}"));
        let what = if plan.pods { "pods" } else { "jobs" };
        writeln!(io::stderr(), "no {what} found {place}, asking {}", source.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An answer under way.
struct Answer<'a, W: Write> {
    source: &'a Source,
    /// Some column of a job's line is made of its pods' records.
    with_pods: bool,
    renderer: Box<dyn Renderer>,
    out: W,
    lines: u64,
}

impl<W: Write> Answer<'_, W> {
    async fn records(&mut self, query: &RecordQuery, limit: Option<u64>) -> anyhow::Result<()> {
        let pages = self.source.all_records(query, limit);
        pin_mut!(pages);
        while let Some(page) = pages.try_next().await? {
            self.write(page.into_iter().map(|record| Row::Pod(Box::new(record))).collect())?;
        }
        Ok(())
    }

    async fn jobs(&mut self, query: &RecordQuery, limit: Option<u64>) -> anyhow::Result<()> {
        let pages = self.source.all_jobs(query, limit);
        pin_mut!(pages);
        while let Some(page) = pages.try_next().await? {
            let rows = futures::stream::iter(page).map(|job| self.job_row(job)).buffered(LOOKUPS).try_collect().await?;
            self.write(rows)?;
        }
        Ok(())
    }

    async fn job_row(&self, job: Job) -> Result<Row, SourceError> {
        let pods = if self.with_pods { pods_of(self.source, &job).await? } else { Vec::new() };
        Ok(Row::Job { job: Box::new(job), pods })
    }

    fn write(&mut self, rows: Vec<Row>) -> io::Result<()> {
        self.lines += rows.len() as u64;
        self.renderer.rows(&rows, &mut self.out)
    }

    fn finish(mut self) -> io::Result<()> {
        self.renderer.finish(&mut self.out)?;
        self.out.flush()
    }
}

/// All records of one job, oldest first.
pub async fn pods_of(source: &Source, job: &Job) -> Result<Vec<Record>, SourceError> {
    let query =
        RecordQuery { namespace: Some(job.namespace.clone()), job: Some(job.owner.name.clone()), ..RecordQuery::default() };
    let pages: Vec<Vec<Record>> = source.all_records(&query, None).try_collect().await?;
    let mut records: Vec<Record> = pages.into_iter().flatten().collect();
    // The name may be that of an owner further down another chain, or of an earlier job that was deleted.
    records.retain(|record| record.identity.job.uid == job.owner.uid);
    records.sort_by_key(|record| (record.time.started, record.time.created));
    Ok(records)
}

fn needs_pods(how: &Rendering) -> bool {
    let any = |columns: &[Column]| columns.iter().any(|column| column.field.needs_pods);
    match (&how.columns, how.form) {
        (Some(columns), _) => any(columns),
        (None, Form::Wide | Form::Csv | Form::Parsable) => true,
        (None, Form::Table | Form::Json | Form::Yaml | Form::Name) => false,
    }
}

fn nothing_found(subject: &Subject, namespace: Option<&str>, source: &str, narrowed: bool) -> String {
    let place = namespace.map_or_else(|| "in any namespace".to_owned(), |name| format!("in namespace {name}"));
    let hint = if narrowed { "that also matches the other conditions" } else { "(-A looks in all namespaces)" };
    format!("no {subject} {place} {hint}, asking {source}")
}

impl From<Sort> for SortBy {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Finished => Self::Finished,
            Sort::Started => Self::Started,
            Sort::Elapsed => Self::Elapsed,
            Sort::Cpu => Self::Cpu,
            Sort::Memory => Self::Memory,
            Sort::Rss => Self::Rss,
            Sort::Name => Self::Name,
        }
    }
}
