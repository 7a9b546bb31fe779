//! Starts what watches the cluster (or listens to the local executor), and the task that owns the world.

use std::sync::Arc;

use jobmeter_daemon::admin::{Gate, SourceBoard, SourceState};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::metered::Scope;
use kube::Client;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use crate::store::Store;
use crate::world::kube::{PODS, Watching};
use crate::world::owners::{self, LOOKUPS};
use crate::world::parents::Parents;
use crate::world::state::World;
use crate::world::task::{NEWS, Owners, Shown, Task};
use crate::world::{Event, PodSource, kube as watches, local};

pub(super) struct Cluster {
    pub(super) scope: Scope,
    pub(super) store: Store,
    pub(super) shown: Shown,
    pub(super) synced: Gate,
    pub(super) sources: SourceBoard,
    pub(super) metrics: Metrics,
}

impl Cluster {
    pub(super) fn start(self, pods: PodSource, supervisor: &mut Supervisor) {
        let (world, news) = mpsc::channel(NEWS);
        let token = supervisor.token();
        let (lists, owners) = match pods {
            PodSource::Local(events) => {
                self.sources.set_with_detail(PODS, SourceState::Active, "the local executor");
                supervisor.spawn("local-pods", local::run(events, world, token.clone()));
                (2, None)
            }
            PodSource::Kube(client) => self.watch(client, world, supervisor),
        };
        let task = Task {
            world: World::new(self.scope),
            store: self.store,
            news,
            owners,
            shown: self.shown,
            lists,
            synced: self.synced,
            metrics: self.metrics,
        };
        supervisor.spawn("world", task.run(token));
    }

    /// One watch of pods and one of Jobs for each namespace, or for all of them at once.
    fn watch(&self, client: Client, world: mpsc::Sender<Event>, supervisor: &mut Supervisor) -> (usize, Option<Owners>) {
        let token = supervisor.token();
        let namespaces: Vec<Option<String>> = match self.scope.namespaces.len() {
            0 => vec![None],
            _ => self.scope.namespaces.iter().cloned().map(Some).collect(),
        };
        for namespace in &namespaces {
            let watching = || Watching {
                client: client.clone(),
                namespace: namespace.clone(),
                world: world.clone(),
                sources: self.sources.clone(),
                metrics: self.metrics.clone(),
            };
            supervisor.spawn("watch-pods", watches::pods(watching(), self.scope.clone(), token.clone()));
            supervisor.spawn("watch-jobs", watches::jobs(watching(), token.clone()));
        }
        let parents = Arc::new(Parents::new(client));
        let (lookups, wanted) = mpsc::channel(LOOKUPS);
        let (chains, resolved) = mpsc::channel(LOOKUPS);
        supervisor.spawn("owners", owners::run(parents.clone(), wanted, chains, self.metrics.clone(), token));
        (2 * namespaces.len(), Some(Owners { parents, lookups, resolved }))
    }
}
