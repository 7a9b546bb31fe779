//! Where the log of each container of each run goes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_tests::cluster::Namespace;
use jobmeter_tests::kept::{self, Kept};
use jobmeter_tests::{Cluster, Installation, ObjectStore, or_skip};
use serde_json::{Value, json};

use crate::jobs;

const SOON: Duration = Duration::from_secs(120);

/// Runs one Job to its end, and gives back its pod and the logs below `prefix`.
fn logs_of(cluster: &Cluster, namespace: &Namespace, job: &Value, prefix: &str, count: usize) -> Result<(String, Vec<Kept>)> {
    let store = ObjectStore::ensure(cluster)?;
    let name = namespace.name.as_str();
    cluster.apply(job)?;
    let job = job["metadata"]["name"].as_str().context("the job's name")?;
    cluster.kubectl(["wait", "-n", name, "--for=condition=complete", "--timeout=120s", &format!("job/{job}")])?;
    let logs = kept::await_logs(&store.bucket(), prefix, count, SOON)?;
    ensure!(logs.len() == count, "{logs:#?}");
    for log in &logs {
        log.check_complete()?;
    }
    let pod = logs.first().context("a log")?.manifest.entry.log.pod.clone();
    Ok((pod, logs))
}

fn keys_and_texts(logs: &[Kept]) -> Result<Vec<(String, String)>> {
    logs.iter().map(|log| Ok((log.manifest.entry.key.clone(), String::from_utf8(log.read()?)?))).collect()
}

#[test]
fn a_log_has_its_key_exactly_as_the_benchmark_job_and_pod_are_called() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("benchmark")?;
    let name = namespace.name.as_str();
    let label = json!({"cpe-benchmark": format!("coremark-{name}")});
    let mut job = jobs::job(name, "sweep", json!([jobs::shell("main", "echo 42")]));
    job["metadata"]["labels"] = label.clone();
    job["spec"]["template"]["metadata"] = json!({"labels": label});
    let (pod, logs) = logs_of(&cluster, &namespace, &job, &format!("coremark-{name}"), 1)?;
    assert_eq!(keys_and_texts(&logs)?, [(format!("coremark-{name}/sweep/{pod}.log"), "42\n".to_owned())]);
    assert_eq!(logs[0].manifest.job, "sweep");
    assert_eq!(logs[0].manifest.entry.location, format!("s3://logs/coremark-{name}/sweep/{pod}.log"));
    Ok(())
}

#[test]
fn init_containers_and_several_containers_have_logs_of_their_own() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("several-logs")?;
    let name = namespace.name.as_str();
    let mut job = jobs::job(
        name,
        "many",
        json!([jobs::shell("left", "echo from the left"), jobs::shell("right", "echo on the right >&2")]),
    );
    job["spec"]["template"]["spec"]["initContainers"] =
        json!([jobs::shell("prepare", "echo first"), jobs::shell("quiet", "true")]);
    let (pod, logs) = logs_of(&cluster, &namespace, &job, name, 4)?;
    let key = |container: &str| format!("{name}/many/{pod}-{container}.log");
    let expected = [("left", "from the left\n"), ("prepare", "first\n"), ("quiet", ""), ("right", "on the right\n")];
    assert_eq!(keys_and_texts(&logs)?, expected.map(|(container, text)| (key(container), text.to_owned())));
    for log in &logs {
        let mut containers = log.manifest.containers.clone();
        containers.sort();
        assert_eq!(containers, ["left", "prepare", "quiet", "right"]);
    }
    Ok(())
}

#[test]
fn each_attempt_of_a_restarted_container_has_its_log() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("attempts")?;
    let name = namespace.name.as_str();
    let script = "n=$(cat /scratch/n 2>/dev/null || echo 0); echo $((n+1)) > /scratch/n; echo attempt $n; [ $n -ge 1 ]";
    let mut container = jobs::shell("main", script);
    container["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    let mut job = jobs::job(name, "again", json!([container]));
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    job["spec"]["backoffLimit"] = json!(3);
    let (pod, logs) = logs_of(&cluster, &namespace, &job, name, 2)?;
    let expected = [(format!("{name}/again/{pod}.1.log"), "attempt 1\n"), (format!("{name}/again/{pod}.log"), "attempt 0\n")];
    assert_eq!(keys_and_texts(&logs)?, expected.map(|(key, text)| (key, text.to_owned())));
    Ok(())
}
