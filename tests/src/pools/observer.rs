//! Watches every pod of the cluster through the API server and counts those of pools: the witness that nothing overshoots.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use kube::Client;
use tokio::sync::oneshot;

use super::tally::{List, PoolTally, Tally};
use crate::api::{client, runtime};
use crate::wait::eventually;

#[derive(Debug)]
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    /// Dropped with the observer: then the watch ends.
    _stop: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Seen {
    tally: Tally,
    listed: bool,
    failure: Option<String>,
}

impl Observer {
    /// Returns when everything there is has been counted.
    pub fn start() -> Result<Self> {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        thread::spawn({
            let seen = seen.clone();
            move || {
                if let Err(error) = watch(&seen, stopped) {
                    lock(&seen).failure = Some(format!("the observer of pods failed: {error:#}"));
                }
            }
        });
        let observer = Self { seen, _stop: stop };
        eventually("the observer's list of pods", Duration::from_secs(30), || {
            Ok(observer.ask(|seen| seen.listed)?.then_some(()))
        })?;
        Ok(observer)
    }

    /// What was seen of a pool so far.
    pub fn pool(&self, name: &str) -> Result<PoolTally> {
        self.ask(|seen| seen.tally.pool(name))
    }

    /// Waits until what was seen of a pool is as wanted; the error shows what it is.
    pub fn until(&self, pool: &str, what: &str, deadline: Duration, wanted: impl Fn(&PoolTally) -> bool) -> Result<PoolTally> {
        let waited = eventually(&format!("pool {pool}: {what}"), deadline, || {
            let seen = self.pool(pool)?;
            Ok(wanted(&seen).then_some(seen))
        });
        waited.with_context(|| {
            let seen = self.pool(pool).unwrap_or_default();
            let (gated, now, ended) = (seen.gated(), seen.now(), seen.ended());
            format!("of {} pods of pool {pool} are gated {gated}, running {now}, ended {ended}", seen.pods)
        })
    }

    /// All pods of a pool have ended well, each was held by the gate first, and never more than `size` could run at once.
    pub fn all_succeeded(&self, pool: &str, pods: usize, size: usize, deadline: Duration) -> Result<PoolTally> {
        let seen = self.until(pool, &format!("{pods} pods to end"), deadline, |seen| seen.ended() >= pods)?;
        ensure!(
            seen.pods == pods && seen.succeeded == pods,
            "{} of {} pods succeeded, expected {pods}",
            seen.succeeded,
            seen.pods
        );
        ensure!(seen.never_gated.is_empty(), "these pods of pool {pool} were never gated: {:?}", seen.never_gated);
        ensure!(seen.most <= size, "{} pods of pool {pool} could run at once; its size is {size}", seen.most);
        Ok(seen)
    }

    fn ask<T>(&self, question: impl FnOnce(&Seen) -> T) -> Result<T> {
        let seen = lock(&self.seen);
        match &seen.failure {
            Some(failure) => bail!("{failure}"),
            None => Ok(question(&seen)),
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(seen: &Mutex<Seen>, stopped: oneshot::Receiver<()>) -> Result<()> {
    runtime()?.block_on(async {
        let client = client().await?;
        let list: List = client.request(get("/api/v1/pods".to_owned())?).await.context("the list of pods")?;
        let mut version = {
            let mut seen = lock(seen);
            seen.tally.list(&list)?;
            seen.listed = true;
            seen.tally.version()
        };
        let follow = async {
            loop {
                version = follow(&client, version, seen).await?;
            }
        };
        tokio::select! {
            ended = follow => ended,
            _ = stopped => Ok(()),
        }
    })
}

/// One watch, until the API server ends it. What was seen last is where the next goes on.
async fn follow(client: &Client, mut version: u64, seen: &Mutex<Seen>) -> Result<u64> {
    let path = format!("/api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let mut lines = client.request_stream(get(path)?).await.context("the watch of pods")?.lines();
    while let Some(line) = lines.next().await {
        // A connection that breaks is no gap: the versions go on.
        let Ok(line) = line else { break };
        let event = serde_json::from_str(&line).with_context(|| format!("an event of the watch of pods: {line}"))?;
        let mut seen = lock(seen);
        seen.tally.apply(&event)?;
        version = seen.tally.version();
    }
    Ok(version)
}

fn get(path: String) -> Result<Request<Vec<u8>>> {
    Ok(Request::get(path).body(Vec::new())?)
}
