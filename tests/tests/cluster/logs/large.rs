//! A log of gigabytes, through the kubelet's rotation, without gigabytes of memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jobmeter_tests::babble::{Babble, compare};
use jobmeter_tests::processes::HighWater;
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, ObjectStore, kept, or_skip};
use serde_json::json;

use super::{await_empty_spool, babbling};
use crate::jobs;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const MOST_MEMORY: u64 = 64 * MIB;

#[test]
fn a_two_gibibyte_log_through_rotation_arrives_whole() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let store = ObjectStore::ensure(&cluster)?;
    arrives_whole(&cluster, "large", &store.bucket())
}

/// Two gibibytes, written as fast as a container can, end up below `root`.
pub(super) fn arrives_whole(cluster: &Cluster, title: &str, root: &Path) -> Result<()> {
    let bytes = 2 * GIB;
    let namespace = cluster.namespace(title)?;
    let name = namespace.name.clone();
    let (agent, coordinator) = (HighWater::begin("jobmeter-agent")?, HighWater::begin("jobmeter-coordinator")?);
    let mut job = jobs::job(&name, "large", json!([babbling(&["large", &bytes.to_string()])]));
    job["spec"]["template"]["spec"]["affinity"] = jobs::on_nodes(&["node-a"]);
    let begun = Instant::now();
    cluster.apply(&job)?;
    cluster.kubectl(["wait", "-n", &name, "--for=condition=complete", "--timeout=300s", "job/large"])?;
    let written = begun.elapsed();
    let rotated = rotated(&name)?;
    ensure!(!rotated.is_empty(), "the kubelet rotated nothing: no test of rotation");
    let log = kept::await_logs(root, &name, 1, Duration::from_secs(300))?.remove(0);
    let arrived = begun.elapsed();
    let (agent, coordinator) = (agent.end()?, coordinator.end()?);
    println!(
        "{title}: {} MiB written in {written:.1?}, in the store after {arrived:.1?}; greatest memory: agent {} MiB, coordinator {} MiB",
        bytes / MIB,
        agent / MIB,
        coordinator / MIB,
    );
    log.check_complete()?;
    ensure!(compare(Babble::stdout("large", bytes), File::open(&log.path)?)? == bytes);
    ensure!(agent < MOST_MEMORY, "the agent used {agent} bytes");
    ensure!(coordinator < MOST_MEMORY, "the coordinator used {coordinator} bytes");
    drop(namespace);
    await_empty_spool(&name)?;
    // Two gibibytes on the disk that all tests share.
    eventually("the log to be removed", Duration::from_secs(10), || Ok(fs::remove_file(&log.path).ok()))
}

/// What is left of the rotated files that the kubelet made of the pod's log.
fn rotated(namespace: &str) -> Result<Vec<PathBuf>> {
    let log = std::env::var("JOBMETER_RIG_LOG_A").context("JOBMETER_RIG_LOG_A")?;
    let pods = fs::read_dir(Path::new(&log).join("pods"))?.flatten();
    let own = pods.filter(|pod| pod.file_name().to_string_lossy().starts_with(&format!("{namespace}_")));
    let files = own.flat_map(|pod| fs::read_dir(pod.path().join("main")).into_iter().flatten().flatten());
    Ok(files.map(|file| file.path()).filter(|path| !path.ends_with("0.log")).collect())
}
