//! Keeps what is stored of the runs, and the [`Mirror`] of it: what is in the mirror is durable.
//!
//! In: changes. Out: a store that has them, sooner or later. Owner: the runs task, which does nothing else until it has.

use std::time::Duration;

use anyhow::anyhow;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_daemon::error::chain;
use jobmeter_protocol::runs::{DefinitionMemory, RunChange, StoredRun};
use ring::rand::SecureRandom;

use super::TokenKey;
use super::mirror::Mirror;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// Between attempts to store, while the store refuses.
const RETRY: Duration = Duration::from_secs(1);
const SECRET_BYTES: usize = 32;
/// On the board of sources.
const SOURCE: &str = "run-store";

pub(super) struct Storing {
    store: Store,
    mirror: Mirror,
    metrics: Metrics,
    sources: SourceBoard,
    failing: bool,
}

/// What a term begins with.
pub(super) struct Begun {
    pub(super) runs: Vec<StoredRun>,
    pub(super) memories: Vec<DefinitionMemory>,
    pub(super) key: TokenKey,
}

impl Storing {
    pub(super) fn new(store: Store, metrics: Metrics, sources: SourceBoard) -> Self {
        Self { store, mirror: Mirror::default(), metrics, sources, failing: false }
    }

    /// As it is stored.
    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Returns once it could be read. An error is the operating system's, which has no random numbers.
    pub(super) async fn begin(&mut self) -> anyhow::Result<Begun> {
        let (runs, memories) = loop {
            match self.store.stored_runs().await {
                Ok(stored) => break stored,
                Err(err) => self.wait("read", &err).await,
            }
        };
        let mut candidate = [0; SECRET_BYTES];
        let filled = ring::rand::SystemRandom::new().fill(&mut candidate);
        filled.map_err(|_| anyhow!("the operating system has no random numbers for the tokens of runs"))?;
        let secret = loop {
            match self.store.run_secret(&candidate).await {
                Ok(secret) => break secret,
                Err(err) => self.wait("read", &err).await,
            }
        };
        self.failing = false;
        self.sources.set(SOURCE, SourceState::Active);
        self.mirror = Mirror::new(runs.clone());
        Ok(Begun { runs, memories, key: TokenKey::new(&secret) })
    }

    /// Durable when it returns.
    pub(super) async fn store(&mut self, changes: &[RunChange]) {
        if changes.is_empty() {
            return;
        }
        while let Err(err) = self.store.apply_runs(changes.to_vec()).await {
            self.wait("store", &err).await;
        }
        if std::mem::take(&mut self.failing) {
            self.sources.set(SOURCE, SourceState::Active);
        }
    }

    /// Of what was stored.
    pub(super) fn apply(&mut self, changes: Vec<RunChange>) {
        changes.into_iter().for_each(|change| self.mirror.apply(change));
    }

    async fn wait(&mut self, verb: &str, err: &StoreError) {
        self.failing = true;
        self.metrics.store_error();
        tracing::warn!(error = err as &dyn std::error::Error, "failed to {verb} the runs, trying again");
        let error = format!("failed to {verb} the runs, nothing is begun meanwhile: {}", chain(err));
        self.sources.set(SOURCE, SourceState::Failed { error });
        tokio::time::sleep(RETRY).await;
    }
}
