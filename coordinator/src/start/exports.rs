//! Starts what leaves the coordinator by itself: the archive of records, and figures for a Pushgateway.

use std::sync::Arc;

use jobmeter_daemon::supervise::Supervisor;
use prometheus::Registry;
use tokio::sync::broadcast;

use super::StartError;
use crate::archive::{Archive, ArchiveMetrics};
use crate::config::CoordinatorConfig;
use crate::objects::Objects;
use crate::pushgateway::{self, PushMetrics};
use crate::store::{AppliedPod, Store};

/// Registered also where nothing is exported: the table of metrics promises it.
pub(super) struct ExportMetrics {
    archive: ArchiveMetrics,
    push: PushMetrics,
}

impl ExportMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self { archive: ArchiveMetrics::register(registry)?, push: PushMetrics::register(registry)? })
    }
}

pub(super) fn start(
    config: &CoordinatorConfig,
    store: &Store,
    objects: &Objects,
    changes: broadcast::Receiver<Arc<AppliedPod>>,
    metrics: ExportMetrics,
    supervisor: &mut Supervisor,
) -> Result<(), StartError> {
    let archive = Archive {
        store: store.clone(),
        objects: objects.clone(),
        config: config.archive,
        cluster: config.assembly.cluster.clone(),
        metrics: metrics.archive,
    };
    supervisor.spawn("archive", archive.run(supervisor.token()));
    match &config.pushgateway {
        Some(gateway) => {
            let label = &config.logs.benchmark_label;
            pushgateway::start(gateway, label, store.clone(), changes, metrics.push, supervisor).map_err(StartError::Pushgateway)
        }
        None => Ok(()),
    }
}
