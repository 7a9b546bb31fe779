//! SIGKILL at bad moments: the books still come out whole.

use std::time::Duration;

use anyhow::Result;
use jobmeter_protocol::Quality;
use jobmeter_tests::processes::kill_dash_nine;
use jobmeter_tests::{Installation, or_skip};
use serde_json::json;

use crate::jobs;

#[test]
fn agents_and_coordinator_killed_during_a_hundred_jobs_still_leave_a_hundred_records() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("crash")?;
    let name = namespace.name.as_str();
    let mut job = jobs::job(name, "steady", json!([jobs::shell("main", "sleep 0.3")]));
    job["spec"]["completions"] = json!(100);
    job["spec"]["parallelism"] = json!(20);
    cluster.apply(&job)?;
    // The moments are spread over the run by the run itself: one kill each time some more pods have succeeded.
    // A kubelet that restarts a container again and again waits longer each time, so not every kill finds somebody.
    let mut killed = (0, 0);
    for threshold in [10, 40, 70] {
        jobmeter_tests::wait::eventually("more pods to succeed", Duration::from_secs(240), || {
            let status = cluster.get(&["job/steady", "-n", name])?;
            Ok((status["status"]["succeeded"].as_i64().unwrap_or(0) >= threshold).then_some(()))
        })?;
        let agents = kill_dash_nine("jobmeter-agent")?;
        let coordinators = kill_dash_nine("jobmeter-coordinator")?;
        killed = (killed.0 + agents, killed.1 + coordinators);
        println!("after {threshold} pods: killed {agents} agents, {coordinators} coordinators");
    }
    assert!(killed.0 > 0 && killed.1 > 0, "nobody was there to be killed: {killed:?}");
    cluster.kubectl(["wait", "-n", name, "--for=condition=complete", "--timeout=300s", "job/steady"])?;
    cluster.kubectl(["-n", "jobmeter", "rollout", "status", "deployment/jobmeter-coordinator", "--timeout=180s"])?;
    let records = cluster.closed_records(name, 100, Duration::from_secs(420))?;
    let mut uids: Vec<_> = records.iter().map(|record| &record.identity.pod_uid).collect();
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), 100);
    let partial: Vec<_> = records.iter().filter(|record| !matches!(record.quality, Quality::Complete { .. })).collect();
    println!("{} of 100 records are partial", partial.len());
    for record in partial {
        let Quality::Partial { reason, .. } = &record.quality else { panic!("still open: {record:#?}") };
        assert!(!reason.is_empty(), "what is not known must say so");
        println!("  {}: {reason}", record.identity.pod);
    }
    Ok(())
}
