//! What one holds of a running coordinator: the calls of agents and people, typed, and the same over HTTP as a router.

use std::sync::{Arc, Mutex, Weak};

use jiff::{SignedDuration, Timestamp};
use jobmeter_daemon::admin::{self, Admin};
use jobmeter_decide::chase::Deadlines;
use jobmeter_protocol::{
    Heartbeat, HeartbeatReply, Job, JobDetail, LivePod, NodeStatus, Page, Record, RecordQuery, ReportBatch, ReportReply,
};
use prometheus::Registry;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::api::error::ApiError;
use crate::api::follower::Follower;
use crate::api::{self, Watchers};
use crate::auth::Auth;
use crate::callbacks::Callbacks;
use crate::chase::Wanted;
use crate::ingest::{Ingest, IngestError, valid_name};
use crate::logs::Logs;
use crate::logs::chase::LogsWanted;
use crate::logs::read::LogReader;
use crate::metrics::Metrics;
use crate::nodes::{MAX_LIVE, Nodes, TooManyNodes};
use crate::pool::{PoolDesk, PoolView};
use crate::runs::{RunsDesk, RunsView};
use crate::store::{AppliedPod, Retention, Store, StoreError};
use crate::world::WorldView;

pub(crate) mod logs;
mod pools;
pub(crate) mod runs;

/// Cheap to clone.
#[derive(Clone)]
pub struct CoordinatorHandle(Arc<Inner>);

/// For what the handle itself owns.
pub(crate) struct WeakHandle(Weak<Inner>);

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) ingest: Ingest,
    pub(crate) nodes: Nodes,
    pub(crate) world: WorldView,
    pub(crate) wanted: watch::Receiver<Wanted>,
    pub(crate) answered: Arc<Notify>,
    pub(crate) logs: Logs,
    pub(crate) log_reader: LogReader,
    pub(crate) logs_wanted: watch::Receiver<LogsWanted>,
    pub(crate) logs_answered: Arc<Notify>,
    pub(crate) log_slots: logs::LogSlots,
    pub(crate) changes: broadcast::Sender<Arc<AppliedPod>>,
    pub(crate) watchers: Watchers,
    pub(crate) auth: Auth,
    pub(crate) ingest_slots: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    pub(crate) admin: Admin,
    pub(crate) deadlines: Deadlines,
    pub(crate) retention: Retention,
    pub(crate) token: CancellationToken,
    pub(crate) pools: PoolView,
    /// Until somebody keeps the pools.
    pub(crate) pool_desk: Mutex<Option<PoolDesk>>,
    pub(crate) callbacks: Callbacks,
    pub(crate) runs: RunsView,
    /// Until somebody keeps the runs.
    pub(crate) runs_desk: Mutex<Option<RunsDesk>>,
    pub(crate) follower: Option<Follower>,
}

#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    #[error("the heartbeat is version {found}; this coordinator reads version {}", jobmeter_protocol::VERSION)]
    Version { found: u32 },
    #[error("{node:?} is no name of a node")]
    Node { node: String },
    #[error("the heartbeat is of node {found}, and was sent for node {node}")]
    OtherNode { node: String, found: String },
    #[error("the heartbeat has {found} pods; {MAX_LIVE} are the most")]
    TooManyPods { found: usize },
    #[error(transparent)]
    TooManyNodes(#[from] TooManyNodes),
}

/// Pods that one heartbeat is asked about; the next one is asked about the rest.
const WANTED_AT_ONCE: usize = 1_000;

impl WeakHandle {
    pub(crate) fn upgrade(&self) -> Option<CoordinatorHandle> {
        self.0.upgrade().map(CoordinatorHandle)
    }
}

impl CoordinatorHandle {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Durable when it answers. An error means that nothing of the batch was taken: send it again.
    pub async fn report(&self, batch: ReportBatch) -> Result<ReportReply, IngestError> {
        self.0.ingest.batch(batch, Timestamp::now()).await
    }

    pub async fn heartbeat(&self, node: &str, beat: Heartbeat) -> Result<HeartbeatReply, HeartbeatError> {
        if beat.version != jobmeter_protocol::VERSION {
            return Err(HeartbeatError::Version { found: beat.version });
        }
        if !valid_name(node) {
            return Err(HeartbeatError::Node { node: node.chars().take(64).collect() });
        }
        if beat.status.node != node {
            return Err(HeartbeatError::OtherNode { node: node.to_owned(), found: beat.status.node });
        }
        let pods = beat.live.len().max(beat.unknown.len()).max(beat.logs_unknown.len());
        if pods > MAX_LIVE {
            return Err(HeartbeatError::TooManyPods { found: pods });
        }
        if self.0.nodes.heard(node, beat, Timestamp::now())? {
            self.0.answered.notify_one();
            self.0.logs_answered.notify_one();
        }
        let wanted = self.0.wanted.borrow().get(node).into_iter().flatten().take(WANTED_AT_ONCE).cloned().collect();
        Ok(HeartbeatReply { wanted, meter: self.0.world.meter(node), logs_wanted: self.logs_wanted(node) })
    }

    pub async fn records(&self, query: &RecordQuery) -> Result<Page<Record>, StoreError> {
        self.timed(self.0.store.records(query)).await
    }

    pub async fn record(&self, uid: &str) -> Result<Option<Record>, StoreError> {
        self.timed(self.0.store.record(uid)).await
    }

    pub async fn jobs(&self, query: &RecordQuery) -> Result<Page<Job>, StoreError> {
        self.timed(self.0.store.jobs(query)).await
    }

    /// The newest job of that name, with its records.
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<JobDetail>, StoreError> {
        self.timed(self.0.store.job(namespace, name)).await
    }

    /// Every node whose agent was ever heard, with the time of its last heartbeat.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.0.nodes.statuses()
    }

    /// Job pods that run now.
    pub fn live(&self) -> Vec<LivePod> {
        self.0.nodes.live(self.alive_since())
    }

    /// Everything that is written to the store from now on. A receiver that lags is told.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AppliedPod>> {
        self.0.changes.subscribe()
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub fn registry(&self) -> Registry {
        self.0.registry.clone()
    }

    /// Registry, sources and gates of this coordinator, for a process that serves them together with others'.
    pub fn admin(&self) -> Admin {
        self.0.admin.clone()
    }

    /// `/v1` alone.
    pub fn api_router(&self) -> axum::Router {
        api::router(self.clone())
    }

    /// `/v1` with `/livez`, `/readyz`, `/metrics` and `/status` of this coordinator.
    pub fn router(&self) -> axum::Router {
        admin::router(self.admin()).merge(self.api_router())
    }

    /// Then only the replica that wrote them can read them.
    pub(crate) fn logs_are_in_a_directory(&self) -> bool {
        self.0.log_reader.is_directory()
    }

    pub(crate) fn follower(&self) -> Option<&Follower> {
        self.0.follower.as_ref()
    }

    pub(crate) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.0))
    }

    pub(crate) fn cluster_pods(&self) -> usize {
        self.0.world.pods()
    }

    /// Nodes that are heard, nodes that are not, and job pods that run.
    pub(crate) fn node_counts(&self) -> (usize, usize, usize) {
        self.0.nodes.counts(self.alive_since())
    }

    pub(crate) fn alive_since(&self) -> Timestamp {
        let silent = SignedDuration::try_from(self.0.deadlines.heartbeat).unwrap_or(SignedDuration::MAX);
        Timestamp::now().checked_sub(silent).unwrap_or(Timestamp::MIN)
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }

    pub(crate) fn ingest(&self) -> &Ingest {
        &self.0.ingest
    }

    /// `None`: enough batches are in memory already.
    pub(crate) fn ingest_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.0.ingest_slots.clone().try_acquire_owned().ok()
    }

    pub(crate) fn watchers(&self) -> &Watchers {
        &self.0.watchers
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn token(&self) -> CancellationToken {
        self.0.token.clone()
    }

    pub(crate) fn count_refusal(&self, err: &ApiError) {
        self.0.metrics.refused(err.status.as_u16());
    }

    async fn timed<T>(&self, query: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let begun = std::time::Instant::now();
        let answer = query.await;
        self.0.metrics.store_took("query", begun.elapsed().as_secs_f64());
        if answer
            .as_ref()
            .is_err_and(|err| !matches!(err, StoreError::Query(_) | StoreError::LogQuery(_) | StoreError::RunQuery(_)))
        {
            self.0.metrics.store_error();
        }
        answer
    }
}
