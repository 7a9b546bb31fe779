//! What the coordinator tells Prometheus. [`table::METRICS`] is the whole list; nothing is registered that is not in it.
//!
//! Inputs: what was committed ([`Metrics::committed`], on the writer's thread), verdicts, and levels read at scrape. Job
//! figures are counted when a record is closed, so that a restart neither loses nor repeats one; the counters start at 0
//! with the process, as Prometheus expects.

use jiff::Timestamp;
use jobmeter_decide::chase::{Ending, Missing};
use jobmeter_decide::job_view::JobCondition;
use jobmeter_protocol::{Quality, Reason, Record, Verdict};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::store::{Applied, AppliedPod, Committed, Totals};
use capped::Capped;
use logs::LogMetrics;
use pool::PoolMetrics;
use run_reports::RunReportMetrics;

mod capped;
pub(crate) mod levels;
mod logs;
pub(crate) mod pool;
mod run_reports;
pub mod runs;
pub mod table;

/// Cheap to clone; all clones count into the same series.
#[derive(Clone)]
pub struct Metrics {
    jobs: IntCounterVec,
    records: Capped,
    cpu_seconds: Capped,
    missing: IntCounterVec,
    wanted: IntGauge,
    amended: IntCounter,
    record_latency: Histogram,
    reports: IntCounterVec,
    late: IntCounter,
    pub(crate) report_duration: Histogram,
    refused: IntCounterVec,
    commit_errors: IntCounter,
    store_duration: HistogramVec,
    store_records: IntGaugeVec,
    store_bytes: IntGauge,
    pruned: IntCounter,
    pub(crate) world_store_errors: IntCounter,
    watch_errors: IntCounterVec,
    owner_lookups: IntCounterVec,
    pub(crate) watchers_dropped: IntCounter,
    logs: LogMetrics,
    pool: PoolMetrics,
    run_reports: RunReportMetrics,
}

/// The agent itself saw what it missed.
const GAP: &str = "gap";

/// From a fast commit to a slow disk, and to the deadlines of the chase.
const LATENCY_BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

impl Metrics {
    pub fn register(registry: &Registry, max_series: usize) -> Result<Self, prometheus::Error> {
        let make = Maker { registry };
        let dropped = make.counter("jobmeter_series_dropped_total")?;
        let metrics = Self {
            jobs: make.counters("jobmeter_jobs_total")?,
            records: Capped::register(registry, table::find("jobmeter_records_total"), max_series, dropped.clone())?,
            cpu_seconds: Capped::register(registry, table::find("jobmeter_cpu_seconds_total"), max_series, dropped)?,
            missing: make.counters("jobmeter_records_missing_total")?,
            wanted: make.gauge("jobmeter_records_outstanding")?,
            amended: make.counter("jobmeter_records_amended_total")?,
            record_latency: make.histogram("jobmeter_record_latency_seconds")?,
            reports: make.counters("jobmeter_coordinator_reports_total")?,
            late: make.counter("jobmeter_coordinator_late_total")?,
            report_duration: make.histogram("jobmeter_coordinator_report_duration_seconds")?,
            refused: make.counters("jobmeter_coordinator_requests_refused_total")?,
            commit_errors: make.counter("jobmeter_coordinator_store_errors_total")?,
            store_duration: make.histograms("jobmeter_coordinator_store_duration_seconds")?,
            store_records: make.gauges("jobmeter_coordinator_store_records")?,
            store_bytes: make.gauge("jobmeter_coordinator_store_bytes")?,
            pruned: make.counter("jobmeter_coordinator_store_pruned_total")?,
            world_store_errors: make.counter("jobmeter_coordinator_world_store_errors_total")?,
            watch_errors: make.counters("jobmeter_coordinator_watch_errors_total")?,
            owner_lookups: make.counters("jobmeter_coordinator_owner_lookups_total")?,
            watchers_dropped: make.counter("jobmeter_coordinator_watchers_dropped_total")?,
            logs: LogMetrics::register(&make)?,
            pool: PoolMetrics::register(&make)?,
            run_reports: RunReportMetrics::register(&make)?,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// A series that is not there until its first increment cannot be alerted on: that increment would be missed.
    fn show_zeros(&self) {
        for outcome in ["completed", "failed"] {
            self.jobs.with_label_values(&[outcome]);
        }
        for why in Missing::WORDS.iter().chain(&[GAP]) {
            self.missing.with_label_values(&[why]);
        }
        for verdict in ["accepted", "duplicate", "rejected"] {
            self.reports.with_label_values(&[verdict]);
        }
    }

    pub(crate) fn log_call(&self, call: &str, answer: &str) {
        self.logs.calls.with_label_values(&[call, answer]).inc();
    }

    pub(crate) fn log_proxied(&self, bytes: u64) {
        self.logs.proxied.inc_by(bytes);
    }

    pub(crate) fn log_lost(&self, why: &str) {
        self.logs.lost.with_label_values(&[why]).inc();
    }

    pub(crate) fn log_levels(&self, expected: u64, stored: Option<u64>) {
        self.logs.levels(expected, stored);
    }

    pub(crate) fn object_store_failed(&self, action: &str) {
        self.logs.store_failures.with_label_values(&[action]).inc();
    }

    /// What is durable now.
    pub(crate) fn committed(&self, committed: &Committed<'_>, now: Timestamp) {
        self.store_took("commit", committed.took.as_secs_f64());
        if committed.failed {
            self.commit_errors.inc();
        }
        for applied in committed.applied {
            match applied {
                Applied::Nothing | Applied::Discarded | Applied::Refused { .. } => {}
                Applied::Job { ended } => self.job_ended(*ended),
                Applied::Pod(pod) => self.pod(pod, now),
                Applied::Log(log) => self.logs.applied(log),
                Applied::Unreadable { .. } => self.commit_errors.inc(),
            }
        }
    }

    pub(crate) fn report(&self, verdict: &Verdict) {
        let verdict = match verdict {
            Verdict::Accepted => "accepted",
            Verdict::Duplicate => "duplicate",
            Verdict::Rejected { .. } => "rejected",
        };
        self.reports.with_label_values(&[verdict]).inc();
    }

    pub(crate) fn refused(&self, code: u16) {
        self.refused.with_label_values(&[&code.to_string()]).inc();
    }

    pub(crate) fn wanted(&self, outstanding: usize) {
        self.wanted.set(i64::try_from(outstanding).unwrap_or(i64::MAX));
    }

    pub(crate) fn watch_error(&self, resource: &str) {
        self.watch_errors.with_label_values(&[resource]).inc();
    }

    pub(crate) fn owner_lookup(&self, result: &str) {
        self.owner_lookups.with_label_values(&[result]).inc();
    }

    pub(crate) fn store_error(&self) {
        self.commit_errors.inc();
    }

    pub(crate) fn store_took(&self, operation: &str, seconds: f64) {
        self.store_duration.with_label_values(&[operation]).observe(seconds);
    }

    pub(crate) fn pruned(&self, records: u64) {
        self.pruned.inc_by(records);
    }

    pub(crate) fn totals(&self, totals: Totals) {
        for (quality, count) in [("provisional", totals.open), ("complete", totals.complete), ("partial", totals.partial)] {
            self.store_records.with_label_values(&[quality]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.commit_errors.inc_by(totals.skipped);
        self.store_bytes.set(i64::try_from(totals.bytes).unwrap_or(i64::MAX));
    }

    fn job_ended(&self, ended: Option<JobCondition>) {
        match ended {
            Some(JobCondition::Complete) => self.jobs.with_label_values(&["completed"]).inc(),
            Some(JobCondition::Failed) => self.jobs.with_label_values(&["failed"]).inc(),
            Some(JobCondition::Active) | None => {}
        }
    }

    fn pod(&self, pod: &AppliedPod, now: Timestamp) {
        for exit in &pod.exits {
            self.record_latency.observe(now.duration_since(*exit).as_secs_f64().max(0.0));
        }
        if pod.late {
            self.late.inc();
        }
        if let Some(ending) = pod.closed {
            self.closed(&pod.record, ending);
        }
        if let Some(before) = &pod.amended {
            self.amended.inc();
            self.cpu(&pod.record, cpu(&pod.record) - cpu(before));
        }
    }

    fn closed(&self, record: &Record, ending: Ending) {
        let identity = &record.identity;
        let reason = record.outcome.reason;
        self.records.add(&[&identity.namespace, reason.as_str()], 1.0);
        self.cpu(record, cpu(record));
        if let Ending::Missing(why) = ending {
            self.missing.with_label_values(&[why.as_str()]).inc();
        } else if matches!(record.quality, Quality::Partial { .. }) {
            self.missing.with_label_values(&[GAP]).inc();
        }
        // A pod of its own is its own job; a Job counts when its own condition says that it ended.
        if identity.job.kind == "Pod" {
            self.jobs.with_label_values(&[if reason == Reason::Completed { "completed" } else { "failed" }]).inc();
        }
    }

    fn cpu(&self, record: &Record, seconds: f64) {
        self.cpu_seconds.add(&[&record.identity.namespace, &record.identity.job.kind], seconds.max(0.0));
    }
}

fn cpu(record: &Record) -> f64 {
    record.usage.cpu_seconds.map_or(0.0, |figure| figure.value)
}

/// Makes series from the table, so that name, help and labels are written once.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn counter(&self, name: &str) -> Result<IntCounter, prometheus::Error> {
        let metric = table::find(name);
        self.register(IntCounter::new(metric.name, metric.help)?)
    }

    fn counters(&self, name: &str) -> Result<IntCounterVec, prometheus::Error> {
        let metric = table::find(name);
        self.register(IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    fn gauge(&self, name: &str) -> Result<IntGauge, prometheus::Error> {
        let metric = table::find(name);
        self.register(IntGauge::new(metric.name, metric.help)?)
    }

    fn gauges(&self, name: &str) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = table::find(name);
        self.register(IntGaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
    }

    fn histogram(&self, name: &str) -> Result<Histogram, prometheus::Error> {
        let metric = table::find(name);
        self.register(Histogram::with_opts(HistogramOpts::new(metric.name, metric.help).buckets(LATENCY_BUCKETS.to_vec()))?)
    }

    fn histograms(&self, name: &str) -> Result<HistogramVec, prometheus::Error> {
        let metric = table::find(name);
        let options = HistogramOpts::new(metric.name, metric.help).buckets(LATENCY_BUCKETS.to_vec());
        self.register(HistogramVec::new(options, metric.labels)?)
    }

    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
