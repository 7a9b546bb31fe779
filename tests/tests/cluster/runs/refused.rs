//! The API server refuses pods of a run: by a quota here, as by a webhook or by what else there is.

use anyhow::{Result, ensure};
use jobmeter_protocol::runs::RunState;
use jobmeter_tests::pools::Observer;
use jobmeter_tests::runs::{self, ChosenNodes, Definitions, NAMESPACE};
use jobmeter_tests::{Cluster, Installation, or_skip};
use serde_json::json;

use super::{LONG, SOON, jobmeter};

const NAME: &str = "refused";

/// So many pods that have not ended may be in the namespace, until it is dropped.
struct Quota<'a>(&'a Cluster);

impl Quota<'_> {
    fn set(&self, pods: u32) -> Result<()> {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"hard": {"pods": pods.to_string()}},
        });
        self.0.kubectl_with(&quota.to_string(), ["apply", "-f", "-"]).map(drop)
    }
}

impl Drop for Quota<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.kubectl(["delete", "resourcequota", "-n", NAMESPACE, NAME, "--ignore-not-found"]) {
            eprintln!("failed to delete the quota: {error:#}");
        }
    }
}

#[test]
fn no_more_than_the_pool_though_creates_are_refused() -> Result<()> {
    let Some(cluster) = or_skip() else { return Ok(()) };
    Installation::ensure(&cluster)?;
    let _nodes = ChosenNodes::label(&cluster)?;
    let observer = Observer::start()?;
    let quota = Quota(&cluster);
    quota.set(0)?;
    let _definitions =
        Definitions::set(&cluster, &[runs::definition(NAME, 2, "sleep 2", &json!({"retries": 20, "retryDelay": "1s"}))])?;
    let before = runs::list(&cluster, NAME)?;
    let before: Vec<_> = before.iter().map(|run| run.id.as_str()).collect();
    jobmeter(&["runs", "start", NAME])?;
    let id = runs::next(&cluster, NAME, &before, SOON)?.id;
    // Both are refused, and everybody can see why.
    runs::until(&cluster, &id, "the reason", SOON, |now| {
        now.nodes.iter().all(|node| node.why.as_deref().is_some_and(|why| why.contains("quota")))
    })?;
    ensure!(observer.pool(&runs::pool_of(NAME))?.pods == 0, "there are pods that no quota allows");
    // Room for one: it runs though the other is still refused.
    quota.set(1)?;
    let run = runs::over(&cluster, &id, LONG)?;
    ensure!(run.run.state == RunState::Succeeded && run.run.nodes.succeeded == 2, "{run:#?}");
    ensure!(run.nodes.iter().all(|node| node.attempt > 0), "a refusal is an attempt: {run:#?}");
    let seen = observer.all_succeeded(&runs::pool_of(NAME), 2, 1, SOON)?;
    println!("refused by a quota, and then: {} pods, at most {} at once", seen.pods, seen.most);
    Ok(())
}
