//! Pools change while they are in use, by a ConfigMap.

use anyhow::{Result, ensure};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Installation, or_skip};
use serde_json::json;

use super::{SOON, gated_job, gated_pod, jobmeter};

#[test]
fn a_pool_that_is_resized_holds_its_new_size_from_then_on() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("resized")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 2}}))?;
    let observer = Observer::start()?;
    cluster.apply(&gated_job(name, "resized", name, 24, 2.0))?;
    let small = observer.until(name, "some pods to end", SOON, |seen| seen.ended() >= 2)?;
    ensure!(small.most == 2, "{} at once in a pool of 2", small.most);
    pools::set(&cluster, &json!({name: {"size": 6}}))?;
    observer.until(name, "six pods at once", SOON, |seen| seen.most == 6)?;
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let before = observer.pool(name)?.released.len();
    let seen = observer.all_succeeded(name, 24, 6, SOON)?;
    let after = &seen.released[before..];
    ensure!(!after.is_empty() && after.iter().all(|release| release.then == 1), "let go in a pool of 1: {after:#?}");
    Ok(())
}

#[test]
fn a_pod_of_an_unknown_pool_waits_and_people_are_told_why() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("unknown")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({}))?;
    let observer = Observer::start()?;
    cluster.apply(&gated_pod(name, "lost", name, 0.5))?;
    let told = eventually("the reason", SOON, || {
        let told = jobmeter(&["pool", name])?;
        Ok(told.contains("lost").then_some(told))
    })?;
    ensure!(told.to_lowercase().contains("no pool") || told.contains("no_such_pool"), "{told}");
    ensure!(observer.pool(name)?.gated() == 1, "it was let go: {:?}", observer.pool(name)?);
    // As soon as there is one, it may run.
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    observer.all_succeeded(name, 1, 1, SOON)?;
    let all = jobmeter(&["pools"])?;
    ensure!(all.contains(name), "{all}");
    Ok(())
}

#[test]
fn a_file_of_pools_with_a_mistake_changes_nothing_and_is_said() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("mistake")?;
    let name = namespace.name.as_str();
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let observer = Observer::start()?;
    pools::write(&cluster, &json!({"pools": {name: {"size": "many"}}}).to_string())?;
    eventually("/status to say what is wrong", SOON, || Ok(cluster.api("/status")?.contains("many").then_some(())))?;
    cluster.apply(&gated_job(name, "still", name, 3, 0.2))?;
    observer.all_succeeded(name, 3, 1, SOON)?;
    pools::set(&cluster, &json!({name: {"size": 2}}))
}
