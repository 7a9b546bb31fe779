//! What every replica does: opens the store, answers from it, ends when it breaks. Nothing here writes.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jobmeter_daemon::admin::Admin;
use jobmeter_daemon::supervise::Supervisor;
use kube::Client;
use tokio::sync::{Notify, Semaphore, watch};

use super::exports::ExportMetrics;
use super::{Base, Prepared, StartError, levels};
use crate::api::Watchers;
use crate::api::follower::Follower;
use crate::auth::Auth;
use crate::callbacks::{Callbacks, CallbacksParts};
use crate::chase::Wanted;
use crate::config::CoordinatorConfig;
use crate::handle::logs::LogSlots;
use crate::handle::{CoordinatorHandle, Inner};
use crate::ingest::Ingest;
use crate::logs::chase::LogsWanted;
use crate::logs::live::LiveLogs;
use crate::logs::read::LogReader;
use crate::logs::{Logs, LogsParts};
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::objects::Objects;
use crate::pool::PoolView;
use crate::runs::RunsView;
use crate::store::Store;
use crate::upkeep;
use crate::webhook::gating::Chosen;
use crate::world::task::Shown;

/// Batches in memory at a time: 32 × 4 MiB at the very most.
const INGEST_SLOTS: usize = 32;

/// A coordinator that answers, and does not lead yet.
pub struct Opened {
    pub(super) handle: CoordinatorHandle,
    pub(super) config: CoordinatorConfig,
    pub(super) admin: Admin,
    pub(super) store: Store,
    pub(super) objects: Objects,
    pub(super) metrics: Metrics,
    pub(super) exports: ExportMetrics,
    pub(super) gating: Option<Chosen>,
    pub(super) nodes: Nodes,
    pub(super) shown: Shown,
    pub(super) logs: Logs,
    pub(super) answered: Arc<Notify>,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) logs_answered: Arc<Notify>,
    pub(super) logs_wanted: watch::Sender<LogsWanted>,
}

impl Prepared {
    /// `follower`: who answers what this replica may not; `None` where there are no others.
    pub fn open(
        self,
        store: Store,
        client: Option<Client>,
        follower: Option<Follower>,
        supervisor: &mut Supervisor,
    ) -> Result<Opened, StartError> {
        let Self { config, base: Base { registry, admin }, gate, metrics, exports, objects, changes, gating, .. } = self;
        gate.ready();
        let live = match (&client, &config.live_logs) {
            (Some(client), _) => LiveLogs::Kube(client.clone()),
            (None, Some(path)) => LiveLogs::Directory(path.clone()),
            (None, None) => LiveLogs::Nowhere,
        };
        let auth = Auth::new(&config.writers, config.readers.clone(), client.as_ref()).ok_or(StartError::NoApiServer)?;
        let auth = auth.with_operators(&config.operators);
        let nodes = Nodes::new(Timestamp::now());
        let answered = Arc::new(Notify::new());
        let (wanted, wanted_view) = watch::channel(Wanted::default());
        let (shown, world_view) = Shown::new();
        let logs_answered = Arc::new(Notify::new());
        let (logs_wanted, logs_wanted_view) = watch::channel(LogsWanted::default());
        let logs = Logs::new(LogsParts {
            config: config.logs.clone(),
            cluster: config.assembly.cluster.clone(),
            store: store.clone(),
            objects: objects.clone(),
            world: world_view.clone(),
            metrics: metrics.clone(),
        });
        let (pools, desk) = PoolView::new();
        let (runs, runs_desk) = RunsView::new();
        crate::metrics::pool::register_levels(&registry, &pools)?;
        crate::metrics::runs::register(&registry, &runs)?;
        let callbacks = Callbacks::new(CallbacksParts {
            config: config.runs.as_ref().map(|runs| runs.callbacks.clone()),
            runs: runs.clone(),
            auth: auth.clone(),
            metrics: metrics.clone(),
        });
        let handle = CoordinatorHandle::new(Inner {
            ingest: Ingest::new(store.clone(), metrics.clone()),
            nodes: nodes.clone(),
            world: world_view,
            wanted: wanted_view,
            answered: answered.clone(),
            logs: logs.clone(),
            log_reader: LogReader::new(store.clone(), objects.clone(), live),
            logs_wanted: logs_wanted_view,
            logs_answered: logs_answered.clone(),
            log_slots: LogSlots::default(),
            changes,
            watchers: Watchers::default(),
            auth,
            ingest_slots: Arc::new(Semaphore::new(INGEST_SLOTS)),
            metrics: metrics.clone(),
            registry: registry.clone(),
            admin: admin.clone(),
            deadlines: config.deadlines,
            retention: config.retention,
            token: supervisor.token(),
            pools,
            pool_desk: Mutex::new(Some(desk)),
            callbacks,
            runs,
            runs_desk: Mutex::new(Some(runs_desk)),
            store: store.clone(),
            follower,
        });
        levels::register(&handle, &registry)?;
        supervisor.spawn("store", upkeep::guard(store.clone(), supervisor.token()));
        Ok(Opened {
            handle,
            config,
            admin,
            store,
            objects,
            metrics,
            exports,
            gating,
            nodes,
            shown,
            logs,
            answered,
            wanted,
            logs_answered,
            logs_wanted,
        })
    }
}

impl Opened {
    pub fn handle(&self) -> &CoordinatorHandle {
        &self.handle
    }
}
