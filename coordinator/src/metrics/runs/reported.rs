//! What a run measured, by the names that batch-job-controller gives it, and the same of each node's newest run as `latest`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;

use jobmeter_protocol::runs::{GaugeSettings, NodeRun, NodeRunState, RunSettings, StoredRun};

use super::scrape::{Labels, Scrape};
use crate::metrics::table::{Kind, METRICS};
use crate::runs::RunsSnapshot;

/// Its name in batch-job-controller, whose dashboards look for it.
const INFO: &str = "com_github_bakito_batch_job_controller";
const LATEST: &str = "latest";
const NODE: &str = "node";
const EXECUTION: &str = "executionID";

/// Newest runs first, so that what is left out for lack of room is old.
pub(super) fn write(snapshot: &RunsSnapshot, scrape: &mut Scrape) {
    // Whether there are series of the newest, the newest settings say.
    let mut newest: BTreeMap<&str, &RunSettings> = BTreeMap::new();
    for run in snapshot.runs.values().rev() {
        newest.entry(&run.run.definition).or_insert(&run.settings);
    }
    info(snapshot, &newest, scrape);
    let mut latest = Latest::default();
    for run in snapshot.runs.values().rev() {
        if run.settings.metrics.prefix.is_empty() {
            continue;
        }
        head(run, scrape);
        let mut series = Series {
            run: &run.run.id,
            shows_latest: newest.get(run.run.definition.as_str()).is_some_and(|settings| settings.metrics.latest),
            latest: &mut latest,
            scrape,
        };
        outcomes(run, &mut series);
        results(run, &mut series);
    }
}

/// Whose newest values were seen: family and node.
type Latest = HashSet<(String, String)>;

/// Where the samples of one run go.
struct Series<'a> {
    run: &'a str,
    shows_latest: bool,
    latest: &'a mut Latest,
    scrape: &'a mut Scrape,
}

impl Series<'_> {
    /// All values that the run has for this node in this family; of equal ones the first stays.
    fn of_node<'v>(&mut self, name: &str, help: &str, node: &str, values: impl Iterator<Item = (Labels<'v>, f64)>) {
        let mut latest = None;
        for (labels, value) in values {
            let latest = *latest.get_or_insert_with(|| self.latest.insert((name.to_owned(), node.to_owned())));
            let ids = [Some(self.run), (latest && self.shows_latest).then_some(LATEST)];
            for id in ids.into_iter().flatten() {
                let labels = labels.iter().copied().chain([(NODE, node), (EXECUTION, id)]).collect();
                self.scrape.gauge(name, help, &labels, value);
            }
        }
    }
}

fn info(snapshot: &RunsSnapshot, newest: &BTreeMap<&str, &RunSettings>, scrape: &mut Scrape) {
    for definition in &snapshot.definitions {
        let Some(settings) = newest.get(definition.name.as_str()).filter(|settings| settings.compatible) else { continue };
        // Of a pool of the pools file others say how large it is.
        let pool_size = settings.own_pool_size.map(|size| size.to_string()).unwrap_or_default();
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("name", definition.name.as_str()),
            ("prefix", settings.metrics.prefix.as_str()),
            ("poolSize", pool_size.as_str()),
        ];
        let history = settings.history.to_string();
        let rest = [("reportHistory", history.as_str()), ("cron", definition.schedule.as_deref().unwrap_or_default())];
        let labels = labels.into_iter().chain(rest).collect();
        scrape.gauge(INFO, "A definition of runs that is read as batch-job-controller reads it; always 1.", &labels, 1.0);
    }
}

/// Of the newest run only: of equal series the first stays.
fn head(run: &StoredRun, scrape: &mut Scrape) {
    let prefix = &run.settings.metrics.prefix;
    if let Some(name) = name(prefix, "pods") {
        scrape.gauge(&name, "Nodes of the newest run.", &Vec::new(), f64::from(run.run.nodes.total));
    }
    if let (Some(name), Ok(id)) = (name(prefix, "current_execution_id"), run.run.id.parse()) {
        scrape.gauge(&name, "ID of the newest run, as a number.", &Vec::new(), id);
    }
}

fn outcomes(run: &StoredRun, series: &mut Series<'_>) {
    let prefix = &run.settings.metrics.prefix;
    let one = |value: f64| std::iter::once((Vec::new(), value));
    for node in run.nodes.values() {
        let failed = match node.state {
            NodeRunState::Succeeded => 0.0,
            NodeRunState::Failed => 1.0,
            _ => continue,
        };
        if let Some(name) = name(prefix, "processing") {
            series.of_node(&name, "Whether the node's pod failed or posted no result: 1; else 0.", &node.node, one(failed));
        }
        if let (Some(name), Some(duration)) = (name(prefix, "duration"), milliseconds(node)) {
            let help = "From the start of the node's pod, scheduling and images included, to its end, in milliseconds.";
            series.of_node(&name, help, &node.node, one(duration));
        }
    }
}

/// The original makes a pod when there is room for it; ours is there before, and waits for the pool's word.
fn milliseconds(node: &NodeRun) -> Option<f64> {
    let duration = node.finished?.duration_since(node.admitted?);
    Some((duration.as_secs_f64() * 1000.0).round().max(0.0))
}

fn results(run: &StoredRun, series: &mut Series<'_>) {
    let metrics = &run.settings.metrics;
    for (suffix, gauge) in &metrics.gauges {
        let Some(name) = name(&metrics.prefix, suffix) else { continue };
        let labels = own_labels(gauge);
        for result in run.results.values() {
            let values = result.gauges.get(suffix).into_iter().flatten();
            // The last of equal ones is the one that was meant.
            let values = values.rev().map(|value| {
                let labels = labels.iter().map(|label| (*label, value.labels.get(*label).map_or("", String::as_str)));
                (labels.collect(), value.value)
            });
            series.of_node(&name, &gauge.help, &result.node, values);
        }
    }
}

/// Those of the series itself win over a job's that has the same name; each is there once.
pub(super) fn own_labels(gauge: &GaugeSettings) -> BTreeSet<&str> {
    gauge.labels.iter().map(String::as_str).filter(|label| ![NODE, EXECUTION].contains(label)).collect()
}

/// `None`: it would be no name, or one of our own metrics.
pub(super) fn name(prefix: &str, suffix: &str) -> Option<String> {
    static OURS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let parts = |kind| if kind == Kind::Histogram { &["", "_bucket", "_count", "_sum"][..] } else { &[""] };
        METRICS
            .iter()
            .flat_map(|metric| parts(metric.kind).iter().map(move |part| format!("{}{part}", metric.name)))
            .chain([INFO.to_owned()])
            .collect()
    });
    let name = format!("{prefix}_{suffix}");
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    (is_name && !OURS.contains(&name)).then_some(name)
}
