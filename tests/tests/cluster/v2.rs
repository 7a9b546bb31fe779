//! The node on pure cgroup v2 (Linux 6.1 in a virtual machine).

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use jobmeter_protocol::{Method, Quality};
use jobmeter_tests::cluster::run;
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::json;

use crate::jobs;

/// Runs in the guest: the last `usage_usec` and `memory.peak` of each pod's cgroup, printed when `/tmp/observe` goes.
const OBSERVER: &str = r#"
touch /tmp/observe; rm -rf /tmp/observed; mkdir -p /tmp/observed
while [ -e /tmp/observe ]; do
  for d in /sys/fs/cgroup/kubepods/pod* /sys/fs/cgroup/kubepods/*/pod*; do
    p=$(cat "$d/memory.peak" 2>/dev/null) && u=$(head -n1 "$d/cpu.stat" 2>/dev/null) && echo "$u $p" > "/tmp/observed/${d##*/pod}"
  done
  usleep 50000
done"#;

fn on_vm(script: &str) -> Command {
    let rig = concat!(env!("CARGO_MANIFEST_DIR"), "/rig");
    let mut command = Command::new(rig);
    command.args(["on", "node-v2", "sh", "-c", script]);
    command
}

fn observed() -> Result<HashMap<String, (u64, u64)>> {
    let text = run(on_vm("cd /tmp/observed && for f in *; do echo $f $(cat $f); done"), "")?;
    let parse = |line: &str| -> Option<(String, (u64, u64))> {
        let words: Vec<_> = line.split_whitespace().collect();
        let &[uid, "usage_usec", usage, peak] = words.as_slice() else { return None };
        Some((uid.to_owned(), (usage.parse().ok()?, peak.parse().ok()?)))
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn skip(cluster: &Cluster) -> bool {
    let missing = !cluster.has_vm();
    assert!(!(missing && std::env::var_os("CI").is_some()), "CI must have the cgroup v2 node: tests/rig up --vm");
    if missing {
        eprintln!("SKIPPED: the rig runs without its cgroup v2 node (tests/rig up --vm)");
    }
    missing
}

#[test]
fn ten_pods_on_cgroup_v2_are_ten_exact_records() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    if skip(&cluster) {
        return Ok(());
    }
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("unified")?;
    let name = namespace.name.as_str();
    let mut observer = on_vm(OBSERVER).spawn().context("failed to start the observer in the guest")?;
    let mut job = jobs::job(name, "true", json!([jobs::container("main", &["/bin/true"])]));
    job["spec"]["completions"] = json!(10);
    job["spec"]["parallelism"] = json!(5);
    job["spec"]["template"]["spec"]["affinity"] = jobs::on_nodes(&["node-v2"]);
    cluster.apply(&job)?;
    cluster.kubectl(["wait", "-n", name, "--for=condition=complete", "--timeout=300s", "job/true"])?;
    let records = cluster.closed_records(name, 10, Duration::from_secs(120))?;
    run(on_vm("rm -f /tmp/observe"), "")?;
    observer.wait()?;
    let truth = observed()?;
    for record in &records {
        assert!(matches!(record.quality, Quality::Complete { .. }), "{record:#?}");
        let (cpu, peak) = record.usage.cpu_seconds.zip(record.usage.memory_peak_bytes).context("both figures")?;
        assert_eq!((cpu.method, peak.method), (Method::Kernel, Method::Kernel));
        let &(usage_us, peak_bytes) = truth.get(&record.identity.pod_uid).context("the guest's observer saw every pod")?;
        let difference = cpu.value - usage_us as f64 / 1e6;
        // Under emulation the teardown of the sandbox alone costs tens of milliseconds.
        assert!((-0.001..=0.060).contains(&difference), "cpu {} s, the kernel said {usage_us} us", cpu.value);
        assert!(peak.value.abs_diff(peak_bytes) <= 1 << 20, "peak {} B, the kernel said {peak_bytes} B", peak.value);
    }
    Ok(())
}
