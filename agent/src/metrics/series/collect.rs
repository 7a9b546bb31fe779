//! Groups → metric families.

use jiff::Timestamp;
use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, Metric, MetricFamily, MetricType},
};

use super::{JobSeries, group::Group, table};
use crate::metrics::table::Kind;

/// A value, and the method behind it where the metric has that label.
type Shown = (f64, Option<&'static str>);

impl Collector for JobSeries {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let groups = self.shown(Timestamp::now());
        let pods = |metric: &table::Metric, value: &dyn Fn(&Group) -> Option<Shown>| {
            let series = groups.iter().filter_map(|group| Some((group, value(group)?)));
            family(metric, series.map(|(group, (value, method))| one(metric, &group.labels(None, method), value)).collect())
        };
        let totals = |group: &Group| group.totals;
        let seconds = |at: Timestamp| at.as_duration().as_secs_f64();
        let mut families = vec![
            pods(&table::POD_CPU, &|group| Some((cpu_seconds(totals(group).cpu_ns), Some(totals(group).method.as_str())))),
            pods(&table::POD_MEMORY_PEAK, &|group| {
                Some((bytes(totals(group).memory_peak_bytes?), Some(group.peak_method.as_str())))
            }),
            pods(&table::POD_RSS_PEAK, &|group| Some((bytes(totals(group).rss_peak_bytes?), Some(group.rss_method.as_str())))),
            pods(&table::POD_OOM_KILLS, &|group| Some((bytes(totals(group).oom_kills?), None))),
            pods(&table::POD_START, &|group| Some((seconds(group.started?), None))),
            pods(&table::POD_END, &|group| Some((seconds(group.ended?), None))),
        ];
        families.extend(containers(&groups));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

impl Group {
    /// In the order of the table.
    fn labels<'a>(&'a self, container: Option<&'a str>, method: Option<&'a str>) -> Vec<&'a str> {
        let mut labels = vec![self.namespace.as_str(), &self.pod];
        labels.extend(container);
        labels.push(&self.job);
        labels.extend(method);
        labels
    }
}

fn containers(groups: &[Group]) -> [MetricFamily; 2] {
    let mut cpu = Vec::new();
    let mut peak = Vec::new();
    for group in groups {
        for (name, container) in &group.containers {
            let labels = group.labels(Some(name), Some(container.method.as_str()));
            cpu.push(one(&table::CONTAINER_CPU, &labels, cpu_seconds(container.cpu_ns)));
            if let Some(value) = container.memory_peak_bytes {
                peak.push(one(&table::CONTAINER_MEMORY_PEAK, &labels, bytes(value)));
            }
        }
    }
    [family(&table::CONTAINER_CPU, cpu), family(&table::CONTAINER_MEMORY_PEAK, peak)]
}

fn one(metric: &table::Metric, labels: &[&str], value: f64) -> Metric {
    let mut one = Metric::default();
    one.set_label(metric.label_pairs(labels));
    match metric.kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            one.set_counter(counter);
        }
        Kind::Gauge | Kind::Histogram => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            one.set_gauge(gauge);
        }
    }
    one
}

fn family(metric: &table::Metric, series: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(if metric.kind == Kind::Counter { MetricType::COUNTER } else { MetricType::GAUGE });
    family.set_metric(series);
    family
}

fn cpu_seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

#[allow(clippy::cast_precision_loss)] // Exact below 2^53: eight pebibytes.
fn bytes(value: u64) -> f64 {
    value as f64
}
