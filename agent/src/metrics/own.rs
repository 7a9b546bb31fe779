//! The agent's own health.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
};

use super::table::{self, Metric};

#[derive(Clone)]
pub struct OwnMetrics {
    pub kernel_events: IntCounterVec,
    pub readings: IntCounterVec,
    pub readings_missed: IntCounterVec,
    pub overflows: IntCounter,
    pub problems: IntCounter,
    pub pods_followed: IntGauge,
    pub unacknowledged: IntGauge,
    pub pods_closed: IntCounterVec,
    pub reports: IntCounterVec,
    pub uplink_failures: IntCounterVec,
    pub journal: JournalMetrics,
    pub sample_seconds: Histogram,
    pub samples: IntCounterVec,
    pub series_dropped: IntCounter,
}

#[derive(Clone)]
pub struct JournalMetrics {
    pub bytes: IntGauge,
    pub sync_seconds: Histogram,
    pub failures: IntCounter,
    pub writable: IntGauge,
    pub replay_skipped: IntCounter,
}

impl OwnMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of = Maker { registry };
        let metrics = Self {
            kernel_events: of.counters(&table::KERNEL_EVENTS)?,
            readings: of.counters(&table::READINGS)?,
            readings_missed: of.counters(&table::READINGS_MISSED)?,
            overflows: of.counter(&table::OVERFLOWS)?,
            problems: of.counter(&table::PROBLEMS)?,
            pods_followed: of.gauge(&table::PODS_FOLLOWED)?,
            unacknowledged: of.gauge(&table::UNACKNOWLEDGED)?,
            pods_closed: of.counters(&table::PODS_CLOSED)?,
            reports: of.counters(&table::REPORTS)?,
            uplink_failures: of.counters(&table::UPLINK_FAILURES)?,
            journal: JournalMetrics {
                bytes: of.gauge(&table::JOURNAL_BYTES)?,
                sync_seconds: of.histogram(&table::JOURNAL_SYNC)?,
                failures: of.counter(&table::JOURNAL_FAILURES)?,
                writable: of.gauge(&table::JOURNAL_WRITABLE)?,
                replay_skipped: of.counter(&table::JOURNAL_SKIPPED)?,
            },
            sample_seconds: of.histogram(&table::SAMPLE_SECONDS)?,
            samples: of.counters(&table::SAMPLES)?,
            series_dropped: of.counter(&table::SERIES_DROPPED)?,
        };
        metrics.journal.writable.set(1);
        // A rate over a series that begins at its first event misses that event.
        for level in ["container", "pod"] {
            metrics.readings_missed.with_label_values(&[level]);
        }
        for verdict in ["accepted", "duplicate", "rejected"] {
            metrics.reports.with_label_values(&[verdict]);
        }
        for result in ["taken", "asleep", "failed", "dropped"] {
            metrics.samples.with_label_values(&[result]);
        }
        for why in ["acknowledged", "rejected", "no_room"] {
            metrics.pods_closed.with_label_values(&[why]);
        }
        Ok(metrics)
    }
}

pub(super) struct Maker<'a> {
    pub(super) registry: &'a Registry,
}

impl Maker<'_> {
    pub(super) fn counter(&self, metric: &Metric) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(opts(metric))?)
    }

    pub(super) fn counters(&self, metric: &Metric) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(opts(metric), metric.labels)?)
    }

    pub(super) fn gauge(&self, metric: &Metric) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(opts(metric))?)
    }

    pub(super) fn gauges(&self, metric: &Metric) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(opts(metric), metric.labels)?)
    }

    /// From 100 µs to 1.6 s: what a disk or a scan may take.
    pub(super) fn histogram(&self, metric: &Metric) -> Result<Histogram, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.0001, 4.0, 8)?;
        self.register(Histogram::with_opts(HistogramOpts::new(metric.name, metric.help).buckets(buckets))?)
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

pub(super) fn desc(metric: &Metric) -> Result<Desc, prometheus::Error> {
    let labels = metric.labels.iter().map(|&label| label.to_owned()).collect();
    Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, std::collections::HashMap::new())
}
