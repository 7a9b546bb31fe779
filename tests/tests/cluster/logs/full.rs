//! A spool with hardly any room, and a store that is away: what is given up is said, and the node's disk is not filled.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::logs::LogState;
use jobmeter_tests::babble::Babble;
use jobmeter_tests::installation::agent_pod;
use jobmeter_tests::kept;
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, ObjectStore, or_skip};
use serde_json::json;

use super::babbling;
use crate::jobs;

const MIB: u64 = 1 << 20;
/// As in `tests/manifests/small-spool`.
const SPOOL: u64 = 64 * MIB;
const PODS: usize = 6;
const EACH: u64 = 24 * MIB;
const LATER: Duration = Duration::from_secs(300);

/// The agent of node-a with a small spool; put back at the end.
struct SmallSpool<'a>(&'a Cluster);

impl<'a> SmallSpool<'a> {
    /// The overlay's DaemonSet replaces a pod only when it is deleted: the other nodes are left alone.
    fn install(cluster: &'a Cluster) -> Result<Self> {
        let guard = Self(cluster);
        cluster.kubectl(["apply", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/small-spool")])?;
        // Else the old pod might be made anew.
        eventually("the DaemonSet's controller to see the change", Duration::from_secs(60), || {
            let set = cluster.get(&["daemonset", "-n", "jobmeter-agent", "jobmeter-agent"])?;
            Ok((set["status"]["observedGeneration"] == set["metadata"]["generation"]).then_some(()))
        })?;
        let old = agent_pod(cluster, "node-a")?;
        cluster.kubectl(["delete", "pod", "-n", "jobmeter-agent", &old])?;
        eventually("the agent of node-a to be replaced", Duration::from_secs(90), || {
            let new = agent_pod(cluster, "node-a")?;
            if new == old {
                return Ok(None);
            }
            let pod = cluster.get(&["pod", "-n", "jobmeter-agent", &new])?;
            Ok((pod["status"]["containerStatuses"][0]["ready"] == true).then_some(()))
        })?;
        Ok(guard)
    }
}

impl Drop for SmallSpool<'_> {
    fn drop(&mut self) {
        let apply = self.0.kubectl(["apply", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/rig")]);
        let wait = ["-n", "jobmeter-agent", "rollout", "status", "daemonset/jobmeter-agent", "--timeout=180s"];
        if let Err(error) = apply.and_then(|_| self.0.kubectl(wait)) {
            eprintln!("failed to give node-a its spool back: {error:#}");
        }
    }
}

#[test]
fn what_a_full_spool_gives_up_is_said_and_the_disk_is_not_filled() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let store = ObjectStore::ensure(&cluster)?;
    let namespace = cluster.namespace("full")?;
    let name = namespace.name.as_str();
    let _small = SmallSpool::install(&cluster)?;
    store.stop()?;
    let outcome = (0..PODS).try_for_each(|number| {
        let seed = format!("large-{number}");
        let mut job = jobs::job(name, &seed, json!([babbling(&[&seed, &EACH.to_string()])]));
        job["spec"]["template"]["spec"]["affinity"] = jobs::on_nodes(&["node-a"]);
        cluster.apply(&job)?;
        cluster.kubectl(["wait", "-n", name, "--for=condition=complete", "--timeout=120s", &format!("job/{seed}")])?;
        cluster.kubectl(["delete", "-n", name, &format!("job/{seed}")]).map(drop)
    });
    let settled = outcome.and_then(|()| settle(name));
    store.start()?;
    let held = settled?;
    println!("{} MiB printed, {} MiB held where {} MiB are allowed", PODS as u64 * EACH / MIB, held / MIB, SPOOL / MIB);

    // Every pod has an object and a manifest: whole, cut, or a notice that says why there is none.
    let logs = kept::await_logs(&store.bucket(), name, PODS, LATER)?;
    ensure!(logs.len() == PODS, "{logs:#?}");
    let (mut whole, mut cut) = (0, 0);
    for log in &logs {
        let entry = &log.manifest.entry;
        match &entry.state {
            LogState::Complete => {
                log.check_complete()?;
                let seed = entry.log.pod.rsplit_once('-').map(|(seed, _)| seed).context("a seed")?;
                jobmeter_tests::babble::compare(Babble::stdout(seed, EACH), log.read()?.as_slice())?;
                whole += 1;
            }
            LogState::Truncated { why } => {
                let missing = entry.content.as_ref().map(|content| content.missing.clone()).unwrap_or_default();
                ensure!(!why.is_empty() && !missing.is_empty(), "{entry:#?}");
                cut += 1;
            }
            LogState::Lost { why } => {
                ensure!(!why.is_empty() && !log.read()?.is_empty(), "a lost log has a notice in its place: {entry:#?}");
                cut += 1;
            }
            other => anyhow::bail!("{} is {other:?}", entry.key),
        }
    }
    println!("{whole} logs are whole, {cut} say what they lack");
    // Two of them fit beyond doubt, and six cannot.
    ensure!(whole >= 2 && cut >= 1, "{whole} whole, {cut} cut");
    Ok(())
}

/// Waits until the kubelet has let go of the pods' logs (it collects garbage once a minute), and the spool of what is too much.
/// What it holds then, it holds alone.
fn settle(namespace: &str) -> Result<u64> {
    let log = std::env::var("JOBMETER_RIG_LOG_A").context("JOBMETER_RIG_LOG_A")?;
    let pods = PathBuf::from(log).join("pods");
    let own = format!("{namespace}_");
    eventually("the kubelet to remove the pods' logs", Duration::from_secs(240), || {
        let names = std::fs::read_dir(&pods)?.flatten().map(|entry| entry.file_name());
        let left = names.filter(|name| name.to_string_lossy().starts_with(&own)).count();
        Ok((left == 0).then_some(()))
    })?;
    let within = eventually("the spool to be within its bounds", Duration::from_secs(30), || {
        let held = held()?;
        Ok((held <= SPOOL).then_some(held))
    });
    within.with_context(|| format!("{} MiB are held", held().unwrap_or_default() / MIB))
}

/// Bytes of the disk that the spool of node-a alone holds: what the kubelet has, too, costs nothing.
fn held() -> Result<u64> {
    let log = std::env::var("JOBMETER_RIG_LOG_A").context("JOBMETER_RIG_LOG_A")?;
    let mut folders = vec![PathBuf::from(log).join("jobmeter/spool")];
    let mut blocks = 0;
    while let Some(folder) = folders.pop() {
        // Links come and go while they are counted.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.nlink() == 1 => blocks += metadata.blocks(),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(blocks * 512)
}
