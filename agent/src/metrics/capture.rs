//! How the capture of logs is doing.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{own::Maker, table};

#[derive(Clone)]
pub struct CaptureMetrics {
    pub captured: IntCounterVec,
    pub spool_bytes: IntGauge,
    pub logs: IntGaugeVec,
    pub oldest_seconds: IntGauge,
    pub lost: IntCounterVec,
    pub sealed: IntCounter,
    pub problems: IntCounter,
    pub unwatched: IntGauge,
}

impl CaptureMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of = Maker { registry };
        let metrics = Self {
            captured: of.counters(&table::LOG_FILES_CAPTURED)?,
            spool_bytes: of.gauge(&table::LOG_SPOOL_BYTES)?,
            logs: of.gauges(&table::LOG_SPOOL_LOGS)?,
            oldest_seconds: of.gauge(&table::LOG_SPOOL_OLDEST)?,
            lost: of.counters(&table::LOG_LOST)?,
            sealed: of.counter(&table::LOG_SEALED)?,
            problems: of.counter(&table::LOG_CAPTURE_PROBLEMS)?,
            unwatched: of.gauge(&table::LOG_UNWATCHED)?,
        };
        // A rate over a series that begins at its first event misses that event.
        for how in ["link", "copy"] {
            metrics.captured.with_label_values(&[how]);
        }
        for why in ["gone_before_link", "spool_full", "rejected", "source_gone", "unreadable", "grown_after_upload"] {
            metrics.lost.with_label_values(&[why]);
        }
        Ok(metrics)
    }
}
