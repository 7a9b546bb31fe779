//! What is counted of the pools. Names of pools come from the configuration, so the series are bounded by it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use jobmeter_protocol::PoolStatus;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::levels::{self, Read};
use super::{Maker, table};
use crate::pool::PoolView;

#[derive(Clone)]
pub(super) struct PoolMetrics {
    releases: IntCounterVec,
    release_seconds: Histogram,
    wait_seconds: HistogramVec,
    writes: IntCounterVec,
    file_errors: IntCounter,
}

/// From what an API server takes to what people notice.
const RELEASE_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// From a free pool to a night.
const WAIT_BUCKETS: [f64; 11] = [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];

impl PoolMetrics {
    pub(super) fn register(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let options = |name: &str, buckets: &[f64]| {
            let metric = table::find(name);
            (HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec()), metric.labels)
        };
        let (release, _) = options("jobmeter_pool_release_seconds", &RELEASE_BUCKETS);
        let (wait, labels) = options("jobmeter_pool_wait_seconds", &WAIT_BUCKETS);
        let metrics = Self {
            releases: make.counters("jobmeter_pool_releases_total")?,
            release_seconds: make.register(Histogram::with_opts(release)?)?,
            wait_seconds: make.register(HistogramVec::new(wait, labels)?)?,
            writes: make.counters("jobmeter_pool_writes_total")?,
            file_errors: make.counter("jobmeter_pool_file_errors_total")?,
        };
        for write in ["reserve", "release"] {
            for outcome in ["done", "refused", "gone", "unknown"] {
                metrics.writes.with_label_values(&[write, outcome]);
            }
        }
        for outcome in ["done", "gone", "unknown"] {
            metrics.writes.with_label_values(&["look", outcome]);
        }
        Ok(metrics)
    }
}

impl super::Metrics {
    /// `took`: since what led to it was observed.
    pub(crate) fn pool_released(&self, pool: &str, took: Option<Duration>, waited: SignedDuration) {
        self.pool.releases.with_label_values(&[pool]).inc();
        if let Some(took) = took {
            self.pool.release_seconds.observe(took.as_secs_f64());
        }
        self.pool.wait_seconds.with_label_values(&[pool]).observe(waited.as_secs_f64().max(0.0));
    }

    pub(crate) fn pool_write(&self, write: &str, outcome: &str) {
        self.pool.writes.with_label_values(&[write, outcome]).inc();
    }

    pub(crate) fn pool_file_error(&self) {
        self.pool.file_errors.inc();
    }
}

/// Pools that pods name and nobody has configured share one series: their names are anybody's.
const UNKNOWN: &str = "(unknown)";

/// Sizes and queues, read at scrape; none while they are not known here.
pub(crate) fn register_levels(registry: &Registry, view: &PoolView) -> Result<(), prometheus::Error> {
    let read = |count: fn(&PoolStatus, &mut Sums)| -> Read<String> {
        let view = view.clone();
        Box::new(move || {
            let mut sums = Sums::new();
            for pool in view.pools().iter().flat_map(|pools| pools.iter()) {
                count(pool, &mut sums);
            }
            sums.into_iter().map(|(labels, sum)| (labels, f64::from(sum))).collect()
        })
    };
    let levels = vec![
        ("jobmeter_pool_size", read(|pool, sums| add(sums, pool, None, pool.size))),
        ("jobmeter_pool_used", read(|pool, sums| add(sums, pool, None, pool.used))),
        ("jobmeter_pool_over", read(|pool, sums| add(sums, pool, None, pool.over))),
        ("jobmeter_pool_queued", read(|pool, sums| add(sums, pool, None, pool.queued))),
        (
            "jobmeter_pool_waiting",
            read(|pool, sums| pool.waiting.iter().for_each(|(why, count)| add(sums, pool, Some(why), *count))),
        ),
    ];
    levels::register(registry, levels)
}

/// By the values of the labels.
type Sums = BTreeMap<Vec<String>, u32>;

fn add(sums: &mut Sums, pool: &PoolStatus, why: Option<&String>, count: u32) {
    let configured = pool.configured_size.starts_with(|first: char| first.is_ascii_digit());
    let name = if configured { pool.name.clone() } else { UNKNOWN.to_owned() };
    let labels = [Some(name), why.cloned()].into_iter().flatten().collect();
    let sum = sums.entry(labels).or_default();
    *sum = sum.saturating_add(count);
}
