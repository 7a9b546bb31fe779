//! The calls of agents about logs. The token comes first; the bytes of a piece are passed on as they come.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, ObjectKind, Piece, TargetsReply, TargetsRequest,
    TicketReply, TicketRequest,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::body;
use super::error::ApiError;
use crate::CoordinatorHandle;
use crate::auth::Agent;
use crate::logs::{LogError, MAX_PIECE, PieceTarget};
use crate::objects::ObjectError;

pub(super) mod read;

/// A completion has the times of the lines in it.
const MAX_BODY: usize = 4 * 1024 * 1024;

type Coordinator = State<CoordinatorHandle>;

pub(super) async fn ticket(
    State(coordinator): Coordinator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TicketReply>, ApiError> {
    let reply = async {
        let (agent, _slot, request) = read::<TicketRequest>(&coordinator, &headers, body).await?;
        agent.speaks_for(&request.node)?;
        Ok(coordinator.log_ticket(&request).await?)
    };
    counted(&coordinator, "ticket", reply.await, |reply| match reply {
        TicketReply::Ticket { .. } => "ticket",
        TicketReply::Stored { .. } => "stored",
        TicketReply::NotAJob { .. } => "not_a_job",
        TicketReply::Later { .. } => "later",
        TicketReply::Rejected { .. } => "rejected",
    })
}

pub(super) async fn multipart(
    State(coordinator): Coordinator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MultipartReply>, ApiError> {
    let reply = async {
        let (agent, _slot, request) = read::<MultipartRequest>(&coordinator, &headers, body).await?;
        agent.speaks_for(&request.node)?;
        Ok(coordinator.log_multipart(&request).await?)
    };
    counted(&coordinator, "multipart", reply.await, |_| "done")
}

pub(super) async fn targets(
    State(coordinator): Coordinator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TargetsReply>, ApiError> {
    let reply = async {
        let (agent, _slot, request) = read::<TargetsRequest>(&coordinator, &headers, body).await?;
        agent.speaks_for(&request.node)?;
        Ok(coordinator.log_targets(&request).await?)
    };
    counted(&coordinator, "targets", reply.await, |_| "done")
}

pub(super) async fn complete(
    State(coordinator): Coordinator,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CompleteReply>, ApiError> {
    let reply = async {
        let (agent, _slot, request) = read::<CompleteRequest>(&coordinator, &headers, body).await?;
        agent.speaks_for(&request.node)?;
        Ok(coordinator.log_complete(&request).await?)
    };
    counted(&coordinator, "complete", reply.await, |reply| match reply {
        CompleteReply::Done => "done",
        CompleteReply::Again { .. } => "again",
        CompleteReply::Later { .. } => "later",
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutQuery {
    kind: ObjectKind,
    #[serde(default)]
    multipart: Option<String>,
    part: u32,
}

pub(super) async fn put(
    State(coordinator): Coordinator,
    Path((pod_uid, container, attempt)): Path<(String, String, u32)>,
    Query(query): Query<PutQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let put = async {
        let agent = coordinator.auth().agent(&headers).await?;
        let piece = Piece { number: query.part, bytes: length(&headers)?, md5: md5(&headers)? };
        let target = PieceTarget { pod_uid, container, attempt, kind: query.kind, multipart: query.multipart, piece };
        let _slot = coordinator.log_piece_slot().ok_or_else(busy)?;
        let key = target.pod_uid.clone();
        let chunks = body.into_data_stream().map(move |chunk| {
            chunk.map_err(|err| ObjectError::Mismatch { key: key.clone(), why: format!("the body broke off: {err}") })
        });
        Ok(coordinator.log_piece(&target, agent.node.as_deref(), chunks.boxed()).await?)
    };
    let etag: Result<String, ApiError> = put.await;
    let etag = counted(&coordinator, "put", etag, |_| "done")?.0;
    let value = HeaderValue::from_str(&etag).map_err(|_| {
        ApiError::new(StatusCode::BAD_GATEWAY, "the store gave an ETag that no header can hold").about(etag.clone())
    })?;
    Ok(([(header::ETAG, value)], StatusCode::OK).into_response())
}

fn length(headers: &HeaderMap) -> Result<u64, ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        // Clients send none with a body that they know to be empty (RFC 9112, 6.3: then it is).
        None if !headers.contains_key(header::TRANSFER_ENCODING) && !headers.contains_key(header::CONTENT_LENGTH) => Ok(0),
        None => Err(ApiError::new(StatusCode::LENGTH_REQUIRED, "a piece needs a Content-Length").about("Content-Length")),
        Some(length) if length > MAX_PIECE => {
            let why = format!("a piece of {length} bytes; {MAX_PIECE} are the most");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, why).hint("send it in parts"))
        }
        Some(length) => Ok(length),
    }
}

fn md5(headers: &HeaderMap) -> Result<String, ApiError> {
    let md5 = headers.get("content-md5").and_then(|value| value.to_str().ok());
    let missing = || ApiError::new(StatusCode::BAD_REQUEST, "a piece needs its Content-MD5").about("Content-MD5");
    md5.map(str::to_owned).ok_or_else(missing)
}

async fn read<Q: DeserializeOwned>(
    coordinator: &CoordinatorHandle,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Agent, OwnedSemaphorePermit, Q), ApiError> {
    let agent = coordinator.auth().agent(headers).await?;
    let slot = coordinator.log_slot().ok_or_else(busy)?;
    let bytes = body::read(body, MAX_BODY).await?;
    let request = serde_json::from_slice(&bytes).map_err(|err| {
        let place = format!("line {} column {}", err.line(), err.column());
        ApiError::new(StatusCode::BAD_REQUEST, format!("the request is malformed: {err}")).about(place)
    })?;
    Ok((agent, slot, request))
}

fn counted<R>(
    coordinator: &CoordinatorHandle,
    call: &str,
    reply: Result<R, ApiError>,
    word: impl FnOnce(&R) -> &'static str,
) -> Result<Json<R>, ApiError> {
    let answer = reply.as_ref().map_or("refused", word);
    coordinator.metrics().log_call(call, answer);
    reply.map(Json).inspect_err(|err| coordinator.count_refusal(err))
}

fn busy() -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many calls about logs at a time").later()
}

impl From<LogError> for ApiError {
    fn from(err: LogError) -> Self {
        let text = err.to_string();
        match err {
            LogError::Disabled => Self::new(StatusCode::FORBIDDEN, text),
            LogError::Version { .. } => {
                Self::new(StatusCode::BAD_REQUEST, text).about("version").hint("run agent and coordinator of the same release")
            }
            LogError::Invalid { subject, .. } => Self::new(StatusCode::BAD_REQUEST, text).about(subject),
            LogError::NoTicket { .. } => Self::new(StatusCode::CONFLICT, text).hint("POST /v1/logs/tickets"),
            LogError::OtherNode { .. } => Self::new(StatusCode::FORBIDDEN, text),
            LogError::Store(err) => err.into(),
            LogError::Object(err) => err.into(),
        }
    }
}

impl From<ObjectError> for ApiError {
    fn from(err: ObjectError) -> Self {
        let text = err.to_string();
        let hint = "see the coordinator's log; agents keep their logs meanwhile";
        match err {
            ObjectError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, text),
            ObjectError::Mismatch { .. } => Self::new(StatusCode::BAD_REQUEST, text),
            ObjectError::Full { .. } => Self::new(StatusCode::INSUFFICIENT_STORAGE, text).hint(hint).later(),
            ObjectError::Unusable { .. } | ObjectError::Refused { .. } | ObjectError::Failed { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, text).hint(hint).later()
            }
        }
    }
}
