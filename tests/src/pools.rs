//! Pools as a person sets them and as the coordinator tells them; [`Observer`] is the witness that depends on neither.

mod observer;
mod tally;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jobmeter_protocol::pools::{POOL_GATE, POOL_LABEL, PoolDetail, PoolStatus};
use serde_json::{Map, Value, json};

use crate::wait::eventually;
use crate::{Cluster, coordinator};

const POKE_EVERY: Duration = Duration::from_secs(3);

pub use observer::Observer;
pub use tally::{PoolTally, Release};

/// Writes the ConfigMap with these pools, each under its name, and waits until the coordinator goes by it and holds pods for it.
pub fn set(cluster: &Cluster, pools: &Value) -> Result<()> {
    let wanted = pools.as_object().context("pools are a map")?;
    write(cluster, &json!({ "pools": pools }).to_string())?;
    let (mut last, mut poked) = (Vec::new(), Instant::now());
    let waited = eventually("the coordinator to know its pools", Duration::from_secs(120), || {
        // The kubelet may have looked before it knew of the change.
        if poked.elapsed() > POKE_EVERY {
            coordinator::poke(cluster)?;
            poked = Instant::now();
        }
        last = list(cluster)?;
        Ok(same(&last, wanted).then_some(()))
    });
    waited.with_context(|| format!("wanted {pools}, but it has {last:#?}"))?;
    eventually("the webhook to hold pods", Duration::from_secs(60), || holds(cluster).map(|holds| holds.then_some(())))
}

/// Writes the ConfigMap, whatever the text is. JSON is YAML.
pub fn write(cluster: &Cluster, text: &str) -> Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "jobmeter-pools", "namespace": "jobmeter"},
        "data": {"pools.yaml": text},
    });
    cluster.kubectl_with(&map.to_string(), ["apply", "--server-side", "--force-conflicts", "-f", "-"])?;
    coordinator::poke(cluster)
}

/// Asks the API server what would become of a pod that names a pool.
fn holds(cluster: &Cluster) -> Result<bool> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "would-be", "namespace": "default", "labels": {POOL_LABEL: "any"}},
        "spec": {"containers": [{"name": "main", "image": "localhost/jobbox:1"}]},
    });
    let text = cluster.kubectl_with(&pod.to_string(), ["create", "--dry-run=server", "-o", "json", "-f", "-"])?;
    let would_be: Value = serde_json::from_str(&text)?;
    Ok(would_be["spec"]["schedulingGates"][0]["name"] == POOL_GATE)
}

/// `GET /v1/pools`.
pub fn list(cluster: &Cluster) -> Result<Vec<PoolStatus>> {
    Ok(serde_json::from_str(&cluster.api("/v1/pools")?)?)
}

/// `GET /v1/pools/{name}`.
pub fn detail(cluster: &Cluster, name: &str) -> Result<PoolDetail> {
    Ok(serde_json::from_str(&cluster.api(&format!("/v1/pools/{name}?limit=1000"))?)?)
}

fn same(have: &[PoolStatus], wanted: &Map<String, Value>) -> bool {
    let is_as_wanted = |pool: &PoolStatus| {
        wanted.get(&pool.name).is_some_and(|settings| {
            let size = settings["size"].as_str().map_or_else(|| settings["size"].to_string(), str::to_owned);
            let per_node = settings["perNode"].as_u64();
            let rate = settings["startRate"].as_str();
            size == pool.configured_size && per_node == pool.per_node.map(u64::from) && rate == pool.start_rate.as_deref()
        })
    };
    // The answer may list pools that only pods name.
    let configured = have.iter().filter(|pool| is_as_wanted(pool)).count();
    configured == wanted.len()
}
