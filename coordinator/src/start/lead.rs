//! What only the coordinator that leads does. Each task that writes asks its [`Authority`] first, or writes to the store, which
//! knows the epoch.

use jiff::Timestamp;
use jobmeter_daemon::supervise::Supervisor;

use super::cluster::Cluster;
use super::pools::Pools;
use super::runs::NodeRuns;
use super::{Opened, StartError, exports};
use crate::chase::Chase;
use crate::execute::operator_token;
use crate::handle::CoordinatorHandle;
use crate::leadership::Authority;
use crate::logs::chase::LogChase;
use crate::logs::upkeep as logs_upkeep;
use crate::world::PodSource;
use crate::{upkeep, webhook};

impl Opened {
    /// From now on this process is the one that writes. Losing the authority ends it, so there is no way back.
    pub fn lead(
        self,
        authority: Authority,
        pods: PodSource,
        supervisor: &mut Supervisor,
    ) -> Result<CoordinatorHandle, StartError> {
        let Self { handle, config, admin, store, objects, metrics, exports, nodes, shown, logs, .. } = self;
        tracing::debug!(epoch = authority.epoch(), "leading");
        let token = supervisor.token();
        nodes.listen_from(Timestamp::now());
        let lists = admin.readiness.gate("cluster");
        exports::start(&config, &store, &objects, handle.subscribe(), exports, supervisor)?;
        if config.logs.enabled {
            let chase =
                LogChase { logs: logs.clone(), nodes: nodes.clone(), answered: self.logs_answered, wanted: self.logs_wanted };
            supervisor.spawn("log-chase", chase.run(token.clone()));
        }
        supervisor.spawn("log-upkeep", logs_upkeep::run(logs, config.retention, token.clone()));
        let chase = Chase {
            store: store.clone(),
            nodes,
            deadlines: config.deadlines,
            metrics: metrics.clone(),
            answered: self.answered,
            wanted: self.wanted,
        };
        supervisor.spawn("chase", chase.run(token.clone()));
        supervisor.spawn("upkeep", upkeep::run(store.clone(), config.retention, metrics.clone(), token));
        let runs = NodeRuns {
            config: config.runs,
            gating: self.gating.clone(),
            store: store.clone(),
            handle: &handle,
            sources: admin.sources.clone(),
            metrics: metrics.clone(),
        };
        let runs = runs.start(&pods, authority.clone(), supervisor);
        let pools = Pools {
            file: config.pools.file,
            runs,
            gating: self.gating,
            handle: &handle,
            sources: admin.sources.clone(),
            metrics: metrics.clone(),
        };
        pools.start(&pods, authority.clone(), supervisor);
        operator_token::start(handle.auth(), &pods, authority.clone(), admin.sources.clone(), supervisor);
        if let (Some(config), PodSource::Kube(client)) = (&config.webhook, &pods) {
            webhook::lead(config, client.clone(), authority, admin.sources.clone(), supervisor);
        }
        let cluster = Cluster { scope: config.scope, store, shown, synced: lists, sources: admin.sources, metrics };
        cluster.start(pods, supervisor);
        Ok(handle)
    }
}
