//! Who is next.

use anyhow::{Result, ensure};
use jobmeter_tests::pools::{self, Observer};
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::json;

use super::{SOON, gated_pod};

/// Exists outside of namespaces: deleted at the end.
struct PriorityClass<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl<'a> PriorityClass<'a> {
    fn create(cluster: &'a Cluster, name: &str) -> Result<Self> {
        cluster.apply(&json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": 1000, "preemptionPolicy": "Never",
        }))?;
        Ok(Self { cluster, name: name.to_owned() })
    }
}

impl Drop for PriorityClass<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.kubectl(["delete", "priorityclass", &self.name]) {
            eprintln!("failed to delete the priority class {}: {error:#}", self.name);
        }
    }
}

#[test]
fn higher_priority_goes_first_and_then_who_came_first() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let namespace = cluster.namespace("order")?;
    let name = namespace.name.as_str();
    let class = PriorityClass::create(&cluster, name)?;
    pools::set(&cluster, &json!({name: {"size": 0}}))?;
    let observer = Observer::start()?;
    // Of one second, the name decides.
    for pod in ["a", "b", "c"] {
        cluster.apply(&gated_pod(name, pod, name, 0.1))?;
    }
    let mut urgent = gated_pod(name, "urgent", name, 0.1);
    urgent["spec"]["priorityClassName"] = json!(class.name);
    cluster.apply(&urgent)?;
    jobmeter_tests::wait::eventually("all to wait", SOON, || {
        let waiting = pools::detail(&cluster, name)?.waiting;
        ensure!(waiting.iter().all(|wait| wait.reason == "paused"), "{waiting:#?}");
        Ok((waiting.len() == 4).then_some(()))
    })?;
    pools::set(&cluster, &json!({name: {"size": 1}}))?;
    let seen = observer.all_succeeded(name, 4, 1, SOON)?;
    let order: Vec<_> = seen.released.iter().filter_map(|release| release.pod.rsplit('/').next()).collect();
    ensure!(order == ["urgent", "a", "b", "c"], "{order:?}");
    Ok(())
}

#[test]
fn a_fair_share_is_between_namespaces_however_many_pods_one_has() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let (many, few) = (cluster.namespace("many")?, cluster.namespace("few")?);
    let pool = many.name.as_str();
    pools::set(&cluster, &json!({pool: {"size": 0, "order": "fairShare"}}))?;
    let observer = Observer::start()?;
    for number in 0..6 {
        cluster.apply(&gated_pod(&many.name, &format!("m{number}"), pool, 1.0))?;
    }
    for number in 0..2 {
        cluster.apply(&gated_pod(&few.name, &format!("f{number}"), pool, 1.0))?;
    }
    observer.until(pool, "all to wait", SOON, |seen| seen.gated() == 8)?;
    pools::set(&cluster, &json!({pool: {"size": 2, "order": "fairShare"}}))?;
    let seen = observer.all_succeeded(pool, 8, 2, SOON)?;
    let first: Vec<_> = seen.released.iter().take(2).filter_map(|release| release.pod.split('/').next()).collect();
    ensure!(first.contains(&few.name.as_str()) && first.contains(&pool), "the first two places went to {first:?}");
    Ok(())
}
