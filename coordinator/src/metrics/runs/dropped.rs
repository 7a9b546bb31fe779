//! What jobs post and no series shows: counted once for each result, not once for each scrape.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeResult, RunMetrics};

use super::reported::{name, own_labels};
use super::scrape::Scrape;
use crate::metrics::table;
use crate::runs::RunsSnapshot;

pub(super) struct Dropped {
    /// What came before, the process before this one counted.
    since: Timestamp,
    /// Run and node: when the last result came that was counted.
    seen: BTreeMap<String, HashMap<String, Timestamp>>,
    gauges: u64,
    labels: u64,
    names: u64,
    no_room: u64,
}

impl Dropped {
    pub(super) fn new(since: Timestamp) -> Self {
        Self { since, seen: BTreeMap::new(), gauges: 0, labels: 0, names: 0, no_room: 0 }
    }

    pub(super) fn look(&mut self, snapshot: &RunsSnapshot) {
        let since = self.since;
        self.seen.retain(|run, _| snapshot.runs.contains_key(run));
        for (id, run) in &snapshot.runs {
            for (node, result) in run.results.iter().filter(|(_, result)| result.received >= since) {
                let seen = self.seen.entry(id.clone()).or_default();
                if seen.get(node) != Some(&result.received) {
                    seen.insert(node.clone(), result.received);
                    self.count(&run.settings.metrics, result);
                }
            }
        }
    }

    fn count(&mut self, metrics: &RunMetrics, result: &NodeResult) {
        for (suffix, values) in &result.gauges {
            let Some(gauge) = metrics.gauges.get(suffix) else {
                self.gauges += values.len() as u64;
                continue;
            };
            if name(&metrics.prefix, suffix).is_none() {
                self.names += values.len() as u64;
                continue;
            }
            let declared = own_labels(gauge);
            let undeclared = |label: &&String| !declared.contains(label.as_str());
            self.labels += values.iter().map(|value| value.labels.keys().filter(undeclared).count() as u64).sum::<u64>();
        }
    }

    pub(super) fn no_room(&mut self, samples: u64) {
        self.no_room += samples;
    }

    pub(super) fn write(&self, scrape: &mut Scrape) {
        let metric = table::find("jobmeter_run_results_dropped_total");
        let Self { gauges, labels, names, no_room, .. } = self;
        let all = [("undeclared_gauge", gauges), ("undeclared_label", labels), ("name", names), ("limit", no_room)];
        scrape.make_room(all.len());
        for (why, count) in all {
            scrape.counter(metric.name, metric.help, &vec![("why", why)], *count as f64);
        }
    }
}
