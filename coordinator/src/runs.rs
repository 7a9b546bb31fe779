//! Node runs: keeps the [`Runs`](jobmeter_decide::runs::Runs) of this term in step with the cluster and the store, and does what they
//! decide.
//!
//! ```text
//! definitions, watches, callbacks, people ─▶ Observation ─▶ decide::runs ─▶ changes ─▶ store ─▶ mirror ─▶ RunsView: people, metrics
//!                                                 ▲                          └─▶ steps ─▶ execute::run_pods ─▶ API server
//!                                                 └── answers, time
//! ```
//! In: definitions, pods of runs, nodes, reports, questions. Out: runs and their pods, reports on the disk. Owner: one task; what it
//! knows begins with the store and with lists, and ends with the term.

use std::sync::Arc;

use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::gating::Gating;
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::runs::RunsConfig;
use crate::execute::run_pods::{KubeRunPods, Owner};
use crate::leadership::Authority;
use crate::metrics::Metrics;
use crate::pool::ToPools;
use crate::pool::watches::Watching;
use crate::store::Store;
use crate::webhook::gating::Chosen;
use address::Addresses;
use definition::follow::Following;
use steps::Steps;
use storing::Storing;
use task::{Parts, Task};

pub mod address;
pub mod definition;
mod directories;
pub(crate) mod held;
pub mod mirror;
mod pod_logs;
mod pods;
mod refusing;
pub mod reports;
mod requests;
pub mod run_pod;
mod steps;
mod storing;
pub mod task;
pub mod token;
pub mod view;
mod watches;

pub(crate) use refusing::Without;
pub use token::TokenKey;
pub use view::{ReportRefused, Request, RunsDesk, RunsSnapshot, RunsView};

/// On the board of sources; where there are runs, their definitions are shown there.
const SOURCE: &str = "runs";
/// Observations on the way to the runs.
const OBSERVATIONS: usize = 1024;
/// Readings of the definitions on the way to the runs.
const READINGS: usize = 4;

/// What a cluster's runs are kept with.
pub struct RunsParts {
    pub client: Client,
    pub config: RunsConfig,
    pub gating: Chosen,
    pub store: Store,
    /// Where pods of runs post to.
    pub addresses: Arc<Addresses>,
    /// With whom they go.
    pub owner: Owner,
    pub desk: RunsDesk,
    pub told: ToPools,
    pub sources: SourceBoard,
    pub metrics: Metrics,
}

/// Begins a term.
pub fn start(parts: RunsParts, authority: Authority, supervisor: &mut Supervisor) {
    let token = supervisor.token();
    supervisor.spawn("runs", run(parts, authority, token));
}

/// For one term. Ends with `Ok` once `token` is cancelled; whatever else ends it is an error.
pub async fn run(parts: RunsParts, authority: Authority, token: CancellationToken) -> anyhow::Result<()> {
    let RunsParts { client, config, mut gating, store, addresses, owner, desk, told, sources, metrics } = parts;
    let gating = tokio::select! {
        () = token.cancelled() => return Ok(()),
        chosen = gating.wait_for(Option::is_some) => chosen?.as_ref().map_or(Gating::SchedulingGates, |choice| choice.gating),
    };
    if gating != Gating::SchedulingGates {
        tracing::error!("no runs are begun: {}", refusing::GATES);
        sources.set(SOURCE, SourceState::Failed { error: refusing::GATES.to_owned() });
        return Without::SchedulingGates.run(desk, token).await;
    }
    let (inbox, seen) = mpsc::channel(OBSERVATIONS);
    let (readings, read) = mpsc::channel(READINGS);
    let watching = Watching { client: client.clone(), inbox: inbox.clone(), sources: sources.clone(), metrics: metrics.clone() };
    let following =
        Following { client: client.clone(), sources: config.sources, defaults: config.defaults, board: sources.clone() };
    // Dropped with this future, and the tasks with it.
    let mut watches = JoinSet::new();
    watches.spawn(watches::pods(watching.clone()));
    watches.spawn(watches::nodes(watching));
    watches.spawn(following.run(readings));
    watches.spawn(watches::definitions(read, inbox));

    let mut storing = Storing::new(store, metrics, sources);
    let begun = tokio::select! {
        () = token.cancelled() => return Ok(()),
        begun = storing.begin() => begun?,
    };
    tracing::info!(epoch = authority.epoch(), "runs are kept");
    let pods = Arc::new(KubeRunPods::new(client, begun.key.clone(), addresses, owner));
    let task = Task::new(Parts { seen, steps: Steps::new(pods, authority), storing, begun, desk, told });
    tokio::select! {
        ended = task.run(token) => ended,
        Some(ended) = watches.join_next() => {
            ended??;
            anyhow::bail!("a watch of the runs ended although nobody asked it to")
        }
    }
}
