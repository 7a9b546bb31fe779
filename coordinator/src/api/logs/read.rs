//! Logs for people: which there are, and their text, also in parts.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use jobmeter_protocol::{LogEntry, LogQuery, LogRead, Page};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::CoordinatorHandle;
use crate::api::error::ApiError;
use crate::api::people::guarded;
use crate::logs::live::LiveError;
use crate::logs::read::{LogText, Range, ReadError};

const STATE: HeaderName = HeaderName::from_static("x-jobmeter-log-state");
const LOCATION: HeaderName = HeaderName::from_static("x-jobmeter-log-location");
const RUN: HeaderName = HeaderName::from_static("x-jobmeter-log-run");
const NOTICE: HeaderName = HeaderName::from_static("x-jobmeter-log-notice");

type Coordinator = State<CoordinatorHandle>;

pub(crate) async fn logs(
    State(coordinator): Coordinator,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Page<LogEntry>>, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| Ok(Json(coordinator.logs(&query::<LogQuery>(&uri)?).await?))).await
}

pub(crate) async fn log(
    State(coordinator): Coordinator,
    Path((namespace, pod)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    guarded(&coordinator, &headers, async |coordinator| {
        let query: LogRead = query(&uri)?;
        let slot = coordinator
            .log_read_slot()
            .ok_or_else(|| ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many logs are being read at a time").later())?;
        let reader = coordinator.log_reader();
        let found = reader.find(&namespace, &pod, &query).await?;
        // RFC 9110, 14.2: a range is of a GET alone.
        let range = if method == Method::GET { range(&headers) } else { None };
        let text = match (reader.open(found, &query, range).await, method) {
            (Ok(text), Method::HEAD) => LogText { body: futures::stream::empty().boxed(), ..text },
            (text, _) => text?,
        };
        Ok(response(coordinator, text, slot))
    })
    .await
}

/// `If-Range` compares with a digest that we would have to know first: who sends it gets the whole.
fn range(headers: &HeaderMap) -> Option<Range> {
    let range = headers.get(header::RANGE).filter(|_| !headers.contains_key(header::IF_RANGE));
    range.and_then(|range| Range::parse(range.to_str().ok()?))
}

fn response(coordinator: &CoordinatorHandle, text: LogText, slot: OwnedSemaphorePermit) -> Response {
    let stop = coordinator.token().cancelled_owned();
    let key = text.log.pod_uid.clone();
    let body = text.body.take_until(stop).map(move |chunk| {
        // The slot is free when the stream is dropped.
        let _held = &slot;
        chunk.inspect_err(|err| tracing::warn!(pod_uid = key, error = err as &dyn std::error::Error, "a log broke off"))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(STATE, HeaderValue::from_static(text.state));
    let mut set = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    };
    set(LOCATION, text.location);
    set(RUN, Some(format!("{}/{}", text.log.container, text.log.attempt)));
    set(NOTICE, text.notice.map(str::to_owned));
    set(header::ETAG, text.sha256.map(|sha256| format!("\"{sha256}\"")));
    if let Some(total) = text.total {
        let bytes = text.range.map_or(total, |(first, last)| last - first + 1);
        set(header::ACCEPT_RANGES, Some("bytes".to_owned()));
        set(header::CONTENT_LENGTH, Some(bytes.to_string()));
        set(header::CONTENT_RANGE, text.range.map(|(first, last)| format!("bytes {first}-{last}/{total}")));
    }
    if text.range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let read = Query::<T>::try_from_uri(uri);
    read.map(|Query(query)| query).map_err(|err| ApiError::new(StatusCode::BAD_REQUEST, err.body_text()).about("query"))
}

impl From<ReadError> for ApiError {
    fn from(err: ReadError) -> Self {
        let text = err.to_string();
        let new = |status| Self::new(status, text.clone());
        match err {
            ReadError::NoPod { namespace, pod } => new(StatusCode::NOT_FOUND)
                .about(format!("{namespace}/{pod}"))
                .hint("`/v1/logs?pod=NAME` finds it by name in all namespaces"),
            ReadError::WhichContainer { .. } => {
                new(StatusCode::BAD_REQUEST).about("container").hint("name one: `?container=NAME`")
            }
            ReadError::NoContainer { .. } => new(StatusCode::NOT_FOUND).about("container"),
            ReadError::NoAttempt { .. } => new(StatusCode::NOT_FOUND).about("attempt"),
            ReadError::NotYet { .. } => new(StatusCode::CONFLICT).hint("ask again in some seconds").later(),
            ReadError::Lost { .. } => new(StatusCode::NOT_FOUND).about("lost"),
            ReadError::Expired { .. } => new(StatusCode::GONE),
            ReadError::NotKept => new(StatusCode::NOT_FOUND),
            ReadError::Range { total } => {
                Self { content_range: Some(format!("bytes */{total}")), ..new(StatusCode::RANGE_NOT_SATISFIABLE) }
            }
            ReadError::Vanished { key } => {
                new(StatusCode::GONE).about(key).hint("somebody else deleted it from the object store")
            }
            ReadError::Live(LiveError::Forbidden { .. }) => new(StatusCode::FORBIDDEN).hint(
                "the coordinator's ServiceAccount needs `get` on `pods/log`; logs of ended pods come from the object store",
            ),
            ReadError::Live(LiveError::NotThere { .. }) => new(StatusCode::CONFLICT).later(),
            ReadError::Live(LiveError::Failed { .. }) => {
                tracing::warn!(error = &err as &dyn std::error::Error, "failed to read a live log");
                new(StatusCode::BAD_GATEWAY)
            }
            ReadError::Store(err) => err.into(),
            ReadError::Object(err) => err.into(),
        }
    }
}
