//! The pool task: keeps the [`Ledger`](jobmeter_decide::pool::Ledger) in step with the cluster and does its steps.
//!
//! ```text
//! watches, pools file, runs ─▶ Observation ─▶ ledger ─▶ Step ─▶ execute::places ─▶ API server
//!                                               ▲  └─▶ PoolView: people, metrics
//!                                               └── answers, time
//! ```
//! In: pods of pools, nodes, the pools file, pools of definitions of runs, for one term of leadership. Out: places written and gates removed. Owner: one task;
//! what it knows begins with lists and ends with the term.

use std::path::PathBuf;
use std::sync::Arc;

use jobmeter_daemon::admin::SourceBoard;
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::gating::Gating;
use jobmeter_decide::pool::Kind;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::execute::places::{KubePlaces, Surroundings};
use crate::leadership::Authority;
use crate::metrics::Metrics;
use crate::webhook::gating::Chosen;
pub(crate) use file::PoolsFile;
use merged::Merged;
use task::Task;
use watches::Watching;

pub mod file;
mod held;
pub(crate) mod member;
mod merged;
pub(crate) mod requirements;
mod steps;
pub mod task;
mod view;
pub(crate) mod watches;

pub use held::StoredPods;
pub use merged::OwnPools;
pub use view::{PoolDesk, PoolView, Question, Statuses, Unknown};

/// Observations on the way to the ledger.
const OBSERVATIONS: usize = 1024;

/// What a cluster's pools are kept with.
pub struct PoolParts {
    pub client: Client,
    /// `None`: only runs have pools.
    pub file: Option<PathBuf>,
    pub runs: FromRuns,
    pub gating: Chosen,
    pub desk: PoolDesk,
    pub sources: SourceBoard,
    pub metrics: Metrics,
}

/// What whoever keeps the runs tells whoever keeps the pools.
pub struct ToPools {
    pub own: watch::Sender<OwnPools>,
    pub stored: watch::Sender<StoredPods>,
}

pub struct FromRuns {
    pub own: watch::Receiver<OwnPools>,
    pub stored: watch::Receiver<StoredPods>,
}

impl FromRuns {
    /// Until something is told, no pod of a run is let go.
    pub fn channel() -> (ToPools, Self) {
        let (own, pools) = watch::channel(OwnPools::new());
        let (stored, pods) = watch::channel(Some(Default::default()));
        (ToPools { own, stored }, Self { own: pools, stored: pods })
    }

    /// Nobody keeps runs.
    pub fn nobody() -> Self {
        Self { own: watch::channel(OwnPools::new()).1, stored: watch::channel(None).1 }
    }
}

/// Begins a term.
pub fn start(parts: PoolParts, authority: Authority, supervisor: &mut Supervisor) {
    let token = supervisor.token();
    supervisor.spawn("pools", run(parts, authority, token));
}

/// For one term. Ends with `Ok` once `token` is cancelled; whatever else ends it is an error.
pub async fn run(parts: PoolParts, authority: Authority, token: CancellationToken) -> anyhow::Result<()> {
    let PoolParts { client, file, runs: FromRuns { own, stored }, mut gating, desk, sources, metrics } = parts;
    let gating = tokio::select! {
        () = token.cancelled() => return Ok(()),
        chosen = gating.wait_for(Option::is_some) => chosen?.as_ref().map_or(Gating::SchedulingGates, |choice| choice.gating),
    };
    let (inbox, seen) = mpsc::channel(OBSERVATIONS);
    let surroundings = Arc::new(Surroundings::default());
    let watching = Watching { client: client.clone(), inbox: inbox.clone(), sources: sources.clone(), metrics: metrics.clone() };
    let mut kinds = vec![Kind::Pod];
    // Dropped with this future, and the tasks with it.
    let mut watches = JoinSet::new();
    watches.spawn(watches::pods(watching.clone(), gating));
    watches.spawn(watches::nodes(watching.clone(), surroundings.clone()));
    if gating == Gating::Suspend {
        kinds.push(Kind::Job);
        watches.spawn(watches::jobs(watching, gating));
    }
    let file = file.map(|file| PoolsFile::new(file, false, sources, metrics.clone()));
    watches.spawn(Merged { file, own, surroundings: surroundings.clone(), inbox }.follow());
    tracing::info!(epoch = authority.epoch(), %gating, "pools are kept");

    let places = Arc::new(KubePlaces::new(client, surroundings));
    let task = Task::new(&kinds, seen, places, desk, metrics, authority).after(stored);
    tokio::select! {
        ended = task.run(token) => ended,
        Some(ended) = watches.join_next() => {
            ended??;
            anyhow::bail!("a watch of the pools ended although nobody asked it to")
        }
    }
}
