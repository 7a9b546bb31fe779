//! What the store needs now and then: old records go, its levels are counted for `/metrics`, and when one of its threads
//! dies, so does the process.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::store::{Fenced, Retention, Store, StoreError};

/// Counting costs a pass over an index.
const TOTALS_PERIOD: Duration = Duration::from_secs(15);
const PRUNE_PERIOD: Duration = Duration::from_secs(600);

/// A process whose store is dead answers nothing right.
pub(crate) async fn guard(store: Store, token: CancellationToken) -> anyhow::Result<()> {
    // Cancel-safe: `ended` only looks.
    tokio::select! {
        () = token.cancelled() => Ok(()),
        () = store.ended() => match store.fenced() {
            Some(Fenced { epoch, found }) => {
                anyhow::bail!("another coordinator leads now: it writes in the name of epoch {found}, this one had {epoch}")
            }
            None => anyhow::bail!("a thread of the record store ended"),
        },
    }
}

pub(crate) async fn run(store: Store, retention: Retention, metrics: Metrics, token: CancellationToken) -> anyhow::Result<()> {
    let mut totals = interval(TOTALS_PERIOD);
    let mut prune = interval(PRUNE_PERIOD);
    totals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Cancel-safe per docs of `tick`.
        let done = tokio::select! {
            () = token.cancelled() => return Ok(()),
            _ = totals.tick() => store.totals().await.map(|totals| metrics.totals(totals)),
            _ = prune.tick() => prune_all(&store, retention, &metrics).await,
        };
        // The next tick is the retry.
        if let Err(err) = done {
            metrics.store_error();
            tracing::warn!(error = &err as &dyn std::error::Error, "upkeep of the record store failed");
        }
    }
}

/// In steps, so that reports get their turn in between.
async fn prune_all(store: &Store, retention: Retention, metrics: &Metrics) -> Result<(), StoreError> {
    let begun = Instant::now();
    let mut pruned = 0;
    loop {
        match store.prune(retention, Timestamp::now()).await? {
            0 => break,
            records => pruned += records,
        }
    }
    metrics.store_took("prune", begun.elapsed().as_secs_f64());
    metrics.pruned(pruned);
    if pruned > 0 {
        tracing::info!(records = pruned, "old records deleted");
    }
    Ok(())
}
