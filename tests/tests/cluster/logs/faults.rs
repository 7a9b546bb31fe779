//! The store goes away, hangs, comes back; agents and the coordinator are killed meanwhile. Metering never stops.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jobmeter_tests::babble::compare_both;
use jobmeter_tests::kept::{self, Kept};
use jobmeter_tests::processes::{kill_dash_nine, kill_workers};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, ObjectStore, or_skip};
use serde_json::{Value, json};

use super::babbling;
use crate::jobs;

const OUTAGE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(120);
/// An agent waits longer from one attempt to the next, and a kubelet before it starts a killed coordinator once more.
const LATER: Duration = Duration::from_secs(300);

#[test]
fn a_store_that_is_down_for_a_minute_delays_logs_and_no_record() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let store = ObjectStore::ensure(&cluster)?;
    let namespace = cluster.namespace("outage")?;
    let name = namespace.name.as_str();
    store.stop()?;
    let begun = Instant::now();
    let mut pods = 0;
    // One Job after the other for as long as it lasts: each has its records while the store is away.
    while begun.elapsed() < OUTAGE {
        pods += run(&cluster, name, &format!("round-{pods}"), 5)?;
        cluster.closed_records(name, pods, SOON)?;
    }
    ensure!(kept::keys(&store.bucket(), name)?.is_empty(), "the store was said to be down");
    store.start()?;
    let back = Instant::now();
    let logs = kept::await_logs(&store.bucket(), name, pods, LATER)?;
    println!("{pods} logs of a minute's outage arrived within {:.1?} of the store's return", back.elapsed());
    check(&logs, pods)?;
    ensure!(kept::keys(&store.bucket(), name)?.len() == 2 * pods);
    Ok(())
}

#[test]
fn a_kill_between_ticket_and_acknowledgement_loses_and_doubles_nothing() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let store = ObjectStore::ensure(&cluster)?;
    let namespace = cluster.namespace("mid-air")?;
    let name = namespace.name.as_str();
    store.pause()?;
    // Whatever happens below, no other test is to find the store asleep.
    let outcome = killed_in_mid_air(&cluster, store, name);
    store.resume()?;
    let pods = outcome?;
    let logs = kept::await_logs(&store.bucket(), name, pods, LATER)?;
    check(&logs, pods)?;
    ensure!(kept::keys(&store.bucket(), name)?.len() == 2 * pods);
    Ok(())
}

/// How many pods ran while the store took calls and answered none.
fn killed_in_mid_air(cluster: &Cluster, store: &ObjectStore, namespace: &str) -> Result<usize> {
    let pods = run(cluster, namespace, "before", 5)?;
    // The kernel accepts for the server, so a call that has been sent waits there: the ticket is out, the answer is not.
    eventually("an upload to be in mid-air", SOON, || Ok((store.unanswered()? > 0).then_some(())))?;
    let agents = kill_workers("jobmeter-agent")?;
    let coordinators = kill_dash_nine("jobmeter-coordinator")?;
    ensure!(agents.len() == 2 && coordinators > 0, "killed: agents {agents:?}, coordinators {coordinators}");
    cluster.kubectl(["-n", "jobmeter", "rollout", "status", "deployment/jobmeter-coordinator", "--timeout=180s"])?;
    let pods = pods + run(cluster, namespace, "after", 5)?;
    // Started again with a store that does not answer, the coordinator still keeps the books.
    cluster.closed_records(namespace, pods, LATER)?;
    Ok(pods)
}

fn run(cluster: &Cluster, namespace: &str, job: &str, pods: usize) -> Result<usize> {
    let mut manifest: Value = jobs::job(namespace, job, json!([babbling(&[&format!("{job}-$(JOB_COMPLETION_INDEX)")])]));
    manifest["spec"]["completionMode"] = json!("Indexed");
    manifest["spec"]["completions"] = json!(pods);
    manifest["spec"]["parallelism"] = json!(pods);
    cluster.apply(&manifest)?;
    cluster.kubectl(["wait", "-n", namespace, "--for=condition=complete", "--timeout=120s", &format!("job/{job}")])?;
    Ok(pods)
}

fn check(logs: &[Kept], pods: usize) -> Result<()> {
    ensure!(logs.len() == pods, "{} logs of {pods} pods", logs.len());
    for log in logs {
        let pod = &log.manifest.entry.log.pod;
        log.check_complete()?;
        compare_both(pod.rsplit_once('-').map_or(pod.as_str(), |(seed, _)| seed), &log.read()?)?;
    }
    Ok(())
}
