//! Pods that live for less than a second, half of them deleted at once, while the agents are killed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_tests::babble::compare_both;
use jobmeter_tests::processes::kill_workers;
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, ObjectStore, kept, or_skip};
use serde_json::{Value, json};

use super::{await_empty_spool, babbling};
use crate::jobs;

/// Of ten Jobs that clean up after themselves, and ten pods that are deleted by hand.
const ROUNDS: usize = 5;
const STEADY: usize = 100;
const PODS: usize = STEADY + ROUNDS * 20;
const SOON: Duration = Duration::from_secs(120);

#[test]
fn two_hundred_short_lived_pods_lose_no_log() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let store = ObjectStore::ensure(&cluster)?;
    let namespace = cluster.namespace("short-lived")?;
    let name = namespace.name.clone();

    cluster.apply(&steady(&name))?;
    let mut killed: BTreeMap<&str, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        cluster.apply(&fleeting(&name, round))?;
        if round % 2 == 1 {
            for (node, agents) in kill_workers("jobmeter-agent")? {
                *killed.entry(node).or_default() += agents;
            }
        }
        delete_once_begun(&cluster, &name, round)?;
    }
    ensure!(killed.values().all(|agents| *agents >= 2) && killed.len() == 2, "agents that were killed, by node: {killed:?}");
    cluster.kubectl(["wait", "-n", &name, "--for=condition=complete", "--timeout=240s", "job/steady"])?;

    let found = kept::await_logs(&store.bucket(), &name, PODS, Duration::from_secs(180))?;
    let mut by_seed: BTreeMap<String, usize> = BTreeMap::new();
    for log in &found {
        let seed = seed_of(&log.manifest.entry.log.pod);
        log.check_complete()?;
        compare_both(seed, &log.read()?)?;
        *by_seed.entry(seed.to_owned()).or_default() += 1;
    }
    let expected: BTreeMap<_, _> = seeds().into_iter().map(|seed| (seed, 1)).collect();
    ensure!(by_seed == expected, "lost or doubled: {:?}", difference(&expected, &by_seed));
    let keys = kept::keys(&store.bucket(), &name)?;
    ensure!(keys.len() == 2 * PODS, "{} objects where {PODS} logs and as many manifests should be: {keys:#?}", keys.len());
    let lost: Value = serde_json::from_str(&cluster.api(&format!("/v1/logs?namespace={name}&state=lost"))?)?;
    ensure!(lost["items"].as_array().is_some_and(Vec::is_empty), "{lost:#}");

    drop(namespace);
    await_empty_spool(&name)
}

/// One Job of a hundred pods, which stay when they are done.
fn steady(namespace: &str) -> Value {
    let mut job = jobs::job(namespace, "steady", json!([babbling(&["steady-$(JOB_COMPLETION_INDEX)"])]));
    job["spec"]["completionMode"] = json!("Indexed");
    job["spec"]["completions"] = json!(STEADY);
    job["spec"]["parallelism"] = json!(10);
    job
}

fn fleeting(namespace: &str, round: usize) -> Value {
    let mut items = Vec::new();
    for number in 0..10 {
        let name = format!("cleaned-{round}{number}");
        let mut job = jobs::job(namespace, &name, json!([babbling(&[&name])]));
        job["spec"]["ttlSecondsAfterFinished"] = json!(0);
        items.push(job);
        let name = deleted(round, number);
        let spec = jobs::job(namespace, &name, json!([babbling(&[&name])]))["spec"]["template"]["spec"].take();
        items.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn deleted(round: usize, number: usize) -> String {
    format!("deleted-{round}{number}")
}

/// By hand, as soon as the API server says that they run: in every other round with force, so that it forgets them at once.
fn delete_once_begun(cluster: &Cluster, namespace: &str, round: usize) -> Result<()> {
    let mut left: Vec<_> = (0..10).map(|number| deleted(round, number)).collect();
    eventually("the round's pods to begin", SOON, || {
        let pods = cluster.get(&["pods", "-n", namespace])?;
        let phase = |pod: &Value, name: &str| {
            pod["metadata"]["name"] == name && ["Running", "Succeeded"].iter().any(|phase| pod["status"]["phase"] == *phase)
        };
        let pods = pods["items"].as_array().context("a list of pods")?;
        let (begun, waiting) = left.drain(..).partition::<Vec<_>, _>(|name| pods.iter().any(|pod| phase(pod, name)));
        left = waiting;
        if !begun.is_empty() {
            let how: &[&str] = if round.is_multiple_of(2) { &["--force", "--grace-period=0"] } else { &["--wait=false"] };
            let fixed = ["delete", "pod", "-n", namespace].into_iter().chain(how.iter().copied());
            cluster.kubectl(fixed.chain(begun.iter().map(String::as_str)))?;
        }
        Ok(left.is_empty().then_some(()))
    })
}

/// What a pod of this test was given to print: its own name, or its Job's and the index.
fn seed_of(pod: &str) -> &str {
    if pod.starts_with("deleted-") { pod } else { pod.rsplit_once('-').map_or(pod, |(seed, _)| seed) }
}

fn seeds() -> Vec<String> {
    let steady = (0..STEADY).map(|index| format!("steady-{index}"));
    let rounds = (0..ROUNDS * 10).map(|number| (number / 10, number % 10));
    steady.chain(rounds.flat_map(|(round, number)| [format!("cleaned-{round}{number}"), deleted(round, number)])).collect()
}

fn difference(expected: &BTreeMap<String, usize>, found: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let all = expected.keys().chain(found.keys()).cloned();
    let mut wrong: Vec<_> = all.map(|seed| (found.get(&seed).copied().unwrap_or(0), seed)).map(|(n, seed)| (seed, n)).collect();
    wrong.retain(|(seed, count)| expected.get(seed) != Some(count));
    wrong.sort();
    wrong.dedup();
    wrong
}
