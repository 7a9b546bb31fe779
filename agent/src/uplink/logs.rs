//! The way of the logs: one trait, so that in standalone use it is function calls and in a cluster HTTP.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, Target, TargetsReply, TargetsRequest, TicketReply,
    TicketRequest,
};

use super::UplinkError;

pub trait LogUplink: Send + Sync + 'static {
    fn ticket(&self, request: TicketRequest) -> BoxFuture<'_, Result<TicketReply, UplinkError>>;
    fn multipart(&self, request: MultipartRequest) -> BoxFuture<'_, Result<MultipartReply, UplinkError>>;
    fn targets(&self, request: TargetsRequest) -> BoxFuture<'_, Result<TargetsReply, UplinkError>>;
    /// Puts one piece to its target and returns the ETag that it got. `ca_pem`: of the ticket.
    fn put<'a>(&'a self, target: &'a Target, ca_pem: Option<&'a str>, body: Bytes) -> BoxFuture<'a, Result<String, PutError>>;
    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteReply, UplinkError>>;
}

/// Why a piece did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("failed to reach the store")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// 403, and 400 for a URL that expired: a new target may do; a clock that is wrong keeps it so.
    #[error("the store does not accept the target (status {status}): {body}")]
    Refused { status: u16, body: String },
    /// By the coordinator, and not for who sends it: it concerns this piece.
    #[error("the coordinator does not take the piece (status {status}): {body}")]
    Declined { status: u16, body: String },
    #[error("the store asks to come later (status {status})")]
    Busy { status: u16, retry_after: Option<Duration> },
    #[error("the store gave no ETag")]
    NoEtag,
    /// The multipart upload is not there any more: begin anew.
    #[error("the store knows nothing of this upload (status {status})")]
    Gone { status: u16 },
}

impl PutError {
    /// For a metric label.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Declined { .. } => "declined",
            Self::Busy { .. } => "busy",
            Self::NoEtag => "no_etag",
            Self::Gone { .. } => "gone",
        }
    }
}
