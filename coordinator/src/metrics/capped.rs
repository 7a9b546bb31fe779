//! Counters with labels that users choose (namespaces, kinds): a cap on their number, and nothing lost from the sum.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{CounterVec, IntCounter, Opts, Registry};

use super::table::Metric;

/// Where the first label goes once the cap is reached.
const OTHER: &str = "(other)";

#[derive(Clone)]
pub(super) struct Capped {
    counters: CounterVec,
    known: Arc<Mutex<BTreeSet<Vec<String>>>>,
    cap: usize,
    dropped: IntCounter,
}

impl Capped {
    pub(super) fn register(
        registry: &Registry,
        metric: &Metric,
        cap: usize,
        dropped: IntCounter,
    ) -> Result<Self, prometheus::Error> {
        let counters = CounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?;
        registry.register(Box::new(counters.clone()))?;
        Ok(Self { counters, known: Arc::default(), cap, dropped })
    }

    /// `by` is not negative.
    pub(super) fn add(&self, labels: &[&str; 2], by: f64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        if known.contains(&key) || known.len() < self.cap {
            known.insert(key);
            self.counters.with_label_values(labels).inc_by(by);
        } else {
            self.dropped.inc();
            self.counters.with_label_values(&[OTHER, OTHER]).inc_by(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table;

    #[test]
    fn beyond_the_cap_the_sum_stays_right_and_the_dropping_is_counted() {
        let registry = Registry::new();
        let dropped = IntCounter::new("dropped_total", "x").unwrap();
        let capped = Capped::register(&registry, table::find("jobmeter_records_total"), 2, dropped.clone()).unwrap();
        for namespace in ["a", "b", "c", "d", "a"] {
            capped.add(&[namespace, "Completed"], 1.0);
        }
        let of = |labels: &[&str; 2]| capped.counters.with_label_values(labels).get();
        assert_eq!((of(&["a", "Completed"]), of(&["b", "Completed"]), of(&[OTHER, OTHER])), (2.0, 1.0, 2.0));
        assert_eq!(dropped.get(), 2);
    }
}
