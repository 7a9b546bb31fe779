//! What needs no store: the directory, the metrics, the way to objects, and how the store is to be opened.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_daemon::admin::Gate;
use jobmeter_daemon::supervise::Supervisor;
use kube::Client;
use tokio::sync::broadcast;

use super::exports::ExportMetrics;
use super::{Base, StartError};
use crate::config::CoordinatorConfig;
use crate::logs::naming::Names;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::store::logs::LogNames;
use crate::store::{Applied, AppliedPod, Assembly, OnCommit, OpenError, Place, Store};

/// Changes that a watching client may be behind; about a second of a busy cluster.
const CHANGES: usize = 1024;
use crate::webhook::gating::{self, Chosen};
use crate::webhook::{self, Serving, WebhookMetrics};

pub struct Prepared {
    pub(super) config: CoordinatorConfig,
    pub(super) base: Base,
    pub(super) gate: Gate,
    pub(super) metrics: Metrics,
    pub(super) exports: ExportMetrics,
    pub(super) objects: Objects,
    pub(super) changes: broadcast::Sender<Arc<AppliedPod>>,
    /// How members of pools are held back, once somebody wants to know.
    pub(super) gating: Option<Chosen>,
    webhook: WebhookMetrics,
}

/// Opens the store. Each call blocks, so it may be taken to another thread.
#[derive(Clone)]
pub struct Opening {
    place: Place,
    assembly: Assembly,
    metrics: Metrics,
    changes: broadcast::Sender<Arc<AppliedPod>>,
}

pub fn prepare(config: CoordinatorConfig, base: Base) -> Result<Prepared, StartError> {
    // Records tell who ran what: nobody else's business. A directory that is there already has its owner's mode.
    let created = DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir);
    created.map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
    let metrics = Metrics::register(&base.registry, config.max_series)?;
    let exports = ExportMetrics::register(&base.registry)?;
    let webhook = WebhookMetrics::register(&base.registry)?;
    let objects = Objects::new(config.objects.clone(), base.admin.sources.clone());
    let gate = base.admin.readiness.gate("store");
    let (changes, _) = broadcast::channel(CHANGES);
    Ok(Prepared { config, base, gate, metrics, exports, objects, changes, gating: None, webhook })
}

impl Prepared {
    /// Admission reviews are answered by every replica, whoever leads, and need no store.
    pub fn review(&mut self, client: &Client, supervisor: &mut Supervisor) -> Result<(), StartError> {
        let (admin, pools) = (&self.base.admin, &self.config.pools);
        if self.config.webhook.is_some() || pools.file.is_some() || self.config.runs.is_some() {
            self.gating = Some(gating::detect(pools.gating, client.clone(), admin.sources.clone(), supervisor));
        }
        let (Some(config), Some(gating)) = (&self.config.webhook, &self.gating) else {
            webhook::disabled(&admin.sources);
            return Ok(());
        };
        let serving = Serving {
            config: config.clone(),
            client: client.clone(),
            gating: gating.clone(),
            sources: admin.sources.clone(),
            ready: admin.readiness.gate("webhook"),
            metrics: self.webhook.clone(),
        };
        let listen = webhook::start(serving, supervisor)?;
        tracing::info!(%listen, "admission reviews are answered");
        Ok(())
    }

    pub fn opening(&self) -> Opening {
        let (logs, objects) = (&self.config.logs, &self.objects);
        let names = logs.enabled.then(|| -> Arc<dyn LogNames> { Arc::new(Names::of(logs, objects.clone())) });
        Opening {
            place: self.config.place(),
            assembly: Assembly { logs: names, ..self.config.assembly.clone() },
            metrics: self.metrics.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl Opening {
    /// Whether others may have it open at the same time.
    pub fn is_shared(&self) -> bool {
        self.place.is_shared()
    }

    /// To read, until [`Self::lead`].
    pub fn following(&self) -> Result<Store, OpenError> {
        Store::open_follower(&self.place)
    }

    /// To read and to write.
    pub fn leading(&self, epoch: u64) -> Result<Store, OpenError> {
        Store::open_leader(&self.place, epoch, self.assembly.clone(), self.on_commit())
    }

    /// From now on a store that was opened by [`Self::following`] writes as well.
    pub fn lead(&self, store: &Store, epoch: u64) -> Result<(), OpenError> {
        store.lead(epoch, self.assembly.clone(), self.on_commit())
    }

    fn on_commit(&self) -> OnCommit {
        let (metrics, changes) = (self.metrics.clone(), self.changes.clone());
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
        })
    }
}
