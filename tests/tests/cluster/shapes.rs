//! Jobs of every shape, each with the record that a user would expect.

use std::time::Duration;

use anyhow::{Context, Result};
use jobmeter_protocol::{ContainerKind, Quality, Reason, Record};
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::json;

use crate::jobs;

const SOON: Duration = Duration::from_secs(90);

fn one(cluster: &Cluster, namespace: &str) -> Result<Record> {
    Ok(cluster.closed_records(namespace, 1, SOON)?.remove(0))
}

#[test]
fn a_failing_job_keeps_its_exit_code() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("failing")?;
    let name = namespace.name.as_str();
    cluster.apply(&jobs::job(name, "fails", json!([jobs::shell("main", "exit 3")])))?;
    let record = one(&cluster, name)?;
    assert_eq!((record.outcome.reason, record.outcome.exit.and_then(|exit| exit.code)), (Reason::Error, Some(3)));
    Ok(())
}

#[test]
fn an_oom_kill_is_told_with_its_peak_at_the_limit() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("oom")?;
    let name = namespace.name.as_str();
    let mut hungry = jobs::shell("main", "x=a; while true; do x=$x$x; done");
    hungry["resources"] = json!({"limits": {"memory": "32Mi"}, "requests": {"memory": "16Mi"}});
    cluster.apply(&jobs::job(name, "hungry", json!([hungry])))?;
    let record = one(&cluster, name)?;
    assert_eq!(record.outcome.reason, Reason::OOMKilled, "{record:#?}");
    assert!(record.usage.oom_kills.is_some_and(|kills| kills.value >= 1), "{:?}", record.usage.oom_kills);
    let peak = record.usage.memory_peak_bytes.expect("a peak").value;
    assert!((24 << 20..=40 << 20).contains(&peak), "peak {peak}");
    assert_eq!(record.resources.memory_limit_bytes, Some(32 << 20));
    Ok(())
}

#[test]
fn init_containers_and_several_containers_are_entries_with_names_and_shares() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("several")?;
    let name = namespace.name.as_str();
    let mut job = jobs::job(
        name,
        "many",
        json!([jobs::shell("left", "sleep 1"), jobs::shell("right", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")]),
    );
    job["spec"]["template"]["spec"]["initContainers"] =
        json!([jobs::shell("prepare", "true"), jobs::shell("fetch", "sleep 0.2")]);
    cluster.apply(&job)?;
    let record = one(&cluster, name)?;
    let mut names: Vec<_> = record.containers.iter().map(|c| (c.name.as_str(), c.kind)).collect();
    names.sort();
    let (init, main) = (Some(ContainerKind::Init), Some(ContainerKind::Main));
    assert_eq!(names, [("fetch", init), ("left", main), ("prepare", init), ("right", main)]);
    let cpu = |name: &str| record.containers.iter().find(|c| c.name == name).and_then(|c| c.usage.cpu_seconds).map(|f| f.value);
    let (left, right) = (cpu("left").context("left")?, cpu("right").context("right")?);
    assert!(right > left, "the busy container must show: left {left} s, right {right} s");
    let pod = record.usage.cpu_seconds.context("pod")?.value;
    let sum: f64 = record.containers.iter().filter_map(|c| c.usage.cpu_seconds).map(|f| f.value).sum();
    assert!(sum <= pod + 1e-6, "containers {sum} s, pod {pod} s");
    Ok(())
}

#[test]
fn a_restarted_container_has_an_entry_for_each_attempt() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("restarted")?;
    let name = namespace.name.as_str();
    let mut container = jobs::shell("main", "if [ -e /scratch/seen ]; then exit 0; fi; touch /scratch/seen; exit 7");
    container["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    let mut job = jobs::job(name, "again", json!([container]));
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    job["spec"]["backoffLimit"] = json!(3);
    cluster.apply(&job)?;
    let record = one(&cluster, name)?;
    assert_eq!(record.outcome.reason, Reason::Completed);
    let attempts: Vec<_> = record.containers.iter().map(|c| (c.attempt, c.exit.and_then(|exit| exit.code))).collect();
    assert_eq!(attempts, [(0, Some(7)), (1, Some(0))], "{record:#?}");
    Ok(())
}

#[test]
fn a_job_deleted_while_it_runs_keeps_its_figures() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("deleted")?;
    let name = namespace.name.as_str();
    cluster.apply(&jobs::job(name, "long", json!([jobs::shell("main", "sleep 600")])))?;
    eventually("the pod to run", SOON, || {
        let pods = cluster.get(&["pods", "-n", name])?;
        Ok((pods["items"][0]["status"]["phase"] == "Running").then_some(()))
    })?;
    cluster.kubectl(["delete", "-n", name, "job/long", "--wait=false"])?;
    let record = one(&cluster, name)?;
    assert_eq!(record.outcome.reason, Reason::Deleted, "{record:#?}");
    assert!(matches!(record.quality, Quality::Complete { .. }), "{:?}", record.quality);
    assert!(record.usage.cpu_seconds.is_some() && record.usage.memory_peak_bytes.is_some());
    assert_eq!(record.identity.job.name, "long");
    Ok(())
}

#[test]
fn a_job_that_is_cleaned_up_at_once_keeps_its_record() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("cleaned")?;
    let name = namespace.name.as_str();
    let mut job = jobs::job(name, "brief", json!([jobs::shell("main", "true")]));
    job["spec"]["ttlSecondsAfterFinished"] = json!(0);
    job["spec"]["completions"] = json!(5);
    job["spec"]["parallelism"] = json!(5);
    cluster.apply(&job)?;
    let records = cluster.closed_records(name, 5, SOON)?;
    for record in &records {
        assert!(matches!(record.quality, Quality::Complete { .. }), "{record:#?}");
        assert_eq!(record.outcome.reason, Reason::Completed, "{record:#?}");
        assert_eq!(record.identity.job.name, "brief");
    }
    Ok(())
}

#[test]
fn a_pod_that_can_never_run_gets_its_record_too() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("never")?;
    let name = namespace.name.as_str();
    let mut job = jobs::job(name, "nowhere", json!([jobs::shell("main", "true")]));
    job["spec"]["template"]["spec"]["affinity"] = jobs::on_nodes(&["no-such-node"]);
    cluster.apply(&job)?;
    eventually("the pod", SOON, || {
        Ok(cluster.get(&["pods", "-n", name])?["items"].as_array().filter(|items| !items.is_empty()).map(drop))
    })?;
    cluster.kubectl(["delete", "-n", name, "job/nowhere"])?;
    let record = one(&cluster, name)?;
    assert_eq!(record.outcome.reason, Reason::NeverRan, "{record:#?}");
    let Quality::Partial { reason, .. } = &record.quality else { panic!("{record:#?}") };
    assert!(!reason.is_empty());
    Ok(())
}

#[test]
fn services_have_no_records_unless_they_are_labelled() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("services")?;
    let name = namespace.name.as_str();
    let deployment = |app: &str, labels: serde_json::Value| {
        let mut template = labels.clone();
        template["app"] = json!(app);
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": app, "namespace": name},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": app}}, "template": {"metadata": {"labels": template}, "spec": {
                "terminationGracePeriodSeconds": 0, "affinity": jobs::on_nodes(&["node-a", "node-b"]),
                "containers": [jobs::shell("main", "sleep 600")],
            }}},
        })
    };
    cluster.apply(&deployment("plain", json!({})))?;
    cluster.apply(&deployment("metered", json!({"jobmeter.io/meter": "true"})))?;
    cluster.kubectl([
        "wait",
        "-n",
        name,
        "--for=condition=available",
        "--timeout=90s",
        "deployment/plain",
        "deployment/metered",
    ])?;
    cluster.kubectl(["delete", "-n", name, "deployment/plain", "deployment/metered"])?;
    let records = cluster.closed_records(name, 1, SOON)?;
    assert!(records[0].identity.pod.starts_with("metered-"), "{records:#?}");
    Ok(())
}
