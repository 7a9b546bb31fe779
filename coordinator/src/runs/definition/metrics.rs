//! The metrics of a definition: a prefix, and gauges that pods post. In: `metrics`. Out: [`RunMetrics`] of names that Prometheus takes.

use std::collections::{BTreeMap, BTreeSet};

use jobmeter_protocol::runs::{GaugeSettings, RunMetrics};

use super::section::{Report, Section, Unknown};
use super::values;
use super::yaml::{Node, Place, Value};

/// Metrics of every run have these.
const RESERVED_SUFFIXES: [&str; 4] = ["processing", "duration", "pods", "current_execution_id"];
/// Set on every gauge.
const RESERVED_LABELS: [&str; 2] = ["node", "executionID"];

/// `name` is the definition's, for the prefix where none is written.
pub(super) fn read(node: Option<Node>, at: Place, name: &str, unknown: Unknown, report: &mut Report) -> RunMetrics {
    let node = node.unwrap_or(Node { place: at, value: Value::Null });
    let mut section = Section::new(node, "metrics.", unknown, report);
    let prefix = section.read("prefix", report, |node| {
        let prefix = values::text(node)?;
        if is_metric_name(&prefix) {
            return Ok(prefix);
        }
        Err(format!("`{prefix}` begins no metric's name: letters, digits, `_` and `:`, no digit at the beginning"))
    });
    if let Some((place, _)) = section.take_written("port") {
        report.warning(place, "metrics.port", "has no effect: `runs.ports.metrics` of the coordinator's configuration says it");
    }
    let gauges = section.take("gauges").map(|node| gauges(node, unknown, report)).unwrap_or_default();
    section.finish(report);
    RunMetrics { prefix: prefix.unwrap_or_else(|| prefix_of(name)), gauges, latest: false }
}

fn gauges(node: Node, unknown: Unknown, report: &mut Report) -> BTreeMap<String, GaugeSettings> {
    let Value::Map(entries) = node.value else {
        report.problem(node.place, "metrics.gauges", "is no mapping of gauges by their suffixes");
        return BTreeMap::new();
    };
    let mut gauges = BTreeMap::new();
    for (suffix, place, gauge) in entries {
        let path = format!("metrics.gauges.{suffix}");
        if RESERVED_SUFFIXES.contains(&suffix.as_str()) {
            report.problem(place, &path, "is the name of a metric that every run has");
        } else if !is_metric_name(&format!("_{suffix}")) || suffix.is_empty() {
            report.problem(place, &path, "ends no metric's name: letters, digits, `_` and `:`");
        }
        let mut section = Section::new(gauge, &format!("{path}."), unknown, report);
        let help = section.read("help", report, values::text).unwrap_or_default();
        let labels = section.read("labels", report, labels).unwrap_or_default();
        section.finish(report);
        gauges.insert(suffix, GaugeSettings { help, labels });
    }
    gauges
}

fn labels(node: &Node) -> Result<Vec<String>, String> {
    let labels = values::texts(node)?;
    let mut seen = BTreeSet::new();
    for label in &labels {
        if RESERVED_LABELS.contains(&label.as_str()) {
            return Err(format!("`{label}` is on every gauge already"));
        }
        if !is_metric_name(label) || label.contains(':') || label.starts_with("__") {
            return Err(format!(
                "`{label}` is no label of a metric: letters, digits and `_`, no digit and no `__` at the beginning"
            ));
        }
        if !seen.insert(label) {
            return Err(format!("`{label}` is there twice"));
        }
    }
    Ok(labels)
}

fn is_metric_name(name: &str) -> bool {
    let first = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':');
    name.as_bytes().first().is_some_and(first) && name.bytes().all(|byte| first(&byte) || byte.is_ascii_digit())
}

/// A name has lower case letters, digits and `-`.
fn prefix_of(name: &str) -> String {
    let underscore = if name.starts_with(|first: char| first.is_ascii_digit()) { "_" } else { "" };
    format!("{underscore}{}", name.replace('-', "_"))
}
