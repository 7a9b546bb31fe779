//! The whole way: a schedule, two nodes one after the other, and a shell script that reports by curl.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::runs::{Run, RunDetail, Trigger};
use jobmeter_tests::pools::Observer;
use jobmeter_tests::prometheus::{self, Prometheus};
use jobmeter_tests::runs::{self, ChosenNodes, Definitions, NAMESPACE};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::{Value, json};

use super::{LONG, SOON, each_node_succeeded_once, report_file};

const NAME: &str = "diskcheck";
const SCRIPT: &str = r#"
post() { curl --silent --show-error --fail --request POST "$@"; }
sleep 1
echo "$EXECUTION_ID on $NODE_NAME" > /tmp/report.txt
post "$CALLBACK_SERVICE_FILE_URL?name=report.txt" --header 'Content-Type: text/plain' --data-binary @/tmp/report.txt
post "$CALLBACK_SERVICE_FILE_URL" --form 'file=@/tmp/report.txt;filename=form.txt'
post "$CALLBACK_SERVICE_EVENT_URL" --header 'Content-Type: application/json' \
	--data '{"warning":true,"reason":"DiskFull","message":"disk 100% full"}'
post "$CALLBACK_SERVICE_RESULT_URL" --header 'Content-Type: application/json' \
	--data '{"free":[{"value":41.5,"labels":{"device":"sda"}},{"value":7,"labels":{"device":"sdb"}}]}'
"#;

#[test]
fn a_cron_triggered_run_over_the_nodes_posts_results_files_and_events_with_curl() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let _nodes = ChosenNodes::label(&cluster)?;
    let observer = Observer::start()?;
    let prometheus = Prometheus::start(&[("coordinator", prometheus::COORDINATOR)])?;
    let keys = json!({
        "cronExpression": "@every 20s",
        "reportHistory": 10,
        "savePodLog": true,
        "latestMetricsLabel": true,
        "metrics": {"prefix": NAME, "gauges": {"free": {"help": "Free space.", "labels": ["device"]}}},
    });
    let definitions = Definitions::set(&cluster, &[runs::definition(NAME, 1, SCRIPT, &keys)])?;

    let first = runs::next(&cluster, NAME, &[], SOON)?;
    let second = runs::next(&cluster, NAME, &[&first.id], SOON)?;
    for run in [&first, &second] {
        ensure!(matches!(run.trigger, Trigger::Schedule { .. }), "{run:#?}");
        let run = runs::over(&cluster, &run.id, LONG)?;
        each_node_succeeded_once(&run)?;
        results_files_and_events_are_there(&cluster, &run)?;
    }
    // It fires on, and what is asked below is of these two.
    scraped(&prometheus, &second)?;
    drop(definitions);

    let pool = runs::pool_of(NAME);
    let seen = observer.until(&pool, "four pods to end", SOON, |seen| seen.ended() >= 4)?;
    ensure!(seen.most == 1, "{} at once in a pool of 1", seen.most);
    ensure!(seen.never_gated.is_empty(), "never gated: {:?}", seen.never_gated);
    println!("{} pods of scheduled runs: at most {} of 1 at once", seen.pods, seen.most);
    Ok(())
}

fn results_files_and_events_are_there(cluster: &Cluster, run: &RunDetail) -> Result<()> {
    let id = &run.run.id;
    let results = runs::results(cluster, id)?;
    ensure!(results.len() == 2, "{results:#?}");
    for (result, node) in results.iter().zip(ChosenNodes::names()) {
        let values: Vec<_> = result.gauges["free"].iter().map(|free| (free.value, free.labels["device"].as_str())).collect();
        ensure!(result.node == node && values == [(41.5, "sda"), (7.0, "sdb")], "{result:#?}");
        let written: Value = serde_json::from_str(&report_file(cluster, NAME, &format!("{id}/{node}.json"))?)?;
        ensure!(written["free"][0]["labels"]["device"] == "sda", "{written}");
        for name in ["report.txt", "form.txt"] {
            let text = report_file(cluster, NAME, &format!("{id}/{node}-{name}"))?;
            ensure!(text == format!("{id} on {node}\n"), "{node}-{name} holds {text:?}");
        }
    }
    let events = cluster.get(&["events.events.k8s.io", "-n", NAMESPACE])?;
    let events = events["items"].as_array().context("a list of events")?;
    for node in &run.nodes {
        ensure!((node.files, node.events) == (2, 1) && node.reported.is_some(), "{node:#?}");
        let of_pod: Vec<_> = events
            .iter()
            .filter(|event| event["regarding"]["name"] == node.pod.as_str() && event["reason"] == "DiskFull")
            .map(|event| (&event["type"], &event["note"]))
            .collect();
        ensure!(of_pod == [(&json!("Warning"), &json!("disk 100% full"))], "{of_pod:?}");
    }
    Ok(())
}

/// By the names that batch-job-controller gives them.
fn scraped(prometheus: &Prometheus, run: &Run) -> Result<()> {
    let id = &run.id;
    let is = |series: String, wanted: f64| {
        eventually(&format!("{series} = {wanted} in Prometheus"), Duration::from_secs(60), || {
            Ok((prometheus.value(&series)? == Some(wanted)).then_some(()))
        })
    };
    for node in ChosenNodes::names() {
        is(format!(r#"{NAME}_free{{device="sda",node="{node}",executionID="{id}"}}"#), 41.5)?;
        is(format!(r#"{NAME}_free{{device="sdb",node="{node}",executionID="latest"}}"#), 7.0)?;
        is(format!(r#"{NAME}_processing{{node="{node}",executionID="{id}"}}"#), 0.0)?;
        let duration = prometheus.value(&format!(r#"{NAME}_duration{{node="{node}",executionID="{id}"}}"#))?;
        // It slept for a second; the API server cuts the end to whole seconds.
        ensure!(duration.is_some_and(|milliseconds| (100.0..200_000.0).contains(&milliseconds)), "{duration:?} ms");
    }
    is(format!("{NAME}_pods"), 2.0)
}
