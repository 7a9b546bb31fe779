//! What Prometheus reads of runs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jobmeter_protocol::runs::{
    DefinitionStatus, GaugeSettings, GaugeValue, NodeResult, NodeRun, NodeRunState, Placement, Run, RunCounts, RunMetrics,
    RunSettings, RunState, StoredRun, Trigger,
};
use prometheus::{Encoder, TextEncoder};

use super::*;
use crate::runs::RunsDesk;

fn at(text: &str) -> Timestamp {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

fn settings(name: &str, latest: bool) -> RunSettings {
    let gauge = |labels: &[&str]| GaugeSettings {
        help: "Read speed in MB/s.".into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let metrics =
        RunMetrics { prefix: "disk".into(), gauges: BTreeMap::from([("read".to_owned(), gauge(&["device", "kind"]))]), latest };
    RunSettings {
        name: name.into(),
        namespace: "bench".into(),
        pool: format!("run.{name}"),
        own_pool_size: Some(10),
        placement: Placement::Scheduler,
        node_selector: BTreeMap::new(),
        unschedulable_nodes: false,
        pod_template: String::new(),
        service_account: String::new(),
        image_pull_secrets: Vec::new(),
        retries: 0,
        retry_delay: jiff::SignedDuration::ZERO,
        start_deadline: None,
        node_deadline: None,
        run_deadline: None,
        canary: 0,
        max_failures: None,
        new_nodes: false,
        overlap: Default::default(),
        catch_up: None,
        history: 3,
        result_required: true,
        compatible: true,
        save_pod_log: false,
        report_directory: "/reports".into(),
        metrics,
        callback_service: None,
        callback_port: None,
    }
}

fn node(name: &str, state: NodeRunState, seconds: Option<i64>) -> NodeRun {
    let created = at("19:30:01");
    NodeRun {
        node: name.into(),
        state,
        why: None,
        attempt: 0,
        pod: format!("pod-{name}"),
        pod_uid: None,
        // It waited for the pool.
        created: seconds.map(|_| created - jiff::SignedDuration::from_secs(600)),
        admitted: seconds.map(|_| created),
        started: None,
        finished: seconds.map(|seconds| created + jiff::SignedDuration::from_secs(seconds)),
        exit_code: None,
        reason: None,
        reported: None,
        files: 0,
        file_bytes: 0,
        events: 0,
        retry_at: None,
    }
}

fn value(value: f64, labels: &[(&str, &str)]) -> GaugeValue {
    GaugeValue { value, labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect() }
}

fn run(id: &str, settings: RunSettings, nodes: Vec<NodeRun>) -> StoredRun {
    let over = nodes.iter().all(|node| node.state.is_over());
    let run = Run {
        id: id.into(),
        definition: settings.name.clone(),
        namespace: settings.namespace.clone(),
        trigger: Trigger::Manual,
        state: if over { RunState::Succeeded } else { RunState::Running },
        why: None,
        created: at("19:30:00"),
        finished: over.then(|| at("19:35:00")),
        pool: settings.pool.clone(),
        stopping: false,
        nodes: RunCounts::of(&nodes),
    };
    let nodes = nodes.into_iter().map(|node| (node.node.clone(), node)).collect();
    StoredRun { run, settings: Arc::new(settings), nodes, results: BTreeMap::new() }
}

fn posted(mut run: StoredRun, node: &str, suffix: &str, values: Vec<GaugeValue>) -> StoredRun {
    let fresh = || NodeResult { node: node.into(), attempt: 0, received: at("19:31:00"), gauges: BTreeMap::new() };
    let result = run.results.entry(node.into()).or_insert_with(|| Arc::new(fresh()));
    Arc::make_mut(result).gauges.insert(suffix.into(), values);
    run
}

fn snapshot(runs: &[StoredRun]) -> RunsSnapshot {
    let runs: BTreeMap<_, _> = runs.iter().map(|run| (run.run.id.clone(), Arc::new(run.clone()))).collect();
    let mut definitions: BTreeMap<String, DefinitionStatus> = BTreeMap::new();
    for run in runs.values() {
        let status: DefinitionStatus = serde_json::from_value(serde_json::json!({
            "name": run.run.definition,
            "source": "checks.yaml",
            "namespace": "bench",
            "pool": run.run.pool,
            "schedule": "0 2 * * *",
            "next": at("20:00:00"),
            "suspended": false,
            "last_run": run.run.id,
        }))
        .unwrap();
        definitions.insert(status.name.clone(), status);
    }
    RunsSnapshot { definitions: definitions.into_values().collect(), runs }
}

struct Scraped {
    registry: Registry,
    desk: RunsDesk,
    _view: RunsView,
}

impl Scraped {
    fn new(most: usize) -> Self {
        let (view, desk) = RunsView::new();
        let registry = Registry::new();
        registry.register(Box::new(RunFigures::new(&view, at("19:30:30"), most).unwrap())).unwrap();
        Self { registry, desk, _view: view }
    }

    fn of(runs: &[StoredRun]) -> String {
        Self::new(SAMPLES).then(runs)
    }

    fn then(&self, runs: &[StoredRun]) -> String {
        self.desk.publish(snapshot(runs));
        self.text()
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        is_read_by_prometheus(&text);
        let series: Vec<&str> = samples(&text, "").into_iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let distinct: std::collections::BTreeSet<_> = series.iter().collect();
        assert_eq!(distinct.len(), series.len(), "a series is there twice:\n{text}");
        text
    }
}

/// Its own parser decides, where the machine has it.
fn is_read_by_prometheus(text: &str) {
    let Some(prometheus) = std::env::var_os("JOBMETER_PROMETHEUS") else { return };
    let promtool = std::path::PathBuf::from(prometheus).with_file_name("promtool");
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    // 3: it was read, and does not like batch-job-controller's names.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}\n{text}", output.status);
}

fn samples<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !line.starts_with('#') && line.starts_with(name)).collect()
}

/// Two nodes done, one skipped, one cancelled, one that still runs.
fn nightly() -> StoredRun {
    let nodes = vec![
        node("node-a", NodeRunState::Succeeded, Some(12)),
        node("node-b", NodeRunState::Failed, Some(3)),
        node("node-c", NodeRunState::Skipped, None),
        node("node-d", NodeRunState::Cancelled, Some(1)),
        node("node-e", NodeRunState::Running, None),
    ];
    let run = run("202611211930", settings("disk-check", true), nodes);
    let values = vec![value(512.5, &[("device", "sda"), ("kind", "ssd")]), value(80.0, &[("device", "sdb")])];
    posted(run, "node-a", "read", values)
}

#[test]
fn a_run_reads_as_it_does_from_batch_job_controller() {
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let text = Scraped::of(&[nightly()]).replace(&version, "version=\"…\"");
    assert_eq!(text, include_str!("golden.prom"));
}

/// The original's label values were shared between a run's series and the `latest` ones: pruning the run deleted the wrong one of them.
#[test]
fn the_latest_series_are_right_after_pruning() {
    let one = |id, nodes: &[(&str, f64)]| {
        let done = nodes.iter().map(|(name, _)| node(name, NodeRunState::Succeeded, Some(1))).collect();
        let run = run(id, settings("disk-check", true), done);
        nodes.iter().fold(run, |run, (name, speed)| posted(run, name, "read", vec![value(*speed, &[("device", "sda")])]))
    };
    let (old, new) = (one("202611211930", &[("a", 1.0), ("b", 2.0)]), one("202611212030", &[("a", 3.0)]));
    let scraped = Scraped::new(SAMPLES);
    let read = |node: &str, id: &str, value: &str| {
        format!("disk_read{{device=\"sda\",kind=\"\",node=\"{node}\",executionID=\"{id}\"}} {value}")
    };
    let text = scraped.then(&[old.clone(), new.clone()]);
    let both = [
        read("a", "202611211930", "1"),
        read("a", "202611212030", "3"),
        read("a", "latest", "3"),
        read("b", "202611211930", "2"),
        read("b", "latest", "2"),
    ];
    assert_eq!(samples(&text, "disk_read"), both);
    let text = scraped.then(&[new]);
    assert_eq!(samples(&text, "disk_read"), [read("a", "202611212030", "3"), read("a", "latest", "3")], "the old run was pruned");
    assert!(!text.contains("202611211930") && !text.contains("node=\"b\""), "{text}");
    let text = scraped.then(&[old]);
    assert!(text.contains(&read("a", "latest", "1")), "the newer one was cancelled and forgotten: {text}");
}

#[test]
fn latest_skips_a_run_that_has_no_value_of_the_node_yet() {
    let done = vec![node("a", NodeRunState::Failed, Some(1))];
    let old = run("202611211930", settings("disk-check", true), done);
    let new = run("202611212030", settings("disk-check", true), vec![node("a", NodeRunState::Running, None)]);
    let text = Scraped::of(&[old, new]);
    assert!(text.contains("disk_processing{node=\"a\",executionID=\"latest\"} 1"), "{text}");
    assert!(text.contains("disk_current_execution_id 202611212030\n"), "{text}");
}

#[test]
fn two_definitions_with_one_prefix_share_their_families() {
    let nodes = || vec![node("a", NodeRunState::Succeeded, Some(1))];
    let old = run("202611211930", settings("disk-check", true), nodes());
    let mut other = settings("other-check", true);
    other.metrics.gauges.get_mut("read").unwrap().help = "Something else.".into();
    let new = posted(run("202611212030", other, nodes()), "a", "read", vec![value(2.0, &[])]);
    let text = Scraped::of(&[posted(old, "a", "read", vec![value(1.0, &[])]), new]);
    assert_eq!(text.matches("# HELP disk_read ").count(), 1);
    assert_eq!(text.matches("# TYPE disk_read ").count(), 1);
    assert!(text.contains("# HELP disk_read Something else."), "the newest run's: {text}");
    assert!(text.contains("disk_read{device=\"\",kind=\"\",node=\"a\",executionID=\"latest\"} 2\n"), "{text}");
    assert_eq!(samples(&text, "disk_pods"), ["disk_pods 1"]);
}

#[test]
fn whatever_a_job_posts_no_series_is_there_twice() {
    let mut odd = settings("disk-check", true);
    odd.metrics.gauges.get_mut("read").unwrap().labels =
        ["node", "device", "executionID", "device", "kind"].map(str::to_owned).to_vec();
    // Under the name of a figure of the run's own, and of one of ours.
    odd.metrics.gauges.insert("processing".into(), GaugeSettings::default());
    let run = run("202611211930", odd, vec![node("a", NodeRunState::Succeeded, Some(1))]);
    let values = vec![
        value(1.0, &[("device", "sda"), ("node", "another")]),
        value(2.0, &[("device", "sda"), ("kind", "")]),
        value(3.0, &[("device", "sda"), ("executionID", "latest"), ("size", "1T")]),
        value(4.0, &[("device", "a\"b\\c\nd")]),
    ];
    let run = posted(posted(run, "a", "read", values), "a", "processing", vec![value(7.0, &[])]);
    let text = Scraped::of(&[run]);
    let read = samples(&text, "disk_read");
    assert_eq!(read.len(), 4, "{text}");
    assert_eq!(
        read.iter().filter(|line| line.contains("device=\"sda\"") && line.ends_with(" 3")).count(),
        2,
        "the last wins: {text}"
    );
    assert_eq!(samples(&text, "disk_processing").len(), 2);
    assert!(text.contains("disk_processing{node=\"a\",executionID=\"202611211930\"} 0\n"), "{text}");
}

#[test]
fn a_definition_cannot_write_into_our_own_metrics() {
    let mut ours = settings("disk-check", false);
    ours.metrics.prefix = "jobmeter".into();
    ours.metrics.gauges.insert("runs".into(), GaugeSettings::default());
    ours.metrics.gauges.insert("record_latency_seconds_sum".into(), GaugeSettings::default());
    let run = run("202611211930", ours, vec![node("a", NodeRunState::Succeeded, Some(1))]);
    let run = posted(run, "a", "runs", vec![value(7.0, &[])]);
    let text = Scraped::of(&[posted(run, "a", "record_latency_seconds_sum", vec![value(7.0, &[])])]);
    assert!(!samples(&text, "jobmeter_runs").iter().any(|line| line.contains("node=")), "{text}");
    assert!(samples(&text, "jobmeter_pods").is_empty() && samples(&text, "jobmeter_record").is_empty(), "{text}");
    assert!(text.contains("jobmeter_run_results_dropped_total{why=\"name\"} 2"), "{text}");
    assert!(text.contains("jobmeter_duration{node=\"a\","), "names that are free are free: {text}");
}

#[test]
fn what_no_series_shows_is_counted_once_for_each_result() {
    let fresh = run("202611211930", settings("disk-check", false), vec![node("a", NodeRunState::Running, None)]);
    let run = posted(fresh, "a", "undeclared", vec![value(1.0, &[]), value(2.0, &[("x", "y")])]);
    let run = posted(run, "a", "read", vec![value(1.0, &[("device", "sda"), ("size", "1T")])]);
    let scraped = Scraped::new(SAMPLES);
    let counts = |text: &str| {
        ["undeclared_gauge", "undeclared_label"].map(|why| {
            let name = format!("jobmeter_run_results_dropped_total{{why=\"{why}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
        })
    };
    assert_eq!(counts(&scraped.then(std::slice::from_ref(&run))), ["2", "1"]);
    assert_eq!(counts(&scraped.then(std::slice::from_ref(&run))), ["2", "1"], "a second scrape");
    let mut again = run.clone();
    Arc::make_mut(again.results.get_mut("a").unwrap()).received = at("19:32:00");
    assert_eq!(counts(&scraped.then(&[again])), ["4", "2"], "posted again");
    let mut before = run;
    Arc::make_mut(before.results.get_mut("a").unwrap()).received = at("19:30:29");
    assert_eq!(counts(&Scraped::of(&[before])), ["0", "0"], "the process before this one counted it");
}

#[test]
fn beyond_the_limit_the_oldest_runs_are_left_out_and_the_scrape_goes_on() {
    let one = |id: &str| {
        let run = run(id, settings("disk-check", false), vec![node("a", NodeRunState::Succeeded, Some(1))]);
        posted(run, "a", "read", (0..50).map(|at| value(1.0, &[("device", &at.to_string())])).collect())
    };
    let scraped = Scraped::new(100);
    let text = scraped.then(&[one("202611211930"), one("202611212030")]);
    let of = |id: &str| samples(&text, "disk_read").iter().filter(|line| line.contains(id)).count();
    assert_eq!(of("202611212030"), 50);
    assert!(of("202611211930") < 50, "{text}");
    assert_eq!(samples(&text, "").len(), 104);
    let dropped = samples(&text, "jobmeter_run_results_dropped_total{why=\"limit\"}");
    assert_ne!(dropped, ["jobmeter_run_results_dropped_total{why=\"limit\"} 0"]);
}

#[test]
fn runs_that_are_not_known_here_have_no_series() {
    let text = Scraped::new(SAMPLES).text();
    assert!(samples(&text, "").iter().all(|line| line.starts_with("jobmeter_run_results_dropped_total{")), "{text}");
}

#[test]
fn two_thousand_definitions_do_not_make_two_thousand_series() {
    let runs: Vec<_> =
        (0..2_000).map(|at| run(&format!("2026112119{at:04}"), settings(&format!("check-{at:04}"), false), Vec::new())).collect();
    let text = Scraped::of(&runs);
    assert!(samples(&text, "jobmeter_runs{").len() <= 4 * 1_001, "{}", samples(&text, "jobmeter_runs{").len());
    assert!(text.contains("jobmeter_runs{definition=\"(other)\",state=\"succeeded\"} 1000"));
}
