//! All pools of a cluster: those of the pools file, and those that definitions of runs have of their own.
//!
//! In: both, whenever one of them changes. Out: [`Observation::Pools`], and the same for those who write places
//! ([`Surroundings`]). Owner: one task for a term.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jobmeter_decide::pool::placement::Toleration;
use jobmeter_decide::pool::{Observation, Order, PoolSettings, Requirements, Size};
use tokio::sync::watch;
use tokio::time::Instant;

use super::PoolsFile;
use super::task::{Inbox, Seen};
use crate::execute::places::Surroundings;

/// Name and size of each pool that a definition of runs has of its own, as long as it has runs.
pub type OwnPools = BTreeMap<String, u32>;

pub(super) struct Merged {
    /// `None`: there is no pools file.
    pub(super) file: Option<PoolsFile>,
    pub(super) own: watch::Receiver<OwnPools>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) inbox: Inbox,
}

impl Merged {
    pub(super) async fn follow(self) -> anyhow::Result<()> {
        let Self { mut file, mut own, surroundings, inbox } = self;
        // Until the file was read nobody knows which of its pools are meant to be there.
        let mut written = if file.is_none() { Some(Vec::new()) } else { None };
        let mut covered = BTreeSet::new();
        loop {
            if let Some(written) = &written {
                let pools = merge(written, &own.borrow_and_update(), &mut covered);
                surroundings.pools(&pools);
                if inbox.send(Seen { at: Instant::now(), what: Observation::Pools(pools) }).await.is_err() {
                    return std::future::pending().await;
                }
            }
            // Both are cancel-safe.
            tokio::select! {
                pools = next(file.as_mut()) => written = Some(pools),
                () = changed(&mut own) => {}
            }
        }
    }
}

/// Never, where there is no file.
async fn next(file: Option<&mut PoolsFile>) -> Vec<PoolSettings> {
    match file {
        Some(file) => file.next().await,
        None => std::future::pending().await,
    }
}

/// Never, once nobody keeps runs any more: their pools stay as they were.
async fn changed(own: &mut watch::Receiver<OwnPools>) {
    if own.changed().await.is_err() {
        std::future::pending().await
    }
}

/// What somebody wrote into the pools file is meant: it wins. `covered` are the pools for which that was said.
fn merge(written: &[PoolSettings], own: &OwnPools, covered: &mut BTreeSet<String>) -> Vec<PoolSettings> {
    let mut pools = written.to_vec();
    for (name, size) in own {
        match written.iter().find(|pool| pool.name == *name) {
            None => pools.push(settings(name, *size)),
            Some(pool) => {
                if covered.insert(name.clone()) {
                    tracing::warn!(
                        pool = name,
                        size = %pool.size,
                        podPoolSize = size,
                        "the pools file has a pool of the name that a definition of runs uses; that of the file is kept, and podPoolSize has no effect"
                    );
                }
            }
        }
    }
    pools
}

/// It has no conditions of its own: where a pod of a run goes was decided with the run.
fn settings(name: &str, size: u32) -> PoolSettings {
    let everything = Toleration { key: String::new(), exists: true, value: String::new(), effect: None };
    PoolSettings {
        name: name.to_owned(),
        size: Size::Places(size),
        per_node: None,
        start_rate: None,
        order: Order::Fifo,
        nodes: Requirements { tolerations: vec![everything], ..Requirements::default() },
    }
}

#[cfg(test)]
mod tests;
