//! What the webhook tells Prometheus.

use jiff::Timestamp;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::metrics::table;

#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    reviews: IntCounterVec,
    /// Without labels: a series only where a certificate is served, for 0 would look like one that ended in 1970.
    expiry: IntGaugeVec,
}

impl WebhookMetrics {
    /// Registered also where there is no webhook: the table of metrics promises it.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let (reviews, expiry) =
            (table::find("jobmeter_webhook_reviews_total"), table::find("jobmeter_webhook_certificate_expiry_timestamp_seconds"));
        let metrics = Self {
            reviews: IntCounterVec::new(Opts::new(reviews.name, reviews.help), reviews.labels)?,
            expiry: IntGaugeVec::new(Opts::new(expiry.name, expiry.help), expiry.labels)?,
        };
        registry.register(Box::new(metrics.reviews.clone()))?;
        registry.register(Box::new(metrics.expiry.clone()))?;
        for (kind, answer) in [("pod", "gated"), ("pod", "refused"), ("job", "suspended")] {
            metrics.reviews.with_label_values(&[kind, answer]);
        }
        Ok(metrics)
    }

    pub(super) fn reviewed(&self, kind: &str, answer: &str) {
        self.reviews.with_label_values(&[kind, answer]).inc();
    }

    pub(super) fn serves_until(&self, until: Timestamp) {
        self.expiry.with_label_values::<&str>(&[]).set(until.as_second());
    }
}
