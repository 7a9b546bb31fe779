//! Starts whoever keeps the runs, and what it needs to know first.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_daemon::supervise::Supervisor;
use kube::Client;

use crate::config::runs::RunsConfig;
use crate::execute::run_pods::{EventError, KubeRunEvents, Owner, PodEvent, RunEvents};
use crate::handle::CoordinatorHandle;
use crate::leadership::Authority;
use crate::metrics::Metrics;
use crate::pool::FromRuns;
use crate::runs::address::Addresses;
use crate::runs::{self, RunsParts, Without};
use crate::store::Store;
use crate::webhook::gating::Chosen;
use crate::world::PodSource;

pub(super) struct NodeRuns<'a> {
    pub(super) config: Option<RunsConfig>,
    /// `None` where there is no API server.
    pub(super) gating: Option<Chosen>,
    pub(super) store: Store,
    pub(super) handle: &'a CoordinatorHandle,
    pub(super) sources: SourceBoard,
    pub(super) metrics: Metrics,
}

impl NodeRuns<'_> {
    /// In a cluster with definitions, the runs task; returns what the pools have to know of them. Elsewhere somebody says that
    /// there are none.
    pub(super) fn start(self, pods: &PodSource, authority: Authority, supervisor: &mut Supervisor) -> Option<FromRuns> {
        let Self { config, gating, store, handle, sources, metrics } = self;
        let desk = handle.take_runs_desk()?;
        let (PodSource::Kube(client), Some(config), Some(gating)) = (pods, config, gating) else {
            let token = supervisor.token();
            supervisor.spawn("runs", Without::Definitions.run(desk, token));
            return None;
        };
        let (client, (told, pools)) = (client.clone(), FromRuns::channel());
        let events = KubeRunEvents::new(client.clone(), config.own.pod.as_deref().unwrap_or_default());
        handle.callbacks().set_events(Arc::new(Led { events, authority: authority.clone() }));
        let (addresses, owner) = (Arc::new(addresses(&client, &config)), owner(&client, &config));
        let parts = RunsParts { client, config, gating, store, addresses, owner, desk, told, sources, metrics };
        runs::start(parts, authority, supervisor);
        Some(pools)
    }
}

/// Events are written as long as this coordinator leads.
struct Led {
    events: KubeRunEvents,
    authority: Authority,
}

impl RunEvents for Led {
    fn post(&self, event: PodEvent) -> BoxFuture<'_, Result<(), EventError>> {
        if self.authority.holds() {
            return self.events.post(event);
        }
        let PodEvent { namespace, pod, .. } = event;
        let why = "this coordinator does not lead any more".to_owned();
        std::future::ready(Err(EventError::Unknown { namespace, pod, why })).boxed()
    }
}

fn addresses(client: &Client, config: &RunsConfig) -> Addresses {
    Addresses::new(client.clone(), config.callbacks.clone(), config.own.ip.map(|ip| ip.to_string()))
}

fn owner(client: &Client, config: &RunsConfig) -> Owner {
    let own = config.own.pod.clone().map(|pod| {
        let namespace = config.own.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        (namespace, pod)
    });
    Owner::new(client.clone(), own)
}
