//! What an operator can see of the shipping of logs.

use jiff::SignedDuration;
use jobmeter_daemon::metric::Metric;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

use super::{route::Way, trouble::Trouble};
use crate::{logs::Outcome, metrics::table};

#[derive(Clone, Debug)]
pub struct ShipMetrics {
    pub(super) bytes: IntCounterVec,
    pub(super) logs: IntCounterVec,
    pub(super) failures: IntCounterVec,
    pub(super) lag: Histogram,
    pub(super) queue: IntGaugeVec,
    pub(super) store_failures: IntGauge,
    pub(super) through_coordinator: IntGauge,
    pub(super) parts_resumed: IntCounter,
}

impl ShipMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        // From 50 ms to nearly four hours: an outage belongs to it.
        let buckets = prometheus::exponential_buckets(0.05, 4.0, 10)?;
        let lag = HistogramOpts::new(table::LOG_LAG.name, table::LOG_LAG.help).buckets(buckets);
        let metrics = Self {
            bytes: add(registry, IntCounterVec::new(opts(&table::LOG_BYTES), table::LOG_BYTES.labels)?)?,
            logs: add(registry, IntCounterVec::new(opts(&table::LOG_OBJECTS), table::LOG_OBJECTS.labels)?)?,
            failures: add(registry, IntCounterVec::new(opts(&table::LOG_FAILURES), table::LOG_FAILURES.labels)?)?,
            lag: add(registry, Histogram::with_opts(lag)?)?,
            queue: add(registry, IntGaugeVec::new(opts(&table::LOG_QUEUE), table::LOG_QUEUE.labels)?)?,
            store_failures: add(registry, IntGauge::with_opts(opts(&table::LOG_STORE_FAILURES))?)?,
            through_coordinator: add(registry, IntGauge::with_opts(opts(&table::LOG_THROUGH))?)?,
            parts_resumed: add(registry, IntCounter::with_opts(opts(&table::LOG_RESUMED))?)?,
        };
        // A rate over a series that begins at its first event misses that event.
        for via in ["store", "coordinator"] {
            metrics.bytes.with_label_values(&[via]);
        }
        for outcome in ["stored", "not_a_job", "rejected", "unreadable"] {
            metrics.logs.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    /// Every family has a series.
    #[cfg(test)]
    pub(crate) fn show_all(&self) {
        self.failures.with_label_values(&["put", "busy"]).inc();
        self.queue.with_label_values(&["parked"]).set(0);
    }

    pub(super) fn arrived(&self, bytes: u64, way: Way) {
        let via = match way {
            Way::Direct => "store",
            Way::Proxied => "coordinator",
        };
        self.bytes.with_label_values(&[via]).inc_by(bytes);
    }

    pub(super) fn failed(&self, trouble: &Trouble) {
        self.failures.with_label_values(&trouble.labels()).inc();
    }

    pub(super) fn shipped(&self, outcome: &Outcome, lag: SignedDuration) {
        let word = match outcome {
            Outcome::Stored { .. } => {
                self.lag.observe(lag.as_secs_f64().max(0.0));
                "stored"
            }
            Outcome::NotAJob { .. } => "not_a_job",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Unreadable { .. } => "unreadable",
        };
        self.logs.with_label_values(&[word]).inc();
    }

    pub(super) fn show(&self, (running, waiting, parked): (usize, usize, usize), failures: u32) {
        for (state, count) in [("under_way", running), ("waiting", waiting), ("parked", parked)] {
            self.queue.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.store_failures.set(failures.into());
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn opts(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}
