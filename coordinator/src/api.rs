//! `/v1` over HTTP: agents report, people ask. Names and status codes are part of the contract; each error is JSON with
//! `error`, and where it helps `subject` and `hint`.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

use crate::CoordinatorHandle;

mod agents;
pub(crate) mod body;
pub mod error;
pub mod follower;
mod logs;
mod people;
mod pools;
mod runs;
mod watch;

pub(crate) use watch::Watchers;

pub(crate) fn router(coordinator: CoordinatorHandle) -> Router {
    let routes = Router::new()
        .route("/v1/reports", post(agents::reports))
        .route("/v1/nodes/{node}/heartbeat", post(agents::heartbeat))
        .route("/v1/records", get(people::records))
        .route("/v1/records/{uid}", get(people::record))
        .route("/v1/jobs", get(people::jobs))
        .route("/v1/jobs/{namespace}/{name}", get(people::job))
        .route("/v1/nodes", get(people::nodes))
        .route("/v1/live", get(people::live))
        .route("/v1/pools", get(pools::pools))
        .route("/v1/pools/{name}", get(pools::pool))
        .route("/v1/runs", get(runs::runs).post(runs::start))
        .route("/v1/runs/{id}", get(runs::run))
        .route("/v1/runs/{id}/results", get(runs::results))
        .route("/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/v1/runs/{id}/retry", post(runs::retry))
        .route("/v1/run-definitions", get(runs::definitions))
        .route("/v1/logs", get(logs::read::logs))
        .route("/v1/logs/{namespace}/{pod}", get(logs::read::log))
        .route("/v1/logs/tickets", post(logs::ticket))
        .route("/v1/logs/multipart", post(logs::multipart))
        .route("/v1/logs/targets", post(logs::targets))
        .route("/v1/logs/complete", post(logs::complete))
        .route("/v1/logs/data/{pod_uid}/{container}/{attempt}", put(logs::put))
        .fallback(people::nothing)
        .method_not_allowed_fallback(people::wrong_method)
        .with_state(coordinator.clone())
        .merge(coordinator.callbacks().router());
    match coordinator.follower() {
        Some(_) => routes.layer(from_fn_with_state(coordinator, follower::layer)),
        None => routes,
    }
}
