//! What Prometheus is told of leadership.

use jiff::Timestamp;
use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use crate::metrics::table;

/// Cheap to clone; all clones count into the same series.
#[derive(Clone, Debug)]
pub struct LeadershipMetrics {
    leader: IntGauge,
    transitions: IntCounter,
    renew_failures: IntCounter,
    last_renew: Gauge,
}

impl LeadershipMetrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let (leader, transitions) = (table::find("jobmeter_leader"), table::find("jobmeter_leader_transitions_total"));
        let failures = table::find("jobmeter_leader_renew_failures_total");
        let renewed = table::find("jobmeter_leader_last_renew_timestamp_seconds");
        let metrics = Self {
            leader: IntGauge::new(leader.name, leader.help)?,
            transitions: IntCounter::new(transitions.name, transitions.help)?,
            renew_failures: IntCounter::new(failures.name, failures.help)?,
            last_renew: Gauge::new(renewed.name, renewed.help)?,
        };
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.transitions.clone()))?;
        registry.register(Box::new(metrics.renew_failures.clone()))?;
        registry.register(Box::new(metrics.last_renew.clone()))?;
        Ok(metrics)
    }

    pub(super) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The epoch went from one to the other.
    pub(super) fn moved(&self, before: u64, now: u64) {
        self.transitions.inc_by(now.saturating_sub(before));
    }

    pub(super) fn renew_failed(&self) {
        self.renew_failures.inc();
    }

    pub(super) fn renewed(&self, now: Timestamp) {
        self.last_renew.set(now.as_millisecond() as f64 / 1e3);
    }
}
