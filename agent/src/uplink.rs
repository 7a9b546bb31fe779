//! The way to the coordinator: one trait, so that standalone use is a function call and the cluster is HTTP.

mod http;
mod http_logs;
mod logs;
mod stores;

use std::{error::Error, time::Duration};

use futures::future::BoxFuture;
use jobmeter_protocol::{Heartbeat, HeartbeatReply, ReportBatch, ReportReply};

pub use http::{HttpUplink, HttpUplinkError, HttpUplinkOptions};
pub use logs::{LogUplink, PutError};

pub trait Uplink: Send + Sync + 'static {
    fn report(&self, batch: ReportBatch) -> BoxFuture<'_, Result<ReportReply, UplinkError>>;
    fn heartbeat(&self, node: &str, beat: Heartbeat) -> BoxFuture<'_, Result<HeartbeatReply, UplinkError>>;
}

/// Why a call did not come back with an answer.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    #[error("failed to reach the coordinator")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    #[error("failed to read the agent's token")]
    Token(#[source] Box<dyn Error + Send + Sync>),
    #[error("coordinator does not accept the agent's token (status {status})")]
    Unauthorized { status: u16 },
    #[error("coordinator asks to come later (status {status})")]
    Busy { status: u16, retry_after: Option<Duration> },
    #[error("coordinator finds the body too large")]
    TooLarge,
    #[error("coordinator refuses the call (status {status}): {body}")]
    Refused { status: u16, body: String },
    #[error("failed to understand the coordinator's answer")]
    Answer(#[source] Box<dyn Error + Send + Sync>),
}

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same again, not before this long.
    Later(Option<Duration>),
    /// Fewer reports in one batch; a single one that is too large can never be sent.
    Smaller,
}

impl UplinkError {
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Busy { retry_after, .. } => Remedy::Later(*retry_after),
            // A token rotates and a coordinator, or the proxy before it, is repaired: evidence waits for them. A refusal of the
            // whole batch says nothing about any report in it; only a verdict does.
            Self::Unreachable(_) | Self::Token(_) | Self::Unauthorized { .. } | Self::Refused { .. } | Self::Answer(_) => {
                Remedy::Later(None)
            }
            Self::TooLarge => Remedy::Smaller,
        }
    }

    /// For a metric label.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Token(_) => "token",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Busy { .. } => "busy",
            Self::TooLarge => "too_large",
            Self::Refused { .. } => "refused",
            Self::Answer(_) => "answer",
        }
    }
}
