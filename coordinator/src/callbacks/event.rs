//! Events: what a pod wants `kubectl describe` to say of it.

use axum::body::Body;
use serde::Deserialize;
use serde_json::Value;

use super::Callbacks;
use super::gate::Admitted;
use super::quota::OverQuota;
use super::refusal::{TellError, busy};
use crate::api::body;
use crate::api::error::ApiError;
use crate::execute::run_pods::{EventError, PodEvent};
use crate::runs::view::Posted;

mod format;

const MAX_BODY: usize = 64 << 10;
/// Of the API server.
const MAX_WORD: usize = 128;

#[derive(Debug, thiserror::Error)]
pub(super) enum PostEventError {
    #[error("error decoding event: {0}")]
    Json(#[from] serde_json::Error),
    #[error("reason must not be empty")]
    NoReason,
    #[error("reason must begin with an upper-case letter, such as DiskFull")]
    Reason,
    #[error("message must not be empty")]
    NoMessage,
    #[error("{word} has {found} bytes; {MAX_WORD} are the most")]
    Long { word: &'static str, found: usize },
    #[error(transparent)]
    Quota(#[from] OverQuota),
    #[error("no coordinator writes Events yet")]
    NotHere,
    /// The first words are batch-job-controller's.
    #[error("error finding pod: there is no pod of node {node} in run {run} any more")]
    NoPod { run: String, node: String },
    #[error(transparent)]
    Write(EventError),
    #[error(transparent)]
    Tell(#[from] TellError),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    warning: Option<bool>,
    action: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    args: Option<Vec<Value>>,
}

pub(super) async fn take(callbacks: &Callbacks, admitted: &Admitted, body: Body) -> Result<u64, ApiError> {
    let shared = &callbacks.0;
    let _slot = callbacks.slot(&shared.event_bodies).await.ok_or_else(busy)?;
    let bytes = body::read(body, MAX_BODY).await?;
    post(callbacks, admitted, &bytes).await?;
    Ok(bytes.len() as u64)
}

async fn post(callbacks: &Callbacks, admitted: &Admitted, bytes: &[u8]) -> Result<(), PostEventError> {
    let shared = &callbacks.0;
    let event = parse(bytes)?;
    let (run, node) = (admitted.id().to_owned(), admitted.node.clone());
    let mut reservation = shared.quota.begin(&shared.config, &shared.runs, admitted);
    reservation.event()?;
    let events = shared.events.get().ok_or(PostEventError::NotHere)?;
    let event = PodEvent { namespace: admitted.settings.namespace.clone(), pod: admitted.pod.clone(), ..event };
    events.post(event).await.map_err(|err| match err {
        EventError::NoPod { .. } => PostEventError::NoPod { run, node },
        err => PostEventError::Write(err),
    })?;
    Ok(callbacks.tell(admitted, Posted::Event).await?)
}

/// Without namespace and pod.
fn parse(bytes: &[u8]) -> Result<PodEvent, PostEventError> {
    let read: Option<Written> = serde_json::from_slice(bytes)?;
    let Written { warning, action, reason, message, args } = read.unwrap_or_default();
    let reason = reason.filter(|reason| !reason.is_empty()).ok_or(PostEventError::NoReason)?;
    let message = message.filter(|message| !message.is_empty()).ok_or(PostEventError::NoMessage)?;
    if !reason.starts_with(|first: char| first.is_ascii_uppercase()) {
        return Err(PostEventError::Reason);
    }
    for (word, text) in [("reason", Some(&reason)), ("action", action.as_ref())] {
        if let Some(found) = text.map(String::len).filter(|length| *length > MAX_WORD) {
            return Err(PostEventError::Long { word, found });
        }
    }
    let note = format::note(message, &args.unwrap_or_default());
    let (namespace, pod) = Default::default();
    Ok(PodEvent { namespace, pod, warning: warning.unwrap_or(false), reason, action, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_is_wrong_with_it() {
        for (body, said) in [
            ("", "error decoding event: "),
            ("[1]", "error decoding event: "),
            (r#"{"reason":1}"#, "error decoding event: "),
            ("null", "reason must not be empty"),
            ("{}", "reason must not be empty"),
            (r#"{"reason":"lower","message":"m"}"#, "reason must begin with an upper-case letter"),
            (r#"{"reason":"R","message":""}"#, "message must not be empty"),
            (r#"{"reason":"R"}"#, "message must not be empty"),
        ] {
            let error = parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(said), "{body}: {error}");
        }
        let long = format!(r#"{{"reason":"R{}","message":"m"}}"#, "x".repeat(128));
        assert_eq!(parse(long.as_bytes()).unwrap_err().to_string(), "reason has 129 bytes; 128 are the most");
    }

    #[test]
    fn an_event_of_the_original_is_read_as_it_was_meant() {
        let event = parse(br#"{"warning":true,"reason":"DiskFull","message":"100% full","args":null,"more":1}"#).unwrap();
        assert_eq!((event.warning, event.reason.as_str(), event.note.as_str()), (true, "DiskFull", "100% full"));
        assert_eq!(event.action, None);
        let event = parse(br#"{"action":"Check","reason":"R","message":"%s of %s","args":["a",2]}"#).unwrap();
        assert_eq!((event.action.as_deref(), event.note.as_str(), event.warning), (Some("Check"), "a of 2", false));
    }
}
