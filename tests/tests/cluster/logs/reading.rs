//! What people see: `jobmeter logs`, and where a record says its log is.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_tests::cluster::run;
use jobmeter_tests::wait::eventually;
use jobmeter_tests::{Cluster, Installation, ObjectStore, kept, or_skip};
use serde_json::json;

use crate::jobs;

const SOON: Duration = Duration::from_secs(120);

fn jobmeter<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Command> {
    let mut command = Command::new(std::env::var("JOBMETER_BIN").context("JOBMETER_BIN names the jobmeter binary")?);
    // A folder without a jobmeter-data, so that it asks the cluster.
    command.args(arguments).current_dir(std::env::temp_dir());
    Ok(command)
}

fn logs(namespace: &str, arguments: &[&str]) -> Result<String> {
    run(jobmeter(["logs", "-n", namespace].iter().chain(arguments))?, "")
}

/// The first pod of a Job.
fn pod_of(cluster: &Cluster, namespace: &str, job: &str) -> Result<String> {
    let selector = format!("batch.kubernetes.io/job-name={job}");
    eventually("the job's pod", SOON, || {
        let pods = cluster.get(&["pods", "-n", namespace, "-l", &selector])?;
        Ok(pods["items"][0]["metadata"]["name"].as_str().map(str::to_owned))
    })
}

#[test]
fn a_running_pods_log_is_followed_to_its_end() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("followed")?;
    let name = namespace.name.as_str();
    // It goes on only after the test has seen its first line.
    let mut container = jobs::shell("main", "echo one; until [ -e /scratch/go ]; do sleep 0.1; done; echo two");
    container["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    let mut job = jobs::job(name, "live", json!([container]));
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    cluster.apply(&job)?;
    let pod = pod_of(&cluster, name, "live")?;
    cluster.kubectl(["wait", "-n", name, "--for=condition=ready", "--timeout=90s", &format!("pod/{pod}")])?;
    eventually("a running pod's log without -f", SOON, || Ok((logs(name, &[&pod])? == "one\n").then_some(())))?;

    let mut following = jobmeter(["logs", "-n", name, "-f", &pod])?.stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(following.stdout.take().context("its stdout")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    ensure!(line == "one\n", "{line}");
    cluster.kubectl(["exec", "-n", name, &pod, "--", "touch", "/scratch/go"])?;
    let mut rest = String::new();
    said.read_to_string(&mut rest)?;
    ensure!(rest == "two\n" && following.wait()?.success(), "{rest}");
    Ok(())
}

#[test]
fn a_long_gone_pods_log_is_read_by_the_name_of_pod_and_job() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let store = ObjectStore::ensure(&cluster)?;
    let namespace = cluster.namespace("gone")?;
    let name = namespace.name.as_str();
    let script = "n=$(cat /scratch/n 2>/dev/null || echo 0); echo $((n+1)) > /scratch/n; echo attempt $n; [ $n -ge 1 ]";
    let mut container = jobs::shell("main", script);
    container["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    let mut job = jobs::job(name, "past", json!([container]));
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    job["spec"]["template"]["spec"]["initContainers"] = json!([jobs::shell("prepare", "echo prepared")]);
    job["spec"]["backoffLimit"] = json!(3);
    cluster.apply(&job)?;
    let pod = pod_of(&cluster, name, "past")?;
    cluster.kubectl(["wait", "-n", name, "--for=condition=complete", "--timeout=120s", "job/past"])?;
    kept::await_logs(&store.bucket(), name, 3, SOON)?;
    cluster.kubectl(["delete", "-n", name, "job/past"])?;
    eventually("the pod to be forgotten", SOON, || {
        Ok(cluster.get(&["pods", "-n", name])?["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;

    assert_eq!(logs(name, &[&pod])?, "attempt 1\n");
    assert_eq!(logs(name, &["past"])?, "attempt 1\n");
    assert_eq!(logs(name, &["--previous", &pod])?, "attempt 0\n");
    assert_eq!(logs(name, &["--attempt", "0", &pod])?, "attempt 0\n");
    assert_eq!(logs(name, &["-c", "prepare", &pod])?, "prepared\n");
    let stamped = logs(name, &["--timestamps", &pod])?;
    let (time, rest) = stamped.split_once(' ').context("a time before the line")?;
    ensure!(rest == "attempt 1\n" && time.parse::<jiff::Timestamp>().is_ok(), "{stamped}");

    let record = cluster.closed_records(name, 1, SOON)?.remove(0);
    let references: Vec<_> = record.containers.iter().map(|run| run.log.as_ref().map(|log| log.location.clone())).collect();
    ensure!(references.iter().flatten().any(|place| *place == format!("s3://logs/{name}/past/{pod}.log")), "{references:?}");
    let wide = run(jobmeter(["acct", "-n", name, "-o", "wide"])?, "")?;
    ensure!(wide.contains(&format!("{pod}.1.log")), "{wide}");
    Ok(())
}
