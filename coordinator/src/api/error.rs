//! What a refused request is told: a status code that means what HTTP says, what is wrong, with what, and what to do.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::auth::AuthError;
use crate::handle::HeartbeatError;
use crate::ingest::IngestError;
use crate::store::logs::LogFilterError;
use crate::store::runs::RunFilterError;
use crate::store::{FilterError, StoreError};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: String,
    /// What it is about: a field, a name, a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub body: ErrorBody,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
    /// With 416: how long the thing is.
    pub content_range: Option<String>,
}

/// A disk that is full or a queue that is long is not gone within milliseconds.
const RETRY_AFTER: u32 = 5;

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody { error: error.into(), subject: None, hint: None },
            retry_after: None,
            content_range: None,
        }
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.body.subject = Some(subject.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    pub(crate) fn later(mut self) -> Self {
        self.retry_after = Some(RETRY_AFTER);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(range) = self.content_range.and_then(|range| HeaderValue::from_str(&range).ok()) {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(err: AuthError) -> Self {
        let text = err.to_string();
        match err {
            AuthError::NoToken => Self::new(StatusCode::UNAUTHORIZED, text).hint(
                "send `Authorization: Bearer TOKEN`, or `X-Jobmeter-Authorization: Bearer TOKEN` through the API server's proxy",
            ),
            AuthError::Invalid { .. } => Self::new(StatusCode::UNAUTHORIZED, text),
            AuthError::NotAnAgent { who } => Self::new(StatusCode::FORBIDDEN, text)
                .about(who)
                .hint("the coordinator's `auth.agents` names the agents' ServiceAccount"),
            AuthError::NotBound => {
                Self::new(StatusCode::FORBIDDEN, text).hint("use a projected ServiceAccount token, which is bound to its pod")
            }
            AuthError::OtherNode { node, .. } => Self::new(StatusCode::FORBIDDEN, text).about(node),
            AuthError::Closed => Self::new(StatusCode::FORBIDDEN, text),
            AuthError::NoOperators => Self::new(StatusCode::FORBIDDEN, text).hint(
                "name a file with a token in `auth.operatorTokenFile`; in a cluster with definitions of runs the coordinator makes the \
                 Secret jobmeter-operator",
            ),
            AuthError::Unavailable { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, text).later(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(err: StoreError) -> Self {
        let err = match err {
            StoreError::Query(query) => return query.into(),
            StoreError::LogQuery(query) => return query.into(),
            StoreError::RunQuery(query) => return query.into(),
            err => err,
        };
        tracing::error!(error = &err as &dyn std::error::Error, "record store failed");
        let hint = match &err {
            StoreError::Full { .. } => "free space on the coordinator's volume; agents keep their reports meanwhile",
            _ => "see the coordinator's log; agents keep their reports meanwhile",
        };
        // The path is the operator's business and stands in the log.
        let text = if matches!(err, StoreError::Full { .. }) {
            "the disk of the record store is full"
        } else {
            "the record store failed"
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text).hint(hint).later()
    }
}

impl From<FilterError> for ApiError {
    fn from(err: FilterError) -> Self {
        let subject = match &err {
            FilterError::Selector(_) => "selector",
            FilterError::State { .. } => "state",
            FilterError::Limit { .. } => "limit",
            FilterError::Cursor(_) | FilterError::OtherSort { .. } => "after",
        };
        Self::new(StatusCode::BAD_REQUEST, err.to_string()).about(subject)
    }
}

impl From<LogFilterError> for ApiError {
    fn from(err: LogFilterError) -> Self {
        let subject = match &err {
            LogFilterError::State { .. } => "state",
            LogFilterError::Limit { .. } => "limit",
            LogFilterError::Cursor { .. } => "after",
        };
        Self::new(StatusCode::BAD_REQUEST, err.to_string()).about(subject)
    }
}

impl From<RunFilterError> for ApiError {
    fn from(err: RunFilterError) -> Self {
        let subject = match &err {
            RunFilterError::Limit { .. } => "limit",
            RunFilterError::After { .. } => "after",
        };
        Self::new(StatusCode::BAD_REQUEST, err.to_string()).about(subject)
    }
}

impl From<IngestError> for ApiError {
    fn from(err: IngestError) -> Self {
        let text = err.to_string();
        match err {
            IngestError::Json(source) => Self::new(StatusCode::BAD_REQUEST, format!("{text}: {source}")).about(format!(
                "line {} column {}",
                source.line(),
                source.column()
            )),
            IngestError::Version { .. } => {
                Self::new(StatusCode::BAD_REQUEST, text).about("version").hint("run agent and coordinator of the same release")
            }
            IngestError::Node { .. } => Self::new(StatusCode::BAD_REQUEST, text).about("node"),
            IngestError::OtherNode { sender, .. } => Self::new(StatusCode::FORBIDDEN, text).about(sender),
            IngestError::TooMany { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text).hint("send it in parts"),
            IngestError::Store(err) => err.into(),
        }
    }
}

impl From<HeartbeatError> for ApiError {
    fn from(err: HeartbeatError) -> Self {
        let text = err.to_string();
        match err {
            HeartbeatError::Version { .. } => {
                Self::new(StatusCode::BAD_REQUEST, text).about("version").hint("run agent and coordinator of the same release")
            }
            HeartbeatError::Node { .. } | HeartbeatError::OtherNode { .. } => {
                Self::new(StatusCode::BAD_REQUEST, text).about("node")
            }
            HeartbeatError::TooManyPods { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text).about("live"),
            HeartbeatError::TooManyNodes(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, text).later(),
        }
    }
}
