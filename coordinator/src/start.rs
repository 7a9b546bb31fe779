//! Puts a coordinator together: opens the store, starts the tasks, and hands out the handle.
//!
//! Every task is the supervisor's; the only threads are those of the store.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_daemon::admin::{Admin, Gate};
use jobmeter_daemon::supervise::Supervisor;
use prometheus::Registry;
use tokio::sync::{Notify, Semaphore, broadcast, watch};

use crate::api::Watchers;
use crate::auth::Auth;
use crate::chase::{Chase, Wanted};
use crate::config::CoordinatorConfig;
use crate::handle::logs::LogSlots;
use crate::handle::{CoordinatorHandle, Inner};
use crate::ingest::Ingest;
use crate::logs::chase::{LogChase, LogsWanted};
use crate::logs::live::LiveLogs;
use crate::logs::naming::Names;
use crate::logs::read::LogReader;
use crate::logs::{Logs, LogsParts, upkeep as logs_upkeep};
use crate::metrics::Metrics;
use crate::metrics::levels::{self, Read, Samples};
use crate::nodes::Nodes;
use crate::objects::Objects;
use crate::store::logs::LogNames;
use crate::store::{Applied, AppliedPod, Assembly, OpenError, Store};
use crate::upkeep;
use crate::world::PodSource;
use crate::world::task::Shown;
use cluster::Cluster;

mod cluster;
mod exports;

/// Changes that a watching client may be behind; about a second of a busy cluster.
const CHANGES: usize = 1024;
/// Batches in memory at a time: 32 × 4 MiB at the very most.
const INGEST_SLOTS: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to create the data directory {}", path.display())]
    DataDir {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("failed to make an HTTP client for the Pushgateway")]
    Pushgateway(#[source] reqwest::Error),
    #[error("agents are to be checked by TokenReview, and there is no API server")]
    NoApiServer,
}

/// To be called within a tokio runtime. The store is open when it returns; the cluster's lists come later (`/readyz`).
pub fn start(config: CoordinatorConfig, pods: PodSource, supervisor: &mut Supervisor) -> Result<CoordinatorHandle, StartError> {
    // Records tell who ran what: nobody else's business. A directory that is there already has its owner's mode.
    let created = DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir);
    created.map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
    let admin = Admin::default();
    let registry = Registry::new();
    let metrics = Metrics::register(&registry, config.max_series)?;
    let (changes, _) = broadcast::channel(CHANGES);
    let gates = Gates { store: admin.readiness.gate("store"), lists: admin.readiness.gate("cluster") };
    let objects = Objects::new(config.objects.clone(), admin.sources.clone());
    let names = config.logs.enabled.then(|| -> Arc<dyn LogNames> { Arc::new(Names::of(&config.logs, objects.clone())) });
    let assembly = Assembly { logs: names, ..config.assembly.clone() };
    let store = open(&config, assembly, &metrics, changes.clone())?;
    gates.store.ready();

    let client = match &pods {
        PodSource::Kube(client) => Some(client.clone()),
        PodSource::Local(_) => None,
    };
    let live = match (&client, &config.live_logs) {
        (Some(client), _) => LiveLogs::Kube(client.clone()),
        (None, Some(path)) => LiveLogs::Directory(path.clone()),
        (None, None) => LiveLogs::Nowhere,
    };
    let auth = Auth::new(&config.writers, config.readers.clone(), client.as_ref()).ok_or(StartError::NoApiServer)?;
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
    let token = supervisor.token();
    let admin = Admin { registries: vec![registry.clone()], ..admin };

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
        token: token.clone(),
        store: store.clone(),
    });
    register_levels(&handle, &registry)?;
    exports::start(&config, &store, &objects, handle.subscribe(), &registry, supervisor)?;

    if config.logs.enabled {
        let chase = LogChase { logs: logs.clone(), nodes: nodes.clone(), answered: logs_answered, wanted: logs_wanted };
        supervisor.spawn("log-chase", chase.run(token.clone()));
    }
    supervisor.spawn("log-upkeep", logs_upkeep::run(logs, config.retention, token.clone()));
    let chase = Chase { store: store.clone(), nodes, deadlines: config.deadlines, metrics: metrics.clone(), answered, wanted };
    supervisor.spawn("chase", chase.run(token.clone()));
    supervisor.spawn("upkeep", upkeep::run(store.clone(), config.retention, metrics.clone(), token));
    let cluster = Cluster { scope: config.scope, store, shown, synced: gates.lists, sources: admin.sources, metrics };
    cluster.start(pods, supervisor);
    Ok(handle)
}

struct Gates {
    store: Gate,
    lists: Gate,
}

fn open(
    config: &CoordinatorConfig,
    assembly: Assembly,
    metrics: &Metrics,
    changes: broadcast::Sender<Arc<AppliedPod>>,
) -> Result<Store, OpenError> {
    let metrics = metrics.clone();
    Store::open(
        &config.database(),
        assembly,
        Box::new(move |committed| {
            metrics.committed(&committed, Timestamp::now());
            for applied in committed.applied {
                let pod = match applied {
                    Applied::Pod(pod) => Some(&**pod),
                    Applied::Log(log) => log.pod.as_ref(),
                    _ => None,
                };
                if let Some(pod) = pod {
                    // Nobody watches: nothing is lost.
                    drop(changes.send(Arc::new(pod.clone())));
                }
            }
        }),
    )
}

/// A registry that outlives its coordinator has nothing to tell.
fn register_levels(handle: &CoordinatorHandle, registry: &Registry) -> Result<(), prometheus::Error> {
    let level = |read: fn(&CoordinatorHandle) -> Samples| -> Read {
        let handle = handle.downgrade();
        Box::new(move || handle.upgrade().map(|handle| read(&handle)).unwrap_or_default())
    };
    let levels = vec![
        ("jobmeter_pods", level(|handle| one(handle.cluster_pods()))),
        ("jobmeter_pods_running", level(|handle| one(handle.node_counts().2))),
        ("jobmeter_coordinator_store_queue", level(|handle| one(handle.store().queued()))),
        ("jobmeter_coordinator_watchers", level(|handle| one(handle.watchers().count()))),
        (
            "jobmeter_nodes",
            level(|handle| {
                let (alive, silent, _) = handle.node_counts();
                vec![(vec!["alive"], alive as f64), (vec!["silent"], silent as f64)]
            }),
        ),
    ];
    levels::register(registry, levels)
}

fn one(value: usize) -> Samples {
    vec![(Vec::new(), value as f64)]
}
