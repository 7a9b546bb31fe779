//! The records of a run, once they are there. In: pods that have ended. Out: their records, oldest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_coordinator::CoordinatorHandle;
use jobmeter_protocol::{Quality, Record, RecordQuery};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

/// From a pod's end to its record it takes a batch interval; more than this means that something is broken.
const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: u32 = 1000;

type Found = BTreeMap<String, Record>;

/// The records of the pods; those that did not become final in time as they are.
pub(crate) async fn of_pods(
    coordinator: &CoordinatorHandle,
    pods: &BTreeSet<String>,
    since: Timestamp,
) -> anyhow::Result<Vec<Record>> {
    let give_up = Instant::now() + PATIENCE;
    // Before the first look, so that no change falls between the two.
    let mut changes = coordinator.subscribe();
    let mut found = look(coordinator, pods, since).await?;
    while !complete(&found, pods) {
        match timeout_at(give_up, changes.recv()).await {
            Ok(Ok(change)) => {
                if pods.contains(&change.record.identity.pod_uid) {
                    found.insert(change.record.identity.pod_uid.clone(), change.record.clone());
                }
            }
            Ok(Err(RecvError::Lagged(_))) => found = look(coordinator, pods, since).await?,
            Ok(Err(RecvError::Closed)) | Err(_) => break,
        }
    }
    let mut records: Vec<Record> = found.into_values().collect();
    records.sort_by(|a, b| (a.time.created, &a.identity.pod).cmp(&(b.time.created, &b.identity.pod)));
    Ok(records)
}

fn complete(found: &Found, pods: &BTreeSet<String>) -> bool {
    found.len() == pods.len() && !found.values().any(|record| record.quality == Quality::Provisional)
}

async fn look(coordinator: &CoordinatorHandle, pods: &BTreeSet<String>, since: Timestamp) -> anyhow::Result<Found> {
    let mut found = Found::new();
    let mut query = RecordQuery { since: Some(since), limit: Some(PAGE), ..RecordQuery::default() };
    loop {
        let page = coordinator.records(&query).await?;
        let ours = page.items.into_iter().filter(|record| pods.contains(&record.identity.pod_uid));
        found.extend(ours.map(|record| (record.identity.pod_uid.clone(), record)));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(found),
        }
    }
}
