//! What pods of runs post: results, files, events. batch-job-controller's calls, with a token in the path.
//!
//! ```text
//! POST /report/{node}/{run}/{token}/{result,file,event} ─▶ gate ─▶ quota ─▶ report directory ─▶ runs task ─▶ 200
//! GET  /reports/…                                                              └─▶ people
//! ```
//! In: what pods post. Out: report files, and a word to the runs task for each. Nothing of a body is read before the gate; bodies
//! are streamed, capped, and counted against the run's quota before they are written. Owner: the coordinator that leads; the others
//! pass on what they are sent.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Auth;
use crate::config::runs::CallbacksConfig;
use crate::execute::run_pods::RunEvents;
use crate::metrics::Metrics;
use crate::runs::RunsView;

mod browse;
mod event;
mod file;
mod gate;
pub mod listeners;
mod ports;
mod posted;
mod quota;
mod refusal;
mod result;

/// Files that are being taken in: each is a connection, an open file and some hundred kilobytes.
const UPLOADS: usize = 64;
/// Results: each is in memory as a whole.
const BODIES: usize = 32;
/// Likewise events, each of which may wait for an API server that has no time. Results do not wait for them.
const EVENTS: usize = 16;
/// Files that are being read by people.
const DOWNLOADS: usize = 64;
/// Whoever posts waits so long for a place: a job's script mostly posts once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cheap to clone.
#[derive(Clone)]
pub struct Callbacks(Arc<Shared>);

pub struct CallbacksParts {
    /// `None`: there are no definitions of runs, so nobody is listened to.
    pub config: Option<CallbacksConfig>,
    pub runs: RunsView,
    pub auth: Auth,
    pub metrics: Metrics,
}

struct Shared {
    enabled: bool,
    config: CallbacksConfig,
    runs: RunsView,
    auth: Auth,
    metrics: Metrics,
    events: OnceLock<Arc<dyn RunEvents>>,
    quota: Arc<quota::Quota>,
    results: result::Locks,
    uploads: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    event_bodies: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    patience: Duration,
}

impl Callbacks {
    pub fn new(parts: CallbacksParts) -> Self {
        Self::patient(parts, PATIENCE)
    }

    fn patient(parts: CallbacksParts, patience: Duration) -> Self {
        let CallbacksParts { config, runs, auth, metrics } = parts;
        let slots = |count| Arc::new(Semaphore::new(count));
        Self(Arc::new(Shared {
            enabled: config.is_some(),
            config: config.unwrap_or_default(),
            runs,
            auth,
            metrics,
            events: OnceLock::new(),
            quota: Arc::default(),
            results: result::Locks::default(),
            uploads: slots(UPLOADS),
            bodies: slots(BODIES),
            event_bodies: slots(EVENTS),
            downloads: slots(DOWNLOADS),
            patience,
        }))
    }

    /// Who makes the Events of this term. Until then they are refused with 503. The first one stays.
    pub fn set_events(&self, events: Arc<dyn RunEvents>) {
        self.0.events.get_or_init(|| events);
    }

    /// `/report/…` and `/reports/…`; without definitions nothing.
    pub fn router(&self) -> Router {
        if !self.0.enabled {
            return Router::new();
        }
        Router::new()
            .route("/report/{node}/{run}/{token}/{kind}", post(posted::with_token))
            .route("/report/{node}/{run}/{kind}", post(posted::without_token))
            .route(ports::PATH, get(ports::ports))
            .route("/reports", get(browse::root))
            .route("/reports/", get(browse::root))
            .route("/reports/{*path}", get(browse::below))
            // Each body has a limit of its own.
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    async fn slot(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(self.0.patience, slots.clone().acquire_owned()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests;
