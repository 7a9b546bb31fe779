//! What is counted of what pods of runs post.

use prometheus::IntCounterVec;

use super::Maker;

#[derive(Clone)]
pub(super) struct RunReportMetrics {
    total: IntCounterVec,
    bytes: IntCounterVec,
}

impl RunReportMetrics {
    pub(super) fn register(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            total: make.counters("jobmeter_run_reports_total")?,
            bytes: make.counters("jobmeter_run_report_bytes_total")?,
        };
        // A series that is not there until its first increment cannot be alerted on: that increment would be missed.
        for kind in ["result", "file", "event"] {
            metrics.bytes.with_label_values(&[kind]);
            for outcome in ["accepted", "not_allowed", "invalid", "too_large", "too_many", "failed"] {
                metrics.total.with_label_values(&[kind, outcome]);
            }
        }
        Ok(metrics)
    }
}

impl super::Metrics {
    pub(crate) fn run_report(&self, kind: &str, outcome: &str, bytes: u64) {
        self.run_reports.total.with_label_values(&[kind, outcome]).inc();
        self.run_reports.bytes.with_label_values(&[kind]).inc_by(bytes);
    }
}
