//! The list of metrics and what is really registered are the same.

use jiff::Timestamp;
use jobmeter_coordinator::LocalEvent;
use jobmeter_coordinator::metrics::table::METRICS;
use jobmeter_decide::example;
use jobmeter_protocol::{ContainerEvidence, PodEvidence, Stage};

use crate::harness::{NODE, Running, batch, eventually, evidence, heartbeat, pod};

#[tokio::test]
async fn every_metric_that_is_shown_is_in_the_table_with_its_type_labels_and_help() {
    let coordinator = Running::local().await;
    coordinator.handle.heartbeat(NODE, heartbeat(NODE, vec![])).await.unwrap();
    coordinator.tell(LocalEvent::Applied { pod: pod(1, "sort"), owners: vec![example::owner("batch/v1", "Job", "sort")] }).await;
    coordinator.handle.report(batch(vec![evidence(1)])).await.unwrap();
    let text = eventually("a closed record in the metrics", async || {
        let text = coordinator.get("/metrics").await.text().await.unwrap();
        text.contains("jobmeter_records_total{namespace=\"bench\",reason=\"Completed\"} 1").then_some(text)
    })
    .await;
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(names.len() > 15, "{text}");
    for line in names {
        let (name, kind) = line.split_once(' ').unwrap();
        let metric = METRICS.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(metric.kind.as_str(), kind, "{name}");
        assert!(text.contains(&format!("# HELP {name} {}", metric.help)), "{name}");
        for label in metric.labels {
            assert!(text.lines().any(|l| l.starts_with(name) && l.contains(&format!("{label}=\""))), "{label} of {name}");
        }
    }
    assert!(!text.contains("jobmeter_unknown"));
}

#[test]
fn names_have_their_unit_and_their_suffix() {
    for metric in METRICS {
        let counter = metric.kind == jobmeter_coordinator::metrics::table::Kind::Counter;
        assert_eq!(metric.name.ends_with("_total"), counter, "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        assert!(!metric.labels.iter().any(|label| ["pod", "job", "instance"].contains(label)), "{}", metric.name);
    }
}

#[tokio::test]
async fn the_latency_of_records_counts_every_exit_of_a_container_once() {
    let coordinator = Running::local().await;
    let observed = async || {
        let metrics = coordinator.get("/metrics").await.text().await.unwrap();
        metrics.lines().find_map(|line| line.strip_prefix("jobmeter_record_latency_seconds_count ")).unwrap().to_owned()
    };
    let now = Timestamp::now();
    let run = |id: &str, ended: bool| ContainerEvidence {
        container_id: id.to_owned(),
        started: Some(now),
        ended: ended.then_some(now),
        ..example::container(id, None, 1.0, 1.0, None)
    };
    let report = async |containers: Vec<ContainerEvidence>, stage| {
        coordinator.handle.report(batch(vec![PodEvidence { containers, stage, ..evidence(1) }])).await.unwrap();
        observed().await
    };
    assert_eq!(report(vec![run("aa", false)], Stage::Running).await, "0");
    assert_eq!(report(vec![run("aa", true), run("bb", false)], Stage::Running).await, "1");
    assert_eq!(report(vec![run("aa", true), run("bb", true)], Stage::Ended).await, "2");
    assert_eq!(report(vec![run("aa", true), run("bb", true)], Stage::Final).await, "2");
    // One pod whose only report is its last has its exits counted all the same.
    coordinator.handle.report(batch(vec![evidence(2)])).await.unwrap();
    assert_eq!(observed().await, "3");
}
