//! A place belongs to a pod: it is free when that is gone, and not before.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::{Installation, or_skip};
use serde_json::json;

use super::{LABEL, SOON, gated_job, gated_pod};

#[test]
fn a_pod_deleted_while_pending_frees_its_place() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("pending")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let observer = Observer::start()?;
    let mut nowhere = gated_pod(name, "nowhere", name, 1.0);
    nowhere["spec"]["nodeSelector"] = json!({"no-such": "node"});
    cluster.apply(&nowhere)?;
    observer.until(name, "the first pod to take the place", SOON, |seen| seen.now() == 1)?;
    cluster.apply(&gated_pod(name, "next", name, 1.0))?;
    observer.until(name, "the second pod to wait", SOON, |seen| seen.gated() == 1)?;
    let said = jobmeter_tests::wait::eventually("the second pod's reason", SOON, || {
        Ok(pools::detail(&cluster, name)?.waiting.into_iter().find(|wait| wait.name == "next"))
    })?;
    ensure!(said.reason == "pool_full", "{said:?}");
    cluster.kubectl(["delete", "pod", "-n", name, "nowhere", "--wait=false"])?;
    let seen = observer.until(name, "both to be over", SOON, |seen| seen.ended() == 2)?;
    ensure!((seen.deleted, seen.succeeded, seen.most) == (1, 1, 1), "{seen:#?}");
    Ok(())
}

#[test]
fn a_running_pod_whose_label_is_removed_keeps_its_place() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("unlabelled")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let observer = Observer::start()?;
    cluster.apply(&gated_pod(name, "first", name, 15.0))?;
    observer.until(name, "the first pod to be let go", SOON, |seen| seen.now() == 1)?;
    cluster.apply(&gated_pod(name, "second", name, 1.0))?;
    cluster.kubectl(["label", "pod", "-n", name, "first", &format!("{LABEL}-")])?;
    // Were its place given away, the two would run at once.
    observer.all_succeeded(name, 2, 1, SOON).map(drop)
}

#[test]
fn one_on_each_node_is_never_two() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("apiece")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 10, "perNode": 1}}))?;
    let observer = Observer::start()?;
    // To node-a and node-b alone.
    cluster.apply(&gated_job(name, "apiece", name, 10, 0.5))?;
    let seen = observer.all_succeeded(name, 10, 2, SOON)?;
    let one_each = BTreeMap::from([("node-a".to_owned(), 1), ("node-b".to_owned(), 1)]);
    ensure!(seen.most_on == one_each, "at most so many on each node: {:?}", seen.most_on);
    Ok(())
}
