//! What a person does with runs: start one, look at it, cancel it, try its failed nodes again.

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::runs::{NodeRunState, RunState, Trigger};
use jobmeter_tests::runs::{self, ChosenNodes, Definitions, NAMESPACE};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Installation, or_skip};
use serde_json::json;

use super::{SOON, jobmeter};

#[test]
fn retry_cancel_and_start_by_the_cli() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let _nodes = ChosenNodes::label(&cluster)?;
    let half = runs::definition("half", 2, r#"test "$NODE_NAME" = node-a"#, &json!({}));
    let endless = runs::definition("endless", 2, "sleep 600", &json!({}));
    let _definitions = Definitions::set(&cluster, &[half, endless])?;
    let listed = jobmeter(&["runs", "definitions"])?;
    ensure!(listed.contains("half") && listed.contains("endless"), "{listed}");

    jobmeter(&["runs", "start", "half"])?;
    let first = runs::next(&cluster, "half", &[], SOON)?.id;
    let run = runs::over(&cluster, &first, SOON)?;
    let states: Vec<_> = run.nodes.iter().map(|node| (node.node.as_str(), node.state, node.exit_code)).collect();
    ensure!(
        run.run.state == RunState::Failed
            && states == [("node-a", NodeRunState::Succeeded, Some(0)), ("node-b", NodeRunState::Failed, Some(1))],
        "{run:#?}"
    );
    let shown = jobmeter(&["runs", "show", &first])?;
    ensure!(shown.contains("node-b") && shown.contains("ailed"), "{shown}");

    // Only the node that failed.
    jobmeter(&["runs", "retry", &first])?;
    let again = runs::next(&cluster, "half", &[&first], SOON)?;
    ensure!(again.trigger == Trigger::Retry { of: first.clone() }, "{again:#?}");
    let again = runs::over(&cluster, &again.id, SOON)?;
    ensure!(again.nodes.len() == 1 && again.nodes[0].node == "node-b", "{again:#?}");

    // Only the node that was named.
    jobmeter(&["runs", "start", "half", "--nodes", "node-a"])?;
    let known = [first.as_str(), again.run.id.as_str()];
    let named = runs::over(&cluster, &runs::next(&cluster, "half", &known, SOON)?.id, SOON)?;
    ensure!(named.run.state == RunState::Succeeded && named.nodes.len() == 1, "{named:#?}");

    jobmeter(&["runs", "start", "endless"])?;
    let endless = runs::next(&cluster, "endless", &[], SOON)?.id;
    runs::until(&cluster, &endless, "both to run", SOON, |now| now.run.nodes.running == 2)?;
    jobmeter(&["runs", "cancel", &endless])?;
    let run = runs::over(&cluster, &endless, SOON)?;
    ensure!(run.run.state == RunState::Cancelled && run.run.nodes.cancelled == 2, "{run:#?}");
    eventually("its pods to go", SOON, || {
        let pods = cluster.get(&["pods", "-n", NAMESPACE, "-l", &format!("jobmeter.io/run={endless}")])?;
        let alive = pods["items"].as_array().context("a list of pods")?.iter().filter(|pod| pod["status"]["phase"] == "Running");
        Ok((alive.count() == 0).then_some(()))
    })?;
    let refused = jobmeter(&["runs", "cancel", &endless]);
    ensure!(refused.as_ref().is_err_and(|error| error.to_string().contains("is over")), "{refused:?}");
    let all = jobmeter(&["runs"])?;
    ensure!(all.contains(&first) && all.contains(&endless), "{all}");
    Ok(())
}
