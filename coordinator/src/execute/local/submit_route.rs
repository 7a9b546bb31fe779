//! `POST /v1/jobs`: Job manifests in, the names of the submitted jobs out. Whoever calls it runs commands on this machine,
//! so it asks for a token also where reading is open.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jobmeter_daemon::token::{TokenFile, bearer};
use jobmeter_protocol::{SubmitReply, SubmittedJob};
use tracing::info;

use super::{JobRef, LocalExecutor, SubmitError};
use crate::CoordinatorHandle;
use crate::api::body;
use crate::api::error::ApiError;
use crate::auth::AuthError;

#[derive(Clone)]
struct Submission {
    executor: LocalExecutor,
    token: Arc<TokenFile>,
    /// Counts what is refused.
    coordinator: CoordinatorHandle,
}

/// To be merged with the coordinator's own routes.
pub fn submit_route(executor: LocalExecutor, token: Arc<TokenFile>, coordinator: CoordinatorHandle) -> Router {
    Router::new().route("/v1/jobs", post(submit)).with_state(Submission { executor, token, coordinator })
}

async fn submit(State(submission): State<Submission>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    submission.take(&headers, body).await.inspect_err(|err| submission.coordinator.count_refusal(err))
}

impl Submission {
    /// The token comes first: no body of a stranger is read.
    async fn take(&self, headers: &HeaderMap, body: Body) -> Result<Response, ApiError> {
        let presented = bearer(headers).ok_or(AuthError::NoToken)?;
        let secret = self.token.current().map_err(|error| AuthError::Unavailable { why: error.to_string() })?;
        if !secret.matches(presented) {
            return Err(AuthError::Invalid { why: "it is not the one of this coordinator".to_owned() }.into());
        }
        let body = body::read(body, jobmeter_jobfile::MAX_TEXT_BYTES).await?;
        let text = std::str::from_utf8(&body).map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))?;
        let file = jobmeter_jobfile::read("body", text)
            .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()).about("the manifests"))?;
        let unenforced = self.executor.unenforced(&file.jobs).map(str::to_owned);
        let notices = file.notices.iter().map(ToString::to_string).chain(unenforced).collect();
        let jobs = self.executor.submit(file.jobs).await?;
        info!(jobs = jobs.len(), "jobs submitted");
        let named = |job: JobRef| SubmittedJob { namespace: job.namespace, name: job.name, uid: job.uid };
        let reply = SubmitReply { jobs: jobs.into_iter().map(named).collect(), notices };
        Ok((StatusCode::CREATED, axum::Json(reply)).into_response())
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let text = error.to_string();
        match error {
            SubmitError::AlreadyExists { .. } => {
                Self::new(StatusCode::CONFLICT, text).hint("wait for it to end, or use `generateName`")
            }
            SubmitError::NamedTwice { .. } => Self::new(StatusCode::CONFLICT, text),
            SubmitError::NoSuchPool { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, text),
            SubmitError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, text),
        }
    }
}
