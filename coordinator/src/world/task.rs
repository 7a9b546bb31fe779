//! The one task that owns the world: takes news, stores what follows, and only then shows it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_daemon::admin::Gate;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::owners::{Lookup, Resolved};
use super::parents::Parents;
use super::state::{Effects, Listed, World};
use super::{Event, Meter, WorldView};
use crate::metrics::Metrics;
use crate::store::{Change, Store, StoreError};

/// News that wait while the store is busy. Beyond it the watches wait, and with them the API server's stream.
pub(crate) const NEWS: usize = 1024;
/// Events of one transaction.
const BATCH: usize = 256;
/// Chains that could not be looked up are asked for again.
const RETRY: Duration = Duration::from_secs(15);
/// Between attempts to store what the cluster said, while the store refuses.
const STORE_RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Task {
    pub(crate) world: World,
    pub(crate) store: Store,
    pub(crate) news: mpsc::Receiver<Event>,
    /// `None` where the source tells the chains itself.
    pub(crate) owners: Option<Owners>,
    pub(crate) shown: Shown,
    /// Lists that must have been received, and stored, before this coordinator is ready.
    pub(crate) lists: usize,
    pub(crate) synced: Gate,
    pub(crate) metrics: Metrics,
}

pub(crate) struct Owners {
    pub(crate) parents: Arc<Parents>,
    pub(crate) lookups: mpsc::Sender<Lookup>,
    pub(crate) resolved: mpsc::Receiver<Resolved>,
}

pub(crate) struct Shown {
    meter: watch::Sender<Meter>,
    live: watch::Sender<usize>,
    undecided: watch::Sender<Arc<BTreeSet<String>>>,
    synced: watch::Sender<bool>,
}

impl Shown {
    pub(crate) fn new() -> (Self, WorldView) {
        let (meter, meter_view) = watch::channel(Meter::default());
        let (live, live_view) = watch::channel(0);
        let (undecided, undecided_view) = watch::channel(Arc::default());
        let (synced, synced_view) = watch::channel(false);
        let view = WorldView { meter: meter_view, live: live_view, undecided: undecided_view, synced: synced_view };
        (Self { meter, live, undecided, synced }, view)
    }

    fn show(&self, world: &World) {
        self.meter.send_if_modified(|shown| {
            let changed = **shown != *world.meter();
            if changed {
                *shown = Arc::new(world.meter().clone());
            }
            changed
        });
        self.undecided.send_if_modified(|shown| {
            let undecided = world.undecided();
            let changed = **shown != undecided;
            if changed {
                *shown = Arc::new(undecided);
            }
            changed
        });
        self.live.send_replace(world.pods());
    }
}

impl Task {
    pub(crate) async fn run(mut self, token: CancellationToken) -> anyhow::Result<()> {
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut effects = Effects::default();
            let mut events = Vec::new();
            // Cancel-safe per docs of `recv_many`, `recv` and `tick`.
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                count = self.news.recv_many(&mut events, BATCH) => if count == 0 {
                    token.cancelled().await;
                    return Ok(());
                },
                resolved = next_resolved(self.owners.as_mut()) => self.world.resolved(resolved, &mut effects),
                _ = retry.tick() => self.world.retry(&mut effects),
            }
            for event in events {
                self.learn(&event);
                self.world.handle(event, &mut effects);
            }
            self.ask(std::mem::take(&mut effects.lookups));
            tokio::select! {
                // What was not stored is listed again by the next process.
                () = token.cancelled() => return Ok(()),
                () = self.settle(effects) => {}
            }
            self.shown.show(&self.world);
        }
    }

    fn learn(&self, event: &Event) {
        let Some(owners) = &self.owners else { return };
        let jobs = match event {
            Event::JobApplied(job) => std::slice::from_ref(job),
            Event::JobsListed { jobs, .. } => jobs,
            _ => &[],
        };
        jobs.iter().for_each(|job| owners.parents.learn(&job.owner.uid, job.parent.clone()));
    }

    fn ask(&mut self, lookups: Vec<Lookup>) {
        let Some(owners) = &self.owners else { return };
        for lookup in lookups {
            // A full queue is no loss: the next tick asks again.
            if let Err(err) = owners.lookups.try_send(lookup) {
                self.world.not_asked(&err.into_inner().pod_uid);
            }
        }
    }

    /// Durable when it returns; until then no further news are taken.
    async fn settle(&mut self, effects: Effects) {
        self.store_all(effects.changes).await;
        for listed in effects.listed {
            let gone = loop {
                match self.gone(&listed).await {
                    Ok(gone) => break gone,
                    Err(err) => self.wait(&err).await,
                }
            };
            self.store_all(gone).await;
            if let Listed::Pods { namespace, present } = &listed {
                self.find_unresolved(namespace.as_ref(), present).await;
            }
            self.lists = self.lists.saturating_sub(1);
            if self.lists == 0 {
                self.synced.ready();
                self.shown.synced.send_replace(true);
            }
        }
    }

    async fn store_all(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        while let Err(err) = self.store.apply(changes.clone(), Timestamp::now()).await {
            self.wait(&err).await;
        }
    }

    /// Records of an earlier process that wait for their owners.
    async fn find_unresolved(&mut self, namespace: Option<&String>, present: &HashSet<String>) {
        if self.owners.is_none() {
            return;
        }
        let unresolved = loop {
            match self.store.unresolved_pods(namespace.cloned()).await {
                Ok(pods) => break pods,
                Err(err) => self.wait(&err).await,
            }
        };
        let mut effects = Effects::default();
        for pod in unresolved.into_iter().filter(|pod| !present.contains(&pod.uid)) {
            self.world.found_gone(pod, &mut effects);
        }
        self.ask(effects.lookups);
    }

    /// What the store believes to be there and the list does not have.
    async fn gone(&self, listed: &Listed) -> Result<Vec<Change>, StoreError> {
        let missing = |known: Vec<String>, present: &HashSet<String>| {
            known.into_iter().filter(|uid| !present.contains(uid)).collect::<Vec<_>>()
        };
        Ok(match listed {
            Listed::Pods { namespace, present } => {
                let mut known = self.store.present_pods(namespace.clone()).await?;
                // A pod that was told of after the list, in the same batch, is stored already and not in the list.
                known.retain(|uid| !self.world.has(uid));
                missing(known, present).into_iter().map(|uid| Change::Vanished { uid }).collect()
            }
            Listed::Jobs { namespace, present } => {
                let known = self.store.present_jobs(namespace.clone()).await?;
                missing(known, present).into_iter().map(|uid| Change::JobGone { uid }).collect()
            }
        })
    }

    async fn wait(&self, err: &StoreError) {
        self.metrics.world_store_errors.inc();
        tracing::warn!(error = err as &dyn std::error::Error, "failed to store what the cluster said");
        tokio::time::sleep(STORE_RETRY).await;
    }
}

/// Never, where there is nobody to ask.
async fn next_resolved(owners: Option<&mut Owners>) -> Resolved {
    match owners {
        Some(owners) => match owners.resolved.recv().await {
            Some(resolved) => resolved,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
