//! What every process of ours answers about itself: `/livez`, `/readyz`, `/metrics`, `/status`.
//!
//! Input: the registries, sources and gates that the parts of the process keep up to date; output: a router, to be served
//! alone or merged with others.

mod metrics;
mod readiness;
mod sources;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::Registry;
use serde::Serialize;

pub use readiness::{Gate, Readiness};
pub use sources::{Source, SourceBoard, SourceState};

#[derive(Clone, Default)]
pub struct Admin {
    /// Families of the same name are merged.
    pub registries: Vec<Registry>,
    pub sources: SourceBoard,
    pub readiness: Readiness,
}

#[derive(Serialize)]
struct Status {
    ready: bool,
    not_ready: std::collections::BTreeMap<&'static str, String>,
    sources: std::collections::BTreeMap<&'static str, Source>,
}

pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/status", get(status))
        .with_state(admin)
}

/// Says that the event loop turns, and nothing of what lies beyond the process: a restart would not mend that.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let not_ready = admin.readiness.not_ready();
    if not_ready.is_empty() {
        return "ok\n".into_response();
    }
    let lines: String = not_ready.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn status(State(admin): State<Admin>) -> Json<Status> {
    let not_ready = admin.readiness.not_ready();
    Json(Status { ready: not_ready.is_empty(), not_ready, sources: admin.sources.snapshot() })
}

#[cfg(test)]
mod tests;
