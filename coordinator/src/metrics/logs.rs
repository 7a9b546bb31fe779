//! What is counted of the logs of jobs.

use jobmeter_decide::logs::chase::Reason;
use jobmeter_protocol::LogState;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::Maker;
use crate::store::logs::AppliedLog;

#[derive(Clone)]
pub(super) struct LogMetrics {
    total: IntCounterVec,
    bytes: IntCounter,
    objects: IntCounter,
    expected: IntGauge,
    pub(super) lost: IntCounterVec,
    stored_bytes: IntGauge,
    lag: Histogram,
    pub(super) calls: IntCounterVec,
    pub(super) proxied: IntCounter,
    pub(super) store_failures: IntCounterVec,
}

impl LogMetrics {
    pub(super) fn register(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            total: make.counters("jobmeter_logs_total")?,
            bytes: make.counter("jobmeter_logs_bytes_total")?,
            objects: make.counter("jobmeter_logs_objects_total")?,
            expected: make.gauge("jobmeter_logs_expected")?,
            lost: make.counters("jobmeter_logs_lost_total")?,
            stored_bytes: make.gauge("jobmeter_logs_stored_bytes")?,
            lag: make.histogram("jobmeter_log_lag_seconds")?,
            calls: make.counters("jobmeter_coordinator_log_calls_total")?,
            proxied: make.counter("jobmeter_coordinator_log_proxied_bytes_total")?,
            store_failures: make.counters("jobmeter_coordinator_object_store_failures_total")?,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// A series that is not there until its first increment cannot be alerted on: that increment would be missed.
    fn show_zeros(&self) {
        for state in ["complete", "truncated", "lost", "expired"] {
            self.total.with_label_values(&[state]);
        }
        for why in Reason::WORDS {
            self.lost.with_label_values(&[why]);
        }
        for action in ["begin", "presign", "put", "complete", "delete", "abort"] {
            self.store_failures.with_label_values(&[action]);
        }
        for (call, answer) in [("ticket", "ticket"), ("complete", "done"), ("put", "done")] {
            self.calls.with_label_values(&[call, answer]);
        }
    }

    /// A ticket changes no state, and a repetition was counted the first time.
    pub(super) fn applied(&self, applied: &AppliedLog) {
        let row = &applied.row;
        if row.state == LogState::Expected || applied.before.as_ref() == Some(&row.state) {
            return;
        }
        self.total.with_label_values(&[row.state.as_str()]).inc();
        if let (true, Some(content)) = (row.is_stored(), &row.content) {
            self.bytes.inc_by(content.bytes);
            self.objects.inc_by(1 + u64::from(row.times_bytes.is_some()));
            if let (Some(ended), Some(stored)) = (row.ended, row.stored) {
                self.lag.observe(stored.duration_since(ended).as_secs_f64().max(0.0));
            }
        }
    }

    pub(super) fn levels(&self, expected: u64, stored: Option<u64>) {
        self.expected.set(i64::try_from(expected).unwrap_or(i64::MAX));
        self.stored_bytes.set(stored.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
    }
}
