//! Why an attempt to ship a log came to nothing, and what that asks for.

use std::{io, path::PathBuf, time::Duration};

use jobmeter_logtext::EncodeError;

use crate::uplink::{PutError, Remedy, UplinkError};

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("failed to get a ticket")]
    Ticket(#[source] UplinkError),
    #[error("failed to begin an upload in parts")]
    Multipart(#[source] UplinkError),
    #[error("failed to get a target for piece {number}")]
    Target {
        number: u32,
        #[source]
        source: UplinkError,
    },
    #[error("failed to put piece {number}")]
    Put {
        number: u32,
        #[source]
        source: PutError,
    },
    #[error("failed to complete the upload")]
    Complete(#[source] UplinkError),
    #[error("the coordinator asks to come later: {why}")]
    Later { step: &'static str, why: String, after: Duration },
    #[error("the store does not have what was put, so it is uploaded anew: {why}")]
    Again { why: String },
    /// The pieces are not as they were when the log was sealed.
    #[error("{why}")]
    Unreadable { why: String },
    #[error("failed to read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error("the log is larger than it seemed")]
    Larger,
    #[error("the log needs more than {most} parts of {part_bytes} bytes: larger parts must be configured")]
    TooManyParts { most: u32, part_bytes: u64 },
    #[error("the encoder stopped before the end of the log")]
    Stopped,
}

/// What the shipper does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cure {
    /// The way to the coordinator or to the store is shut: for all logs, as far as one can know.
    Away,
    /// It concerns this log.
    Wait,
}

impl Trouble {
    pub(super) fn cure(&self) -> Cure {
        match self {
            Self::Ticket(err) | Self::Multipart(err) | Self::Complete(err) | Self::Target { source: err, .. } => match err {
                UplinkError::Refused { .. } | UplinkError::TooLarge | UplinkError::Answer(_) => Cure::Wait,
                _ => Cure::Away,
            },
            Self::Put { source: PutError::Gone { .. } | PutError::Declined { .. } | PutError::NoEtag, .. } => Cure::Wait,
            Self::Put { .. } => Cure::Away,
            _ => Cure::Wait,
        }
    }

    /// What the other side asked for.
    pub(super) fn at_least(&self) -> Option<Duration> {
        match self {
            Self::Ticket(err) | Self::Multipart(err) | Self::Complete(err) | Self::Target { source: err, .. } => {
                match err.remedy() {
                    Remedy::Later(at_least) => at_least,
                    Remedy::Smaller => None,
                }
            }
            Self::Put { source: PutError::Busy { retry_after, .. }, .. } => *retry_after,
            Self::Later { after, .. } => Some(*after),
            _ => None,
        }
    }

    /// For metric labels: where, and what.
    pub(super) fn labels(&self) -> [&'static str; 2] {
        match self {
            Self::Ticket(err) => ["ticket", err.cause()],
            Self::Multipart(err) => ["multipart", err.cause()],
            Self::Target { source, .. } => ["targets", source.cause()],
            Self::Put { source, .. } => ["put", source.cause()],
            Self::Complete(err) => ["complete", err.cause()],
            Self::Later { step, .. } => [step, "later"],
            Self::Again { .. } => ["complete", "again"],
            Self::Unreadable { .. } => ["read", "changed"],
            Self::Read { .. } => ["read", "io"],
            Self::Encode(_) => ["encode", "io"],
            Self::Larger | Self::TooManyParts { .. } => ["encode", "larger"],
            Self::Stopped => ["encode", "stopped"],
        }
    }

    /// Normal life: it is counted, not complained of.
    pub(super) fn is_expected(&self) -> bool {
        matches!(self, Self::Later { .. } | Self::Larger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One empty log that a coordinator would not take once held up all others.
    #[test]
    fn a_piece_that_the_coordinator_declines_holds_up_no_other_log() {
        let put = |source| Trouble::Put { number: 1, source };
        assert_eq!(put(PutError::Declined { status: 411, body: String::new() }).cure(), Cure::Wait);
        assert_eq!(put(PutError::Refused { status: 403, body: String::new() }).cure(), Cure::Away);
    }
}
