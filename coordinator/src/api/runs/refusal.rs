//! What a refused question about runs is told.

use axum::http::StatusCode;
use jobmeter_decide::runs::Refusal;

use super::super::error::ApiError;
use super::missing;
use crate::handle::runs::RunCommandError;
use crate::runs::view::Unknown;

impl From<Unknown> for ApiError {
    fn from(err: Unknown) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, err.to_string())
            .hint("definitions, nodes and pods are read first; /status says what is missing")
            .later()
    }
}

impl From<RunCommandError> for ApiError {
    fn from(err: RunCommandError) -> Self {
        match err {
            RunCommandError::Unknown(err) => err.into(),
            RunCommandError::Refused(refusal) => refusal.into(),
            err @ RunCommandError::NoAnswer => Self::new(StatusCode::SERVICE_UNAVAILABLE, err.to_string())
                .hint("`GET /v1/runs` says whether it was; ask again only if it was not")
                .later(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let conflict = |subject: String| Self::new(StatusCode::CONFLICT, text.clone()).about(subject);
        match refusal {
            Refusal::NotReady => Unknown.into(),
            Refusal::NoSuchDefinition { name, known } => Self::new(StatusCode::NOT_FOUND, "there is no definition of this name")
                .about(name)
                .hint(format!("there are: {known}")),
            Refusal::NoSuchRun { run } => missing(&run),
            Refusal::Over { run, .. } => conflict(run).hint("a run that is over can be retried"),
            Refusal::NotOver { run } | Refusal::NothingToRetry { run } => conflict(run),
            Refusal::Overlaps { run, .. } => conflict(run).hint("cancel that run, or wait for its end"),
            Refusal::NoNodes { definition, .. } => conflict(definition),
            Refusal::NotItsNode { node, .. } => Self::new(StatusCode::BAD_REQUEST, text).about(node),
        }
    }
}
