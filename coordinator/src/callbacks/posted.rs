//! One request of a pod, from the gate to the answer.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::gate::{Admitted, Asked, GateError, admit};
use super::refusal::{TellError, response};
use super::{Callbacks, event, file, result};
use crate::api::error::ApiError;
use crate::runs::view::Posted;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Result,
    File,
    Event,
}

pub(super) async fn with_token(
    State(callbacks): State<Callbacks>,
    Path((node, run, token, kind)): Path<(String, String, String, String)>,
    request: Request,
) -> Response {
    callbacks.posted(&kind, Asked { node: &node, run: &run, token: Some(&token) }, request).await
}

pub(super) async fn without_token(
    State(callbacks): State<Callbacks>,
    Path((node, run, kind)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    callbacks.posted(&kind, Asked { node: &node, run: &run, token: None }, request).await
}

impl Callbacks {
    async fn posted(&self, kind: &str, asked: Asked<'_>, request: Request) -> Response {
        let Some(kind) = Kind::parse(kind) else {
            let error = ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path");
            return error.hint("what can be posted is a result, a file or an event").into_response();
        };
        let (taken, compatible) = match admit(&self.0.runs, self.0.config.token_required, asked) {
            Err(refused) => (Err(refused.error.into()), refused.compatible),
            Ok(admitted) => {
                let taken = self.take_to_its_end(kind, &admitted, request).await;
                (taken.map_err(|error| forgotten(error, &admitted)), admitted.compatible())
            }
        };
        let status = taken.as_ref().map_or_else(|err: &ApiError| err.status, |_| StatusCode::OK);
        self.0.metrics.run_report(kind.as_str(), outcome(status), taken.as_ref().map_or(0, |bytes| *bytes));
        match taken {
            Ok(_) => StatusCode::OK.into_response(),
            Err(error) => {
                self.0.metrics.refused(error.status.as_u16());
                tracing::debug!(node = asked.node, run = asked.run, kind = kind.as_str(), %status, why = error.body.error, "refused a report");
                response(error, compatible)
            }
        }
    }

    /// Who hangs up before the answer has posted it all the same: what was written is counted, and no order is turned round. A body
    /// that is not whole breaks off by itself.
    async fn take_to_its_end(&self, kind: Kind, admitted: &Admitted, request: Request) -> Result<u64, ApiError> {
        let (callbacks, admitted) = (self.clone(), admitted.clone());
        let taken = tokio::spawn(async move { callbacks.take(kind, &admitted, request).await }).await;
        taken.unwrap_or_else(|panicked| {
            tracing::error!(error = &panicked as &dyn std::error::Error, "taking in a report failed");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the report could not be taken in")
                .hint("see the coordinator's log"))
        })
    }

    /// Returns how many bytes were taken in.
    async fn take(&self, kind: Kind, admitted: &Admitted, request: Request) -> Result<u64, ApiError> {
        match kind {
            Kind::Result => result::take(self, admitted, request.into_body()).await,
            Kind::File => file::take(self, admitted, request).await,
            Kind::Event => event::take(self, admitted, request.into_body()).await,
        }
    }

    /// Durable when it answers.
    pub(super) async fn tell(&self, admitted: &Admitted, what: Posted) -> Result<(), TellError> {
        self.0.runs.report(admitted.id(), &admitted.node, admitted.attempt, what).await??;
        Ok(())
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        [Self::Result, Self::File, Self::Event].into_iter().find(|kind| kind.as_str() == text)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::File => "file",
            Self::Event => "event",
        }
    }
}

/// A run that went while it was posted to is as unknown as one that was never there.
fn forgotten(error: ApiError, admitted: &Admitted) -> ApiError {
    let is_unknown = error.status == StatusCode::NOT_FOUND && error.body.subject.as_deref() == Some(admitted.id());
    if is_unknown && admitted.compatible() { GateError::NotAllowed.into() } else { error }
}

fn outcome(status: StatusCode) -> &'static str {
    match status {
        StatusCode::OK => "accepted",
        StatusCode::NOT_FOUND | StatusCode::NOT_ACCEPTABLE | StatusCode::FORBIDDEN => "not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::TOO_MANY_REQUESTS => "too_many",
        status if status.is_client_error() => "invalid",
        _ => "failed",
    }
}
