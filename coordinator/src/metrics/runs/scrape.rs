//! The families of one scrape: whatever was posted or configured, each series is there once, and there is an end to them.

use std::collections::{BTreeMap, HashSet};

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// Name and value, in the order in which they are shown.
pub(super) type Labels<'a> = Vec<(&'a str, &'a str)>;

pub(super) struct Scrape {
    families: BTreeMap<String, Family>,
    /// Samples that may still come.
    room: usize,
    left_out: u64,
}

struct Family {
    help: String,
    kind: MetricType,
    known: HashSet<String>,
    samples: Vec<Metric>,
}

impl Scrape {
    pub(super) fn new(most: usize) -> Self {
        Self { families: BTreeMap::new(), room: most, left_out: 0 }
    }

    /// The first of several equal series stays, and the first help of a family.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.add(name, help, labels, MetricType::GAUGE, |sample| sample.set_gauge(gauge));
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        self.add(name, help, labels, MetricType::COUNTER, |sample| sample.set_counter(counter));
    }

    fn add(&mut self, name: &str, help: &str, labels: &Labels<'_>, kind: MetricType, set: impl FnOnce(&mut Metric)) {
        if self.room == 0 {
            self.left_out += 1;
            return;
        }
        if !self.families.contains_key(name) {
            let family = Family { help: help.to_owned(), kind, known: HashSet::new(), samples: Vec::new() };
            self.families.insert(name.to_owned(), family);
        }
        let Some(family) = self.families.get_mut(name) else { return };
        if family.known.insert(identity(labels)) {
            let mut sample = Metric::default();
            sample.set_label(labels.iter().map(|(name, value)| pair(name, value)).collect());
            set(&mut sample);
            family.samples.push(sample);
            self.room -= 1;
        }
    }

    /// Samples for which there was no room. One that was there already may be among them.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn make_room(&mut self, samples: usize) {
        self.room += samples;
    }

    pub(super) fn families(self) -> Vec<MetricFamily> {
        let family = |(name, family): (String, Family)| {
            let mut made = MetricFamily::default();
            made.set_name(name);
            made.set_help(family.help);
            made.set_field_type(family.kind);
            made.set_metric(family.samples);
            made
        };
        self.families.into_iter().map(family).collect()
    }
}

/// Equal for what Prometheus takes for one series: it knows no order of labels, and an empty label is none.
fn identity(labels: &Labels<'_>) -> String {
    let mut present: Vec<_> = labels.iter().filter(|(_, value)| !value.is_empty()).collect();
    present.sort_unstable();
    let mut identity = String::new();
    for (name, value) in present {
        // A label's name has no colon, and the length says where its value ends.
        identity.push_str(name);
        identity.push(':');
        identity.push_str(&value.len().to_string());
        identity.push(':');
        identity.push_str(value);
    }
    identity
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
