//! The two calls of agents. The token comes first: no body of a stranger is read.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jobmeter_protocol::wire::MAX_BATCH_BYTES;
use jobmeter_protocol::{Heartbeat, HeartbeatReply, ReportReply};

use super::body;
use super::error::ApiError;
use crate::CoordinatorHandle;

pub(super) async fn reports(
    State(coordinator): State<CoordinatorHandle>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReportReply>, ApiError> {
    let reply = async {
        let agent = coordinator.auth().agent(&headers).await?;
        let _slot = coordinator.ingest_slot().ok_or_else(busy)?;
        let bytes = body::read(body, MAX_BATCH_BYTES).await?;
        Ok(coordinator.ingest().bytes(&bytes, agent.node.as_deref(), Timestamp::now()).await?)
    };
    reply.await.map(Json).inspect_err(|err: &ApiError| coordinator.count_refusal(err))
}

pub(super) async fn heartbeat(
    State(coordinator): State<CoordinatorHandle>,
    Path(node): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<HeartbeatReply>, ApiError> {
    let reply = async {
        let agent = coordinator.auth().agent(&headers).await?;
        agent.speaks_for(&node)?;
        let _slot = coordinator.ingest_slot().ok_or_else(busy)?;
        let bytes = body::read(body, MAX_BATCH_BYTES).await?;
        let beat: Heartbeat = serde_json::from_slice(&bytes).map_err(|err| {
            let place = format!("line {} column {}", err.line(), err.column());
            ApiError::new(StatusCode::BAD_REQUEST, format!("the heartbeat is malformed: {err}")).about(place)
        })?;
        Ok(coordinator.heartbeat(&node, beat).await?)
    };
    reply.await.map(Json).inspect_err(|err: &ApiError| coordinator.count_refusal(err))
}

fn busy() -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many reports at a time").later()
}
