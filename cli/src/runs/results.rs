//! What the pods of a run posted, one line for each value. Pure.

use std::collections::BTreeMap;

use jobmeter_protocol::runs::NodeResult;

use super::table;
use crate::output::{Align, Grid, printable};

/// Never empty.
pub(super) fn lines(results: &[NodeResult]) -> Vec<String> {
    if results.is_empty() {
        return vec!["no pod of it has posted a result".to_owned()];
    }
    let mut grid = Grid::new([("NODE", Align::Left), ("GAUGE", Align::Left), ("VALUE", Align::Right)]);
    for result in results {
        for (name, values) in &result.gauges {
            for value in values {
                grid.row([printable(&result.node).into_owned(), gauge(name, &value.labels), value.value.to_string()]);
            }
        }
    }
    table(&grid)
}

/// `read{device="sda"}`, as Prometheus writes it.
pub(super) fn gauge(name: &str, labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return printable(name).into_owned();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    printable(&format!("{name}{{{}}}", labels.join(","))).into_owned()
}
