//! Puts a coordinator together, in three steps: [`prepare`](prepare()) makes what needs no store, [`Prepared::open`] is what every
//! replica does (answer from the store), [`Opened::lead`] is what only the one that leads does (watches, chases, upkeep, exports,
//! pools). [`start`] does all, where there is nobody else.
//!
//! Every task is the supervisor's; the only threads are those of the store.

use jobmeter_daemon::supervise::Supervisor;

use crate::config::CoordinatorConfig;
use crate::handle::CoordinatorHandle;
use crate::leadership::Authority;
use crate::store::OpenError;
use crate::webhook::WebhookError;
use crate::world::PodSource;

mod base;
mod cluster;
mod exports;
mod front;
mod lead;
mod levels;
mod open;
mod pools;
mod prepare;
pub mod replica;
mod runs;

pub use base::Base;
pub use open::Opened;
pub use prepare::{Opening, Prepared, prepare};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to create the data directory {}", path.display())]
    DataDir {
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("failed to make an HTTP client for the Pushgateway")]
    Pushgateway(#[source] reqwest::Error),
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    #[error("agents are to be checked by TokenReview, and there is no API server")]
    NoApiServer,
}

/// A coordinator without others beside it. To be called within a tokio runtime. The store is open when it returns; the cluster's
/// lists come later (`/readyz`).
pub fn start(config: CoordinatorConfig, pods: PodSource, supervisor: &mut Supervisor) -> Result<CoordinatorHandle, StartError> {
    let authority = Authority::alone();
    let mut prepared = prepare(config, Base::default())?;
    if let PodSource::Kube(client) = &pods {
        prepared.review(client, supervisor)?;
    }
    let store = prepared.opening().leading(authority.epoch())?;
    let client = match &pods {
        PodSource::Kube(client) => Some(client.clone()),
        PodSource::Local(_) => None,
    };
    prepared.open(store, client, None, supervisor)?.lead(authority, pods, supervisor)
}
