//! What the process itself costs, read anew at each scrape. Input: a reader, because only `hostfs` knows `/proc`; output:
//! `<prefix>_process_…` families, named as the Prometheus client libraries name theirs.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use prometheus::{Error, Registry};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUsage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub open_fds: u64,
    /// Since the epoch.
    pub start_time_seconds: f64,
}

/// When `read` gives `None`, the families are absent from that scrape.
pub fn register(
    registry: &Registry,
    prefix: &str,
    read: impl Fn() -> Option<ProcessUsage> + Send + Sync + 'static,
) -> Result<(), Error> {
    let families = FAMILIES
        .iter()
        .map(|family| Desc::new(format!("{prefix}_{}", family.name), family.help.to_owned(), Vec::new(), HashMap::new()))
        .collect::<Result<Vec<_>, Error>>()?;
    registry.register(Box::new(ProcessCollector { families, read }))
}

struct ProcessCollector<R> {
    /// In the order of [`FAMILIES`].
    families: Vec<Desc>,
    read: R,
}

struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    value: fn(&ProcessUsage) -> f64,
}

const FAMILIES: [Family; 4] = [
    Family {
        name: "process_cpu_seconds_total",
        help: "User and system CPU time of this process, in seconds.",
        kind: MetricType::COUNTER,
        value: |usage| usage.cpu_seconds,
    },
    Family {
        name: "process_resident_memory_bytes",
        help: "Resident memory of this process, in bytes.",
        kind: MetricType::GAUGE,
        value: |usage| usage.resident_bytes as f64,
    },
    Family {
        name: "process_open_fds",
        help: "Open file descriptors of this process.",
        kind: MetricType::GAUGE,
        value: |usage| usage.open_fds as f64,
    },
    Family {
        name: "process_start_time_seconds",
        help: "When this process started, in seconds since the epoch.",
        kind: MetricType::GAUGE,
        value: |usage| usage.start_time_seconds,
    },
];

impl<R: Fn() -> Option<ProcessUsage> + Send + Sync> Collector for ProcessCollector<R> {
    fn desc(&self) -> Vec<&Desc> {
        self.families.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(usage) = (self.read)() else { return Vec::new() };
        FAMILIES.iter().zip(&self.families).map(|(family, desc)| sample(family, desc, (family.value)(&usage))).collect()
    }
}

fn sample(family: &Family, desc: &Desc, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    match family.kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        _ => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    let mut sample = MetricFamily::default();
    sample.set_name(desc.fq_name.clone());
    sample.set_help(desc.help.clone());
    sample.set_field_type(family.kind);
    sample.set_metric(vec![metric]);
    sample
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn every_scrape_reads_anew_and_an_unreadable_process_leaves_no_series() {
        let registry = Registry::new();
        let scrapes = Arc::new(AtomicU64::new(0));
        register(&registry, "jobmeter_agent", move || match scrapes.fetch_add(1, Ordering::Relaxed) {
            2 => None,
            scrape => Some(ProcessUsage {
                cpu_seconds: 1.5 + scrape as f64,
                resident_bytes: 8 << 20,
                open_fds: 7,
                start_time_seconds: 1.7e9,
            }),
        })
        .unwrap();
        let scrape = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let first = scrape();
        for line in [
            "# TYPE jobmeter_agent_process_cpu_seconds_total counter\njobmeter_agent_process_cpu_seconds_total 1.5\n",
            "# TYPE jobmeter_agent_process_resident_memory_bytes gauge\njobmeter_agent_process_resident_memory_bytes 8388608\n",
            "jobmeter_agent_process_open_fds 7\n",
            "jobmeter_agent_process_start_time_seconds 1700000000\n",
        ] {
            assert!(first.contains(line), "{line}\n{first}");
        }
        assert!(scrape().contains("jobmeter_agent_process_cpu_seconds_total 2.5\n"));
        assert_eq!(scrape(), "");
    }
}
