//! What capture hands to ship, and what comes back.

use std::path::PathBuf;

use jiff::Timestamp;
use jobmeter_logtext::SourceFormat;
use jobmeter_protocol::{LogId, Missing};

/// A log that can grow no more, with all its pieces in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLog {
    pub log: LogId,
    /// `spool/<namespace>_<pod>_<uid>/<container>/<attempt>`: the shipper may keep files of its own here whose names begin
    /// with `ship.`; they go with the directory.
    pub directory: PathBuf,
    /// In the order in which they were written.
    pub pieces: Vec<Piece>,
    pub source: SourceFormat,
    /// What the runtime wrote: the pieces' sizes, before the kubelet compressed them.
    pub raw_bytes: u64,
    /// Holes that are known already.
    pub missing: Vec<Missing>,
    pub sealed_at: Timestamp,
    /// Whether the books took the pod for a job; `None`: they never learned.
    pub job: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub path: PathBuf,
    pub form: PieceForm,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceForm {
    Plain,
    /// A rotated file that the kubelet had compressed before it was seen.
    Gzip,
}

/// How the shipping of one sealed log ended. There is always exactly one for each; retries are the shipper's own business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged by the coordinator and verified: the spool may let go.
    Stored {
        log: LogId,
        key: String,
        raw_bytes: u64,
    },
    NotAJob {
        log: LogId,
        why: String,
    },
    /// The coordinator will never take it.
    Rejected {
        log: LogId,
        why: String,
    },
    /// A piece could not be read: capture looks again and seals anew, with what is missing.
    Unreadable {
        log: LogId,
        why: String,
    },
}
