//! Which ports pods are told to call, besides the coordinator's own: those that definitions and runs name.
//!
//! `GET /report/ports` tells them to replicas that do not lead. Open ports are no secret.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Callbacks;
use crate::api::error::ApiError;
use crate::runs::RunsSnapshot;

pub(super) const PATH: &str = "/report/ports";

pub(super) async fn ports(State(callbacks): State<Callbacks>) -> Result<Json<BTreeSet<u16>>, ApiError> {
    match callbacks.0.runs.snapshot() {
        Ok(snapshot) => Ok(Json(named(&snapshot))),
        Err(err) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, err.to_string()).later()),
    }
}

/// Of kept runs too, whatever became of their definitions: their pods may still post.
pub(super) fn named(snapshot: &RunsSnapshot) -> BTreeSet<u16> {
    let of_runs = snapshot.runs.values().filter_map(|run| run.settings.callback_port);
    snapshot.definitions.iter().filter_map(|definition| definition.callback_port).chain(of_runs).collect()
}
