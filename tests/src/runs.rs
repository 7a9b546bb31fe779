//! Node runs as a person defines them and as the coordinator tells of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, OWN_POOL_PREFIX, Run, RunDetail};
use serde_json::{Value, json};

use crate::wait::eventually;
use crate::{Cluster, coordinator};

#[cfg(test)]
mod examples;
mod nodes;
mod old;
mod post;

pub use nodes::ChosenNodes;
pub use old::{OLD_CONFIG, OLD_TEMPLATE};
pub use post::{Posted, post};

/// Of pods of definitions that name none.
pub const NAMESPACE: &str = "jobmeter-runs";
/// With a shell, the usual small tools, and curl.
pub const CURL_IMAGE: &str = "localhost/curlbox:test";

const POKE_EVERY: Duration = Duration::from_secs(3);

/// Definitions that the coordinator goes by, until this is dropped: then it has none.
#[derive(Debug)]
pub struct Definitions {
    cluster: Cluster,
}

impl Definitions {
    /// Each is a file of its own. Returns when the coordinator has them, and no others.
    pub fn set(cluster: &Cluster, definitions: &[Value]) -> Result<Self> {
        let this = Self { cluster: cluster.clone() };
        this.replace(definitions)?;
        Ok(this)
    }

    pub fn replace(&self, definitions: &[Value]) -> Result<()> {
        let wanted: BTreeSet<&str> = definitions.iter().filter_map(|definition| definition["name"].as_str()).collect();
        write(&self.cluster, definitions)?;
        let (mut last, mut poked) = (Vec::new(), Instant::now());
        let waited = eventually("the coordinator to know its definitions", Duration::from_secs(120), || {
            // The kubelet may have looked before it knew of the change.
            if poked.elapsed() > POKE_EVERY {
                coordinator::poke(&self.cluster)?;
                poked = Instant::now();
            }
            last = self::definitions(&self.cluster)?;
            Ok((last.iter().map(|have| have.name.as_str()).collect::<BTreeSet<_>>() == wanted).then_some(()))
        });
        waited.with_context(|| format!("wanted {wanted:?}, but it has {last:#?}"))
    }
}

impl Drop for Definitions {
    fn drop(&mut self) {
        if let Err(error) = write(&self.cluster, &[]) {
            eprintln!("failed to take back the definitions of runs: {error:#}");
        }
    }
}

fn write(cluster: &Cluster, definitions: &[Value]) -> Result<()> {
    // JSON is YAML.
    let files = definitions.iter().filter_map(|definition| Some((format!("{}.yaml", definition["name"].as_str()?), definition)));
    let files: serde_json::Map<String, Value> = files.map(|(name, text)| (name, json!(text.to_string()))).collect();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "jobmeter-runs", "namespace": "jobmeter"}, "data": files,
    });
    cluster.kubectl_with(&map.to_string(), ["apply", "--server-side", "--force-conflicts", "-f", "-"])?;
    coordinator::poke(cluster)
}

/// A definition of pods with one container that runs a script; further keys are put into it.
pub fn definition(name: &str, size: u32, script: &str, keys: &Value) -> Value {
    let mut definition = json!({
        "name": name,
        "podPoolSize": size,
        "jobNodeSelector": ChosenNodes::selector(),
        "podTemplate": {"kind": "Pod", "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main", "image": CURL_IMAGE, "imagePullPolicy": "Never", "command": ["/bin/sh", "-euc", script],
            }],
        }},
    });
    if let (Some(into), Some(keys)) = (definition.as_object_mut(), keys.as_object()) {
        into.extend(keys.clone());
    }
    definition
}

/// The pool that a definition has of its own.
pub fn pool_of(definition: &str) -> String {
    format!("{OWN_POOL_PREFIX}{definition}")
}

pub fn definitions(cluster: &Cluster) -> Result<Vec<DefinitionStatus>> {
    Ok(serde_json::from_str(&cluster.api("/v1/run-definitions")?)?)
}

/// Newest first.
pub fn list(cluster: &Cluster, definition: &str) -> Result<Vec<Run>> {
    let page: Page<Run> = serde_json::from_str(&cluster.api(&format!("/v1/runs?definition={definition}&limit=100"))?)?;
    Ok(page.items)
}

pub fn detail(cluster: &Cluster, run: &str) -> Result<RunDetail> {
    Ok(serde_json::from_str(&cluster.api(&format!("/v1/runs/{run}"))?)?)
}

pub fn results(cluster: &Cluster, run: &str) -> Result<Vec<NodeResult>> {
    Ok(serde_json::from_str(&cluster.api(&format!("/v1/runs/{run}/results"))?)?)
}

/// Waits until a run is as wanted; the error shows what it is.
pub fn until(
    cluster: &Cluster,
    run: &str,
    what: &str,
    deadline: Duration,
    wanted: impl Fn(&RunDetail) -> bool,
) -> Result<RunDetail> {
    let mut last = None;
    let waited = eventually(&format!("run {run}: {what}"), deadline, || {
        let now = detail(cluster, run)?;
        let is_wanted = wanted(&now);
        last = Some(now.clone());
        Ok(is_wanted.then_some(now))
    });
    waited.with_context(|| format!("it is {last:#?}"))
}

/// Waits for its end.
pub fn over(cluster: &Cluster, run: &str, deadline: Duration) -> Result<RunDetail> {
    until(cluster, run, "its end", deadline, |now| now.run.state.is_over())
}

/// Waits for the oldest run of a definition that is none of these.
pub fn next(cluster: &Cluster, definition: &str, known: &[&str], deadline: Duration) -> Result<Run> {
    eventually(&format!("another run of {definition}"), deadline, || {
        let runs = list(cluster, definition)?;
        Ok(runs.into_iter().rev().find(|run| !known.contains(&run.id.as_str())))
    })
}
