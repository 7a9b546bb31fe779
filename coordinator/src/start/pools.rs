//! Starts whoever keeps the pools, and what it needs to know first.

use jobmeter_daemon::admin::SourceBoard;
use jobmeter_daemon::supervise::Supervisor;

use crate::config::pools::PoolsConfig;
use crate::handle::CoordinatorHandle;
use crate::leadership::Authority;
use crate::metrics::Metrics;
use crate::pool::{self, PoolParts};
use crate::webhook::gating;
use crate::world::PodSource;

pub(super) struct Pools<'a> {
    pub(super) config: PoolsConfig,
    pub(super) handle: &'a CoordinatorHandle,
    pub(super) sources: SourceBoard,
    pub(super) metrics: Metrics,
}

impl Pools<'_> {
    /// In a cluster, the pool task. On one machine the executor may take the desk; until then there are no pools.
    pub(super) fn start(self, pods: &PodSource, authority: Authority, supervisor: &mut Supervisor) {
        let Self { config, handle, sources, metrics } = self;
        match (pods, config.file) {
            (PodSource::Kube(client), Some(file)) => {
                let Some(desk) = handle.take_pool_desk() else { return };
                let client = client.clone();
                let gating = gating::detect(config.gating, client.clone(), sources.clone(), supervisor);
                pool::start(PoolParts { client, file, gating, desk, sources, metrics }, authority, supervisor);
            }
            _ => handle.without_pools(),
        }
    }
}
