//! One call to the API server for an object of our own: it ends in time, and what became of it says what to do.

use std::time::Duration;

use crate::webhook::MANIFESTS;

/// An API server that takes longer is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("failed to {action} {object}: no answer within {} s", PATIENCE.as_secs())]
    NoAnswer { action: &'static str, object: String },
    #[error("the coordinator's ServiceAccount may not {action} {object}: apply the roles of {MANIFESTS} again ({why})")]
    Forbidden { action: &'static str, object: String, why: String },
    #[error("failed to {action} {object}: somebody else wrote it in the meantime; it is read again")]
    Conflict { action: &'static str, object: String },
    #[error("failed to {action} {object}")]
    Failed {
        action: &'static str,
        object: String,
        #[source]
        source: Box<kube::Error>,
    },
}

pub(super) async fn call<T>(
    action: &'static str,
    object: String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Err(_) => Err(CallError::NoAnswer { action, object }),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
            Err(CallError::Forbidden { action, object, why: status.message.clone() })
        }
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => {
            Err(CallError::Conflict { action, object })
        }
        Ok(Err(source)) => Err(CallError::Failed { action, object, source: Box::new(source) }),
    }
}
