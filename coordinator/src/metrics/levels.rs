//! Levels that somebody else keeps: read when Prometheus asks, so that no gauge can drift.

use std::collections::HashMap;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, Metric, MetricFamily, MetricType};

use super::table;

/// One family: label values (in the order of the table) and the level of each.
pub(crate) type Samples<L = &'static str> = Vec<(Vec<L>, f64)>;
pub(crate) type Read<L = &'static str> = Box<dyn Fn() -> Samples<L> + Send + Sync>;

struct Levels<L> {
    families: Vec<(&'static table::Metric, Desc, Read<L>)>,
}

pub(crate) fn register<L: AsRef<str> + 'static>(
    registry: &Registry,
    levels: Vec<(&str, Read<L>)>,
) -> Result<(), prometheus::Error> {
    let families = levels
        .into_iter()
        .map(|(name, read)| {
            let metric = table::find(name);
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new()).map(|desc| (metric, desc, read))
        })
        .collect::<Result<_, _>>()?;
    registry.register(Box::new(Levels { families }))
}

impl<L: AsRef<str>> Collector for Levels<L> {
    fn desc(&self) -> Vec<&Desc> {
        self.families.iter().map(|(_, desc, _)| desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families
            .iter()
            .map(|(metric, _, read)| {
                let mut family = MetricFamily::default();
                family.set_name(metric.name.to_owned());
                family.set_help(metric.help.to_owned());
                family.set_field_type(MetricType::GAUGE);
                family.set_metric(read().into_iter().map(|(values, value)| sample(metric, &values, value)).collect());
                family
            })
            .collect()
    }
}

fn sample(metric: &table::Metric, values: &[impl AsRef<str>], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut sample = Metric::default();
    sample.set_label(metric.label_pairs(values));
    sample.set_gauge(gauge);
    sample
}
