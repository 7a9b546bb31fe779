//! `/v1` over HTTP: agents report, people ask. Names and status codes are part of the contract; each error is JSON with
//! `error`, and where it helps `subject` and `hint`.

use axum::Router;
use axum::routing::{get, post};

use crate::CoordinatorHandle;

mod agents;
pub(crate) mod body;
pub mod error;
mod people;
mod watch;

pub(crate) use watch::Watchers;

pub(crate) fn router(coordinator: CoordinatorHandle) -> Router {
    Router::new()
        .route("/v1/reports", post(agents::reports))
        .route("/v1/nodes/{node}/heartbeat", post(agents::heartbeat))
        .route("/v1/records", get(people::records))
        .route("/v1/records/{uid}", get(people::record))
        .route("/v1/jobs", get(people::jobs))
        .route("/v1/jobs/{namespace}/{name}", get(people::job))
        .route("/v1/nodes", get(people::nodes))
        .route("/v1/live", get(people::live))
        .fallback(people::nothing)
        .method_not_allowed_fallback(people::wrong_method)
        .with_state(coordinator)
}
