//! Starts whoever keeps the pools, and what it needs to know first.

use std::path::PathBuf;

use jobmeter_daemon::admin::SourceBoard;
use jobmeter_daemon::supervise::Supervisor;

use crate::handle::CoordinatorHandle;
use crate::leadership::Authority;
use crate::metrics::Metrics;
use crate::pool::{self, FromRuns, PoolParts};
use crate::webhook::gating::Chosen;
use crate::world::PodSource;

pub(super) struct Pools<'a> {
    pub(super) file: Option<PathBuf>,
    /// `None`: there are no runs.
    pub(super) runs: Option<FromRuns>,
    /// `None` where there is no API server.
    pub(super) gating: Option<Chosen>,
    pub(super) handle: &'a CoordinatorHandle,
    pub(super) sources: SourceBoard,
    pub(super) metrics: Metrics,
}

impl Pools<'_> {
    /// In a cluster, the pool task. On one machine the executor takes the desk; until then there are no pools.
    pub(super) fn start(self, pods: &PodSource, authority: Authority, supervisor: &mut Supervisor) {
        let Self { file, runs, gating, handle, sources, metrics } = self;
        match (pods, gating) {
            (PodSource::Kube(client), Some(gating)) if file.is_some() || runs.is_some() => {
                let Some(desk) = handle.take_pool_desk() else { return };
                let client = client.clone();
                let runs = runs.unwrap_or_else(FromRuns::nobody);
                pool::start(PoolParts { client, file, runs, gating, desk, sources, metrics }, authority, supervisor);
            }
            _ => handle.without_pools(),
        }
    }
}
