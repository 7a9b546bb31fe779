//! Ports besides the coordinator's own: those of batch-job-controller, and those that pods of runs are told to call.
//!
//! In: the configuration, and the ports that definitions and runs name. Out: listeners; behind each is what the coordinator's own
//! port answers, so that a replica which does not lead passes on what comes here too. Owner: the supervisor, a task for each. A port
//! that was opened stays open, and one that cannot be opened is tried again: nothing else waits for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_daemon::supervise::Supervisor;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::runs::CompatiblePorts;
use crate::runs::RunsView;
use board::Board;
use wanted::Wanted;

mod board;
mod paths;
mod wanted;

/// Until a port that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(10);

pub struct ListenerParts {
    pub ports: CompatiblePorts,
    /// Of the coordinator's own listener; those for callbacks are at the same address.
    pub listen: SocketAddr,
    /// What that listener answers.
    pub behind: Router,
    pub sources: SourceBoard,
}

/// Where the ports for callbacks are learned from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallbackPorts(watch::Sender<Option<RunsView>>);

/// Returns at once; ports are opened when they can be. Until [`CallbackPorts::follow`], and wherever the runs are not known, the
/// ports are asked of whoever leads.
pub fn start(parts: ListenerParts, supervisor: &mut Supervisor) -> CallbackPorts {
    let ListenerParts { ports, listen, behind, sources } = parts;
    let (board, token) = (Arc::new(Board::new(sources)), supervisor.token());
    let mut open = |name, address: Option<SocketAddr>, map: paths::Map| {
        if let Some(address) = address {
            let listener = Listener { address, router: paths::only(map, behind.clone()), board: board.clone() };
            supervisor.spawn(name, listener.run(token.clone()));
        }
    };
    open("compatible-files", ports.files, paths::files);
    open("compatible-metrics", ports.metrics, paths::metrics);
    open("compatible-health", ports.health, paths::health);
    let (follow, runs) = watch::channel(None);
    let router = paths::only(paths::callbacks, behind.clone());
    let wanted = Wanted { listen, runs, behind, router, board, spawner: supervisor.spawner() };
    supervisor.spawn("callback-ports", wanted.run(token));
    CallbackPorts(follow)
}

impl CallbackPorts {
    /// From now on the ports are those of this view's snapshots.
    pub fn follow(&self, runs: RunsView) {
        self.0.send_replace(Some(runs));
    }
}

struct Listener {
    address: SocketAddr,
    router: Router,
    board: Arc<Board>,
}

impl Listener {
    async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(err) => self.board.failed(self.address, &err),
            }
            // Cancel-safe: both only wait.
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                () = tokio::time::sleep(AGAIN) => {}
            }
        };
        self.board.open(self.address);
        serve(listener, self.router, ServeOptions::default(), token).await
    }
}

#[cfg(test)]
mod tests;
