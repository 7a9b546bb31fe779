//! What a failed call means. Input: the SDK's error. Output: status, code and message of the store, or the chain of causes;
//! never headers or URLs, which may hold signatures.

use jobmeter_daemon::error::chain;
use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::CallError;
use crate::objects::ObjectError;

#[derive(Debug)]
pub(super) struct Why {
    /// 0: there was no answer.
    pub(super) status: u16,
    code: String,
    text: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct StoreAnswer(String);

impl Why {
    pub(super) fn of<E: ProvideErrorMetadata + Error + 'static>(err: &CallError<E>) -> Self {
        let status = err.raw_response().map_or(0, |response| response.status().as_u16());
        let code = err.code().unwrap_or_default().to_owned();
        let text = match err {
            SdkError::ServiceError(_) => {
                let said: Vec<&str> = err.code().into_iter().chain(err.message()).collect();
                if said.is_empty() { format!("HTTP status {status}") } else { format!("{} ({status})", said.join(": ")) }
            }
            _ => chain(err),
        };
        Self { status, code, text }
    }

    pub(super) fn is_unknown_upload(&self) -> bool {
        self.code == "NoSuchUpload"
    }

    /// The clocks of store and coordinator differ too much for a signature to count.
    pub(super) fn is_skew(&self) -> bool {
        self.code == "RequestTimeTooSkewed"
    }

    pub(super) fn into_error(self, action: &'static str, key: &str) -> ObjectError {
        let key = key.to_owned();
        match (self.code.as_str(), self.status) {
            ("NoSuchUpload", _) => {
                ObjectError::Mismatch { key, why: format!("its upload of parts is not known any more: {}", self.text) }
            }
            ("BadDigest" | "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" | "XAmzContentSHA256Mismatch", _) => {
                ObjectError::Mismatch { key, why: self.text }
            }
            ("NoSuchBucket", _) => ObjectError::Refused { action, key, why: self.text },
            // A wrong clock can be mended by the next attempt, which knows the store's.
            _ if self.is_skew() => self.into_later(action, &key),
            (_, 401 | 403) => ObjectError::Refused { action, key, why: self.text },
            (_, 404) => ObjectError::NotFound { key },
            ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "InvalidBucketName" | "InvalidRequest", _)
            | (_, 301 | 307) => ObjectError::Refused { action, key, why: self.text },
            _ => self.into_later(action, &key),
        }
    }

    pub(super) fn into_later(self, action: &'static str, key: &str) -> ObjectError {
        ObjectError::Failed { action, key: key.to_owned(), source: Box::new(StoreAnswer(self.text)) }
    }
}
