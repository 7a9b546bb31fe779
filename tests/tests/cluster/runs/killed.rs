//! The coordinator ends in the middle of a run, and pods report while nobody listens.

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::runs::NodeRunState;
use jobmeter_tests::pools::Observer;
use jobmeter_tests::processes::kill_dash_nine;
use jobmeter_tests::runs::{self, ChosenNodes, Definitions};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Installation, coordinator, or_skip};
use serde_json::json;

use super::{LONG, SOON, callback_url, each_node_succeeded_once, jobmeter};

const NAME: &str = "killed";
/// Long enough to be killed meanwhile; and it goes on trying while nobody listens.
const SCRIPT: &str = r#"
sleep 8
curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-all-errors --retry-max-time 90 \
	--data '{"done":[{"value":1}]}' "$CALLBACK_SERVICE_RESULT_URL"
"#;

#[test]
fn a_coordinator_killed_in_mid_run_resumes_and_a_late_report_counts_once() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let _nodes = ChosenNodes::label(&cluster)?;
    let observer = Observer::start()?;
    let keys = json!({
        "resultRequired": true,
        "metrics": {"prefix": NAME, "gauges": {"done": {"help": "Whether it was done."}}},
    });
    let _definitions = Definitions::set(&cluster, &[runs::definition(NAME, 1, SCRIPT, &keys)])?;
    jobmeter(&["runs", "start", NAME])?;
    let id = runs::next(&cluster, NAME, &[], SOON)?.id;

    // While the first runs and the second waits, and while the second runs.
    let mut killed = 0;
    for running in 1..=2 {
        runs::until(&cluster, &id, &format!("pod {running} to run"), LONG, |now| {
            let over = now.nodes.iter().filter(|node| node.state.is_over()).count();
            over + 1 == running && now.nodes.iter().any(|node| node.state == NodeRunState::Running)
        })?;
        killed += kill_dash_nine(coordinator::PROGRAM)?;
    }
    ensure!(killed >= 2, "the coordinator was there to be killed only {killed} times");
    coordinator::rolled_out(&cluster)?;
    let run = runs::over(&cluster, &id, LONG)?;
    each_node_succeeded_once(&run)?;
    let results = runs::results(&cluster, &id)?;
    ensure!(results.len() == 2 && results.iter().all(|result| result.gauges["done"][0].value == 1.0), "{results:#?}");
    let seen = observer.all_succeeded(&runs::pool_of(NAME), 2, 1, SOON)?;

    // The run is over and the coordinator another one; the pod's URL is still good, and its result is one.
    let node = run.nodes.first().context("a node")?;
    let url = callback_url(&cluster, &run.run.namespace, &node.pod, "CALLBACK_SERVICE_RESULT_URL")?;
    kill_dash_nine(coordinator::PROGRAM)?;
    for _ in 0..2 {
        eventually("the late report to be taken", SOON, || {
            let answer = runs::post(&url, Some(r#"{"done":[{"value":2}]}"#))?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(Some(()))
        })?;
    }
    let results = runs::results(&cluster, &id)?;
    let values: Vec<_> = results.iter().map(|result| (result.node.as_str(), result.gauges["done"][0].value)).collect();
    ensure!(values == [("node-a", 2.0), ("node-b", 1.0)], "{values:?}");
    each_node_succeeded_once(&runs::detail(&cluster, &id)?)?;

    // Without its token, or with another's, nobody is heard.
    let (stem, token) = url.strip_suffix("/result").and_then(|url| url.rsplit_once('/')).context("a token in the URL")?;
    let backwards: String = token.chars().rev().collect();
    let forged = [format!("{stem}/{backwards}/result"), url.replace("/node-a/", "/node-b/"), format!("{stem}/result")];
    for url in forged {
        let answer = runs::post(&url, Some(r#"{"done":[{"value":3}]}"#))?;
        ensure!((400..500).contains(&answer.status), "{answer:?}");
    }
    coordinator::rolled_out(&cluster)?;
    println!(
        "killed {} times in and after a run of {} pods: each ran once, at most {} at once",
        killed + 1,
        seen.pods,
        seen.most
    );
    Ok(())
}
