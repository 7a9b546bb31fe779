//! Opens the ports that pods are told to call, as they become known. A pod is told of a port only after the snapshot has it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use jobmeter_daemon::supervise::Spawner;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Listener;
use super::board::Board;
use crate::callbacks::ports;
use crate::runs::{RunsSnapshot, RunsView};

/// Between two questions to whoever leads.
const ASK: Duration = Duration::from_secs(5);
/// Of one process.
const MAX_PORTS: usize = 64;
/// Of an answer with all ports there are.
const MAX_ANSWER: usize = 1 << 20;

pub(super) struct Wanted {
    pub(super) listen: SocketAddr,
    pub(super) runs: watch::Receiver<Option<RunsView>>,
    pub(super) behind: Router,
    /// Of each port.
    pub(super) router: Router,
    pub(super) board: Arc<Board>,
    pub(super) spawner: Spawner,
}

type Snapshots = watch::Receiver<Option<Arc<RunsSnapshot>>>;

impl Wanted {
    pub(super) async fn run(mut self, token: CancellationToken) -> anyhow::Result<()> {
        let mut open = BTreeSet::from([self.listen.port()]);
        let mut snapshots: Option<Snapshots> = None;
        loop {
            let known = snapshots.as_mut().and_then(|snapshots| snapshots.borrow_and_update().clone());
            let wanted = match &known {
                Some(snapshot) => ports::named(snapshot),
                None => self.asked().await,
            };
            for port in wanted {
                if !open.contains(&port) && self.open(port, open.len(), &token).await {
                    open.insert(port);
                }
            }
            // Cancel-safe: all of them only wait.
            tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                Ok(()) = self.runs.changed() => {
                    snapshots = self.runs.borrow_and_update().as_ref().map(RunsView::changes);
                }
                () = changed(snapshots.as_mut()) => {}
                () = tokio::time::sleep(ASK), if known.is_none() => {}
            }
        }
    }

    async fn open(&self, port: u16, opened: usize, token: &CancellationToken) -> bool {
        let address = SocketAddr::new(self.listen.ip(), port);
        if opened > MAX_PORTS {
            self.board.failed(address, &format!("{MAX_PORTS} ports for callbacks are the most"));
            return false;
        }
        let listener = Listener { address, router: self.router.clone(), board: self.board.clone() };
        // An error: the process is stopping, which the token says as well.
        self.spawner.spawn("callback-port", listener.run(token.clone())).await.is_ok()
    }

    /// Nothing where nobody leads now; it is asked again.
    async fn asked(&self) -> BTreeSet<u16> {
        let Ok(request) = Request::get(ports::PATH).body(Body::empty()) else { return BTreeSet::new() };
        let Ok(response) = self.behind.clone().oneshot(request).await;
        if !response.status().is_success() {
            return BTreeSet::new();
        }
        match axum::body::to_bytes(response.into_body(), MAX_ANSWER).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => BTreeSet::new(),
        }
    }
}

/// Never, where there are none, or nobody publishes any more.
async fn changed(snapshots: Option<&mut Snapshots>) {
    let gone = match snapshots {
        Some(snapshots) => snapshots.changed().await.is_err(),
        None => true,
    };
    if gone {
        std::future::pending().await
    }
}
