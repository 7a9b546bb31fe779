//! The records of a run, once they are there. In: pods that have ended. Out: their records, oldest first.

use jobmeter_daemon::error::chain;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_coordinator::CoordinatorHandle;
use jobmeter_coordinator::store::StoreError;
use jobmeter_protocol::{Quality, Record, RecordQuery};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

/// From a pod's end to its record it takes a batch interval; more than this means that something is broken.
const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: u32 = 1000;

type Found = BTreeMap<String, Record>;

/// What there is of the records of some pods that have ended.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Final ones, oldest first.
    pub(crate) records: Vec<Record>,
    /// UIDs of the pods whose record did not become final in time.
    pub(crate) missing: BTreeSet<String>,
    /// Why they could not even be asked for.
    trouble: Option<String>,
}

impl Gathered {
    /// `reported`: why the last report of the agent was not taken.
    pub(crate) fn why_missing(&self, reported: Option<&str>) -> String {
        let late = || format!("it did not arrive within {} s", PATIENCE.as_secs());
        reported.or(self.trouble.as_deref()).map_or_else(late, str::to_owned)
    }
}

/// The records of the pods, as soon as all of them are final. That there are none is no error: the jobs have run.
pub(crate) async fn of_pods(coordinator: &CoordinatorHandle, pods: &BTreeSet<String>, since: Timestamp) -> Gathered {
    let mut found = Found::new();
    let trouble = follow(coordinator, pods, since, &mut found).await.err().map(|error| chain(&error));
    let mut records: Vec<Record> = found.into_values().filter(|record| record.quality != Quality::Provisional).collect();
    records.sort_by(|a, b| (a.time.created, &a.identity.pod).cmp(&(b.time.created, &b.identity.pod)));
    let has = |uid: &String| records.iter().any(|record| record.identity.pod_uid == *uid);
    let missing = pods.iter().filter(|uid| !has(uid)).cloned().collect();
    Gathered { records, missing, trouble }
}

async fn follow(
    coordinator: &CoordinatorHandle,
    pods: &BTreeSet<String>,
    since: Timestamp,
    found: &mut Found,
) -> Result<(), StoreError> {
    let give_up = Instant::now() + PATIENCE;
    // Before the first look, so that no change falls between the two.
    let mut changes = coordinator.subscribe();
    *found = look(coordinator, pods, since).await?;
    while !complete(found, pods) {
        match timeout_at(give_up, changes.recv()).await {
            Ok(Ok(change)) => {
                if pods.contains(&change.record.identity.pod_uid) {
                    found.insert(change.record.identity.pod_uid.clone(), change.record.clone());
                }
            }
            Ok(Err(RecvError::Lagged(_))) => *found = look(coordinator, pods, since).await?,
            Ok(Err(RecvError::Closed)) | Err(_) => break,
        }
    }
    Ok(())
}

fn complete(found: &Found, pods: &BTreeSet<String>) -> bool {
    found.len() == pods.len() && !found.values().any(|record| record.quality == Quality::Provisional)
}

async fn look(coordinator: &CoordinatorHandle, pods: &BTreeSet<String>, since: Timestamp) -> Result<Found, StoreError> {
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
