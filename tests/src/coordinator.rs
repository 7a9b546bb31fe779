//! The coordinator's pods, one by one: who leads, what a replica answers by itself, which process it is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Cluster;
use crate::processes::{self, Process};
use crate::wait::eventually;

pub const PROGRAM: &str = "jobmeter-coordinator";

pub fn pods(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut pods = cluster.get(&["pods", "-n", "jobmeter", "-l", "app.kubernetes.io/component=coordinator"])?;
    let Value::Array(pods) = pods["items"].take() else { return Ok(Vec::new()) };
    ensure!(!pods.is_empty(), "no coordinator runs");
    Ok(pods)
}

/// A kubelet looks at a pod's Secrets and ConfigMaps once a minute, and whenever the pod changes.
pub fn poke(cluster: &Cluster) -> Result<()> {
    let now = format!("jobmeter.io/poked={}", jiff::Timestamp::now().as_millisecond());
    let pods = "app.kubernetes.io/component=coordinator";
    cluster.kubectl(["annotate", "pods", "-n", "jobmeter", "-l", pods, "--overwrite", &now]).map(drop)
}

/// Waits until the Deployment is as it should be.
pub fn rolled_out(cluster: &Cluster) -> Result<()> {
    let deployment = "deployment/jobmeter-coordinator";
    cluster.kubectl(["-n", "jobmeter", "rollout", "status", deployment, "--timeout=180s"]).map(drop)
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

pub fn name_of(pod: &Value) -> Result<&str> {
    pod["metadata"]["name"].as_str().context("a pod's name")
}

/// Which of several replicas leads, and how often the leadership has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The pod whose address is written on the Lease.
    pub pod: String,
    pub transitions: u64,
    pub holder: String,
}

/// `None` while nobody does, or a pod that is gone.
pub fn leadership(cluster: &Cluster) -> Result<Option<Leadership>> {
    let lease = cluster.get(&["lease", "-n", "jobmeter", "jobmeter-coordinator"])?;
    let address = lease["metadata"]["annotations"]["jobmeter.io/address"].as_str().unwrap_or_default();
    let (spec, holder) = (&lease["spec"], lease["spec"]["holderIdentity"].as_str().unwrap_or_default());
    let all = pods(cluster)?;
    let leads = |pod: &&Value| {
        pod["status"]["podIP"].as_str().is_some_and(|ip| address.contains(&format!("//{ip}:")) && !holder.is_empty())
    };
    let Some(pod) = all.iter().find(leads) else { return Ok(None) };
    let transitions = spec["leaseTransitions"].as_u64().unwrap_or_default();
    Ok(Some(Leadership { pod: name_of(pod)?.to_owned(), transitions, holder: holder.to_owned() }))
}

/// Waits for a leader, another than `before`.
pub fn await_leader(cluster: &Cluster, before: Option<&Leadership>) -> Result<Leadership> {
    eventually("a coordinator to lead", Duration::from_secs(90), || {
        Ok(leadership(cluster)?.filter(|now| before.is_none_or(|before| now.transitions > before.transitions)))
    })
}

/// The replicas that do not lead.
pub fn followers(cluster: &Cluster, leader: &Leadership) -> Result<Vec<Value>> {
    Ok(pods(cluster)?.into_iter().filter(|pod| pod["metadata"]["name"] != leader.pod.as_str()).collect())
}

/// `GET` of one replica, past the Service.
pub fn api_of(cluster: &Cluster, pod: &str, path_and_query: &str) -> Result<String> {
    cluster.kubectl(["get", "--raw", &format!("/api/v1/namespaces/jobmeter/pods/{pod}:8080/proxy{path_and_query}")])
}

/// The process of one replica, on a node of this machine.
pub fn process_of(cluster: &Cluster, pod: &str) -> Result<Process> {
    let pods = pods(cluster)?;
    let uid = pods.iter().find(|item| item["metadata"]["name"] == pod).and_then(|item| item["metadata"]["uid"].as_str());
    let uid = uid.with_context(|| format!("{pod} is gone"))?;
    let own = processes::of(PROGRAM)?.into_iter().find(|process| process.pod == uid);
    own.with_context(|| format!("no process of {pod} ({uid}) runs"))
}
