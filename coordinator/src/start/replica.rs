//! One of several coordinators, from its start to its end: it follows, leads when it is its turn, and gives the Lease back when
//! all its work is done.
//!
//! ```text
//! a shared database:  store opened ─▶ Ready, reads ─▶ (the Lease) ─▶ leads
//! a file:             (the Lease) ─▶ file opened ─▶ leads ─▶ Ready        so a rollout never has two writers
//! ```

use std::time::Duration;

use anyhow::Context;
use jobmeter_daemon::admin::{self, Gate};
use jobmeter_daemon::exit::Code;
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_daemon::supervise::Supervisor;
use kube::Client;
use tokio::net::TcpListener;

use super::front::Front;
use super::{Base, Opened, Opening, Prepared, prepare};
use crate::api::follower::Follower;
use crate::callbacks::listeners::{self, CallbackPorts, ListenerParts};
use crate::config::CoordinatorConfig;
use crate::config::leadership::LeadershipConfig;
use crate::execute::lease::LeaseObject;
use crate::leadership::{self, Authority, Candidate, Leadership, LeadershipMetrics};
use crate::store::{EngineError, OpenError, Store};
use crate::world::PodSource;

/// Within what the grace leaves of a pod's termination period.
const CLOSE: Duration = Duration::from_secs(3);
/// Between two attempts to open a database, each of which is patient.
const AGAIN: Duration = Duration::from_secs(1);

/// What a replica is made of.
pub struct Replica {
    pub config: CoordinatorConfig,
    pub leadership: LeadershipConfig,
    pub client: Client,
    pub base: Base,
    pub listener: TcpListener,
}

/// Returns when the process is to end; losing leadership is such an end.
pub async fn run(replica: Replica, mut supervisor: Supervisor) -> anyhow::Result<Code> {
    let Replica { config, leadership, client, base, listener } = replica;
    let metrics = LeadershipMetrics::register(&base.registry)?;
    let (ports, listen) = (config.runs.as_ref().map(|runs| runs.ports.clone()), listener.local_addr()?);
    let mut prepared = prepare(config, base.clone())?;
    let front = Front::new(admin::router(base.admin.clone()));
    let callback_ports = ports.map(|ports| {
        let parts = ListenerParts { ports, listen, behind: front.router(), sources: base.admin.sources.clone() };
        listeners::start(parts, &mut supervisor)
    });
    let stage = Stage {
        front,
        callback_ports,
        opening: prepared.opening(),
        leadership: elect(leadership, !prepared.opening().is_shared(), &client, &base, metrics, &mut supervisor),
        client,
        base,
    };
    let served = serve(listener, stage.front.router(), ServeOptions::default(), supervisor.token());
    supervisor.spawn("http", served);

    let mut store = None;
    let started = match prepared.review(&stage.client, &mut supervisor) {
        Ok(()) => stage.start(prepared, &mut store, &mut supervisor).await,
        Err(err) => Err(err.into()),
    };
    if started.is_err() {
        supervisor.token().cancel();
    }
    let code = supervisor.run().await;
    let closed = match &store {
        Some(store) => close(store).await,
        None => Ok(()),
    };
    // Only now: whoever takes the Lease next may open the file at once.
    stage.leadership.release(started.as_ref().err().and_then(later_epoch).unwrap_or(0)).await;
    started?;
    closed?;
    Ok(code)
}

struct Stage {
    front: Front,
    /// `None`: there are no runs.
    callback_ports: Option<CallbackPorts>,
    opening: Opening,
    leadership: Leadership,
    client: Client,
    base: Base,
}

impl Stage {
    /// Ends early, without an error, when the process is to stop. `opened` writes, and is to be closed in any case.
    async fn start(&self, prepared: Prepared, opened: &mut Option<Store>, supervisor: &mut Supervisor) -> anyhow::Result<()> {
        let (identity, token) = (self.leadership.identity(), supervisor.token());
        let follower = Follower::new(self.leadership.standing(), identity, token).context("failed to make an HTTP client")?;
        let led = if self.opening.is_shared() {
            self.follow_first(prepared, follower, opened, supervisor).await?
        } else {
            self.lead_first(prepared, follower, opened, supervisor).await?
        };
        if led.is_none() {
            tracing::debug!("stopped before it led");
        }
        Ok(())
    }

    /// Readers may be many: Ready, and answering, before it leads.
    async fn follow_first(
        &self,
        prepared: Prepared,
        follower: Follower,
        opened: &mut Option<Store>,
        supervisor: &mut Supervisor,
    ) -> anyhow::Result<Option<()>> {
        self.front.show(admin::router(self.base.admin.clone()).merge(follower.router()));
        let Some(store) = supervisor.until(self.follow(&prepared)).await else { return Ok(None) };
        let store = store?;
        self.leadership.stand();
        let replica = prepared.open(store.clone(), Some(self.client.clone()), Some(follower), supervisor)?;
        self.follow_ports(&replica);
        self.front.show(replica.handle().router());
        let Some(authority) = supervisor.until(self.leadership.authority()).await else { return Ok(None) };
        let (opening, epoch, led) = (self.opening.clone(), authority.epoch(), store.clone());
        let Some(led) = supervisor.until(blocking(move || opening.lead(&led, epoch))).await else { return Ok(None) };
        led?;
        *opened = Some(store);
        replica.lead(authority, PodSource::Kube(self.client.clone()), supervisor)?;
        Ok(Some(()))
    }

    /// A database that is away is waited for: who ended for it would be started again ever later, and review no pod meanwhile.
    async fn follow(&self, prepared: &Prepared) -> anyhow::Result<Store> {
        loop {
            let opening = self.opening.clone();
            let away = match blocking(move || opening.following()).await {
                Err(err) if is_away(&err) => err,
                opened => return opened,
            };
            prepared.gate.not_ready(format!("waiting for the database: {away:#}"));
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// One at a time: until it leads there is nothing to read, and the leader answers.
    async fn lead_first(
        &self,
        prepared: Prepared,
        follower: Follower,
        opened: &mut Option<Store>,
        supervisor: &mut Supervisor,
    ) -> anyhow::Result<Option<()>> {
        let gate = self.base.admin.readiness.gate("leadership");
        self.front.show(admin::router(self.base.admin.clone()).merge(follower.router()));
        let Some(authority) = supervisor.until(self.wait(&gate)).await else { return Ok(None) };
        let (opening, epoch) = (self.opening.clone(), authority.epoch());
        let Some(store) = supervisor.until(blocking(move || opening.leading(epoch))).await else { return Ok(None) };
        let store = opened.insert(store?).clone();
        let replica = prepared.open(store, Some(self.client.clone()), Some(follower), supervisor)?;
        self.follow_ports(&replica);
        let handle = replica.lead(authority, PodSource::Kube(self.client.clone()), supervisor)?;
        self.front.show(handle.router());
        gate.ready();
        Ok(Some(()))
    }

    /// The ports that definitions name, once they are known here; before that the leader is asked for them.
    fn follow_ports(&self, replica: &Opened) {
        if let Some(ports) = &self.callback_ports {
            ports.follow(replica.handle().runs().clone());
        }
    }

    async fn wait(&self, gate: &Gate) -> Authority {
        let mut standing = self.leadership.standing();
        let authority = self.leadership.authority();
        tokio::pin!(authority);
        loop {
            gate.not_ready(standing.borrow_and_update().to_string());
            // Cancel-safe: the one is pinned, the other only looks.
            tokio::select! {
                biased;
                authority = &mut authority => return authority,
                // An error: the task has ended, and the process ends with it.
                changed = standing.changed() => if changed.is_err() { return authority.await },
            }
        }
    }
}

fn elect(
    config: LeadershipConfig,
    stands: bool,
    client: &Client,
    base: &Base,
    metrics: LeadershipMetrics,
    supervisor: &mut Supervisor,
) -> Leadership {
    let namespace = config.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let pod = config.pod.or_else(host).unwrap_or_else(|| "coordinator".to_owned());
    // Without the pod's UID nobody knows whose place this process took.
    let predecessors = config.pod_uid.map(|uid| format!("{pod}.{uid}_"));
    let identity = format!("{}{}", predecessors.clone().unwrap_or_else(|| format!("{pod}_")), uuid::Uuid::new_v4());
    let lease = LeaseObject::new(client.clone(), namespace, &config.lease, identity, config.address);
    let sources = base.admin.sources.clone();
    let timing = config.timing;
    leadership::start(Candidate { lease, timing, floor: 0, predecessors, stands, metrics, sources }, supervisor)
}

/// The database remembers a later epoch than the Lease does, which somebody deleted: the next leader must have one above it.
fn later_epoch(err: &anyhow::Error) -> Option<u64> {
    err.chain().find_map(|cause| match cause.downcast_ref() {
        Some(EngineError::Fenced { found, .. }) => Some(*found),
        _ => None,
    })
}

fn is_away(err: &anyhow::Error) -> bool {
    matches!(err.downcast_ref(), Some(OpenError::Connect { source: EngineError::Unreachable { .. }, .. }))
}

/// Opening a store takes long and is not asynchronous. Where it is given up, the process ends.
async fn blocking<T: Send + 'static>(open: impl FnOnce() -> Result<T, OpenError> + Send + 'static) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(open).await.context("the store's opening panicked")??)
}

pub(crate) async fn close(store: &Store) -> anyhow::Result<()> {
    match tokio::time::timeout(CLOSE, store.close()).await {
        Ok(closed) => Ok(closed?),
        // What was acknowledged is on the disk all the same.
        Err(_) => {
            tracing::warn!("the record store did not close in time");
            Ok(())
        }
    }
}
