//! What whoever posts is told: a status code and a sentence. As JSON, or as the bare sentence where batch-job-controller's users ask.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::event::PostEventError;
use super::file::{FileError, NameError};
use super::gate::GateError;
use super::quota::OverQuota;
use super::result::ResultError;
use crate::api::error::ApiError;
use crate::execute::run_pods::EventError;
use crate::runs::{ReportRefused, view};

/// What was taken in is told to the runs task; why that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TellError {
    #[error(transparent)]
    NotHere(#[from] view::Unknown),
    #[error(transparent)]
    Refused(#[from] ReportRefused),
}

pub(super) fn response(error: ApiError, compatible: bool) -> Response {
    if !compatible {
        return error.into_response();
    }
    let (status, later) = (error.status, error.retry_after);
    let mut response = (status, error.body.error).into_response();
    if let Some(seconds) = later {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) fn busy() -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many reports of pods are being taken in at a time").later()
}

impl From<GateError> for ApiError {
    fn from(err: GateError) -> Self {
        let new = |status| Self::new(status, err.to_string());
        match &err {
            GateError::NotHere => new(StatusCode::SERVICE_UNAVAILABLE).later(),
            GateError::NotAllowed => new(StatusCode::NOT_ACCEPTABLE),
            GateError::NoRun { run } => new(StatusCode::NOT_FOUND).about(run),
            GateError::NoNode { node, .. } => new(StatusCode::NOT_FOUND).about(node),
            GateError::Token { node, .. } => {
                new(StatusCode::FORBIDDEN).about(node).hint("post to the URLs in the environment of the pod, as they are")
            }
            GateError::NoToken { node, .. } => new(StatusCode::FORBIDDEN)
                .about(node)
                .hint("post to the URLs in the environment of the pod, as they are; or let the coordinator require no token"),
        }
    }
}

impl From<TellError> for ApiError {
    fn from(err: TellError) -> Self {
        let new = |status| Self::new(status, err.to_string());
        match &err {
            TellError::NotHere(_) | TellError::Refused(ReportRefused::NotStored) => new(StatusCode::SERVICE_UNAVAILABLE).later(),
            TellError::Refused(ReportRefused::Unknown { run, .. }) => new(StatusCode::NOT_FOUND).about(run),
        }
    }
}

impl From<ResultError> for ApiError {
    fn from(err: ResultError) -> Self {
        let text = err.to_string();
        match err {
            ResultError::Json(_) | ResultError::Empty | ResultError::Name { .. } => Self::new(StatusCode::BAD_REQUEST, text),
            ResultError::Save { file, source } => unsaved(text, &file, &source),
            ResultError::Tell(err) => err.into(),
        }
    }
}

impl From<NameError> for ApiError {
    fn from(err: NameError) -> Self {
        let status = match err {
            NameError::Taken { .. } => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, err.to_string()).about("name")
    }
}

impl From<OverQuota> for ApiError {
    fn from(err: OverQuota) -> Self {
        let status = match err {
            OverQuota::Events { .. } => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self::new(status, err.to_string())
    }
}

impl From<FileError> for ApiError {
    fn from(err: FileError) -> Self {
        let text = err.to_string();
        match err {
            FileError::Name(err) => err.into(),
            FileError::Quota(err) => err.into(),
            FileError::TooLarge { .. } | FileError::FormTooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text),
            FileError::BrokenOff { .. } | FileError::Form { .. } | FileError::NoFile => Self::new(StatusCode::BAD_REQUEST, text),
            FileError::Stalled(_) => Self::new(StatusCode::REQUEST_TIMEOUT, text),
            FileError::Save { file, source } => unsaved(text, &file, &source),
            FileError::Tell(err) => err.into(),
        }
    }
}

impl From<PostEventError> for ApiError {
    fn from(err: PostEventError) -> Self {
        let text = err.to_string();
        let new = |status| Self::new(status, text.clone());
        match err {
            PostEventError::Quota(err) => err.into(),
            PostEventError::Tell(err) => err.into(),
            PostEventError::NoPod { node, .. } => new(StatusCode::NOT_FOUND).about(node),
            PostEventError::NotHere => new(StatusCode::SERVICE_UNAVAILABLE).later(),
            PostEventError::Write(EventError::Unknown { .. }) => new(StatusCode::SERVICE_UNAVAILABLE).later(),
            PostEventError::Write(_) => new(StatusCode::INTERNAL_SERVER_ERROR),
            PostEventError::Json(_)
            | PostEventError::NoReason
            | PostEventError::Reason
            | PostEventError::NoMessage
            | PostEventError::Long { .. } => new(StatusCode::BAD_REQUEST),
        }
    }
}

/// The path stands in the log: it is the operator's business.
fn unsaved(text: String, file: &str, source: &std::io::Error) -> ApiError {
    tracing::error!(file, error = source as &dyn std::error::Error, "failed to save what a pod posted");
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            let hint = "free space in the report directory";
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, format!("{text}: the disk is full")).hint(hint).later()
        }
        _ => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text).hint("see the coordinator's log"),
    }
}
