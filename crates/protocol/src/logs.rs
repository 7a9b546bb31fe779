//! Logs: what identifies one, what is known of its content, and how it travels from a node to the object store.
//!
//! | call | body → answer |
//! |---|---|
//! | `POST /v1/logs/tickets` | [`TicketRequest`] → 200 [`TicketReply`] |
//! | `POST /v1/logs/multipart` | [`MultipartRequest`] → 200 [`MultipartReply`] |
//! | `POST /v1/logs/targets` | [`TargetsRequest`] → 200 [`TargetsReply`] |
//! | `PUT` to a [`Target`] | the bytes → 200 with an `ETag` header |
//! | `POST /v1/logs/complete` | [`CompleteRequest`] → 200 [`CompleteReply`] |
//! | `GET /v1/logs` | [`LogQuery`] → 200 `Page<LogEntry>` |
//! | `GET /v1/logs/{namespace}/{pod}` | [`LogRead`] → 200 or 206 text, 404 none, 409 not here yet, 410 expired |
//!
//! An agent repeats any of them at will: keys are fixed by the ticket, and the same bytes overwrite themselves. The object
//! store's credentials never leave the coordinator; a target is a URL that is good for one piece and a while.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ContainerKind;

/// What one container of one pod wrote in one of its runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub container: String,
    /// 0 for the first run.
    #[serde(default)]
    pub attempt: u32,
}

/// How a log is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// The bytes that the container wrote, streams interleaved as written.
    #[default]
    Text,
    /// As the runtime wrote them: `<time> stdout|stderr F|P <content>`, one line each.
    Cri,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Of the object's key.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// RFC 9110, RFC 8878.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// How an agent is to prepare objects. Same for all parts of one: `part_bytes` each but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPolicy {
    pub format: LogFormat,
    pub compression: Compression,
    /// Up to here in one piece, above in parts.
    pub whole_bytes: u64,
    pub part_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRequest {
    pub version: u32,
    pub node: String,
    pub log: LogId,
    /// What the runtime wrote, in its own form: a log of as many bytes that was stored before needs no second upload.
    pub raw_bytes: u64,
    /// The agent took the pod for a job; `None`: it never learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum TicketReply {
    /// Upload it.
    Ticket {
        key: String,
        policy: UploadPolicy,
        /// PEM of the authorities that signed the store's certificate, beside the system's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_pem: Option<String>,
    },
    /// All of it is in the store.
    Stored { key: String },
    /// Not a job: nothing of it is kept.
    NotAJob { why: String },
    /// Not known yet, or the store is away. Ask again after so many seconds.
    Later { why: String, seconds: u32 },
    /// Never: it contradicts what is known.
    Rejected { why: String },
}

/// Which object of a log: beside the log itself there may be one with the times of its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Log,
    Times,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartRequest {
    pub version: u32,
    pub node: String,
    pub log: LogId,
    pub kind: ObjectKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartReply {
    /// The store's name for it. To begin anew is always allowed; what was begun and never completed is removed in time.
    pub multipart: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetsRequest {
    pub version: u32,
    pub node: String,
    pub log: LogId,
    pub kind: ObjectKind,
    /// `None`: one piece, the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart: Option<String>,
    /// At most [`MAX_TARGETS`].
    pub pieces: Vec<Piece>,
    /// Direct transfer failed: give targets of the coordinator's own, which passes the bytes on.
    #[serde(default)]
    pub proxied: bool,
}

pub const MAX_TARGETS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// From 1; 1 for a whole object.
    pub number: u32,
    pub bytes: u64,
    /// Base64, as in `Content-MD5`.
    pub md5: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetsReply {
    /// One for each piece, in their order.
    pub targets: Vec<Target>,
}

/// Where one piece goes, by `PUT`. Whoever has it can write that piece until it expires: never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Absolute for a store; a path (`/v1/logs/data/…`) for the coordinator itself, with the agent's token.
    pub url: String,
    /// To be sent exactly so.
    pub headers: Vec<(String, String)>,
    pub expires: Timestamp,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.url.split('?').next().unwrap_or_default();
        formatter.debug_struct("Target").field("url", &shown).field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteRequest {
    pub version: u32,
    pub node: String,
    pub log: LogId,
    pub raw_bytes: u64,
    pub object: UploadedObject,
    /// Only where the times are an object of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times_object: Option<UploadedObject>,
    pub content: LogContent,
}

/// What was put, as it is to be found in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedObject {
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart: Option<String>,
    /// Of the parts, or of the one whole piece.
    pub parts: Vec<UploadedPart>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadedPart {
    pub number: u32,
    pub bytes: u64,
    /// As the store gave it.
    pub etag: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum CompleteReply {
    /// The store has all of it, and it is in the books: the spool may let go.
    Done,
    /// The store does not have what was put: upload it anew.
    Again { why: String },
    /// Ask the same once more after so many seconds.
    Later { why: String, seconds: u32 },
}

/// What is in a log, whatever form it is stored in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogContent {
    pub format: LogFormat,
    pub compression: Compression,
    /// Of the content before compression: what `sha256sum` says of the text, or of the CRI lines.
    pub bytes: u64,
    pub lines: u64,
    /// Hexadecimal.
    pub sha256: String,
    /// Times of the first and the last line; `None` for an empty log, and where the runtime notes no times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Lines that are in no known form; their bytes are in the log as they were.
    #[serde(default)]
    pub malformed_lines: u64,
    /// Base64 of the times of the lines (`jobmeter_logtext::times`), where they are small and the format is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<String>,
    /// What is not in it, and why. Empty: complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// Longest [`LogContent::times`].
pub const MAX_INLINE_TIMES: usize = 128 * 1024;

/// A hole in a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Missing {
    /// A sentence.
    pub why: String,
    /// Of the runtime's own form; `None` where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_bytes: Option<u64>,
}

/// What the coordinator knows of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    pub log: LogId,
    pub node: Option<String>,
    pub state: LogState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContainerKind>,
    /// Within the store; unique.
    pub key: String,
    /// For people: `s3://bucket/key`, or the file.
    pub location: String,
    /// Of the object, as stored.
    pub object_bytes: u64,
    /// `None` where there is no content: expected, or lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<LogContent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LogState {
    /// The node has it, or should have it.
    Expected,
    Complete,
    /// Stored with holes.
    Truncated {
        why: String,
    },
    /// There is a notice in its place.
    Lost {
        why: String,
    },
    /// It was stored and has been deleted since, by age or for room.
    Expired,
}

impl LogState {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Complete => "complete",
            Self::Truncated { .. } => "truncated",
            Self::Lost { .. } => "lost",
            Self::Expired => "expired",
        }
    }
}

/// In a [`crate::ContainerRecord`]: where the log of this run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRef {
    #[serde(flatten)]
    pub state: LogState,
    pub location: String,
    /// Before compression.
    pub bytes: u64,
    pub lines: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The object beside each log, `<key>.manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogManifest {
    pub version: u32,
    pub cluster: String,
    /// Name of the top owner.
    pub job: String,
    /// All containers of the pod.
    pub containers: Vec<String>,
    #[serde(flatten)]
    pub entry: LogEntry,
}

/// Query string of `GET /v1/logs`. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the top owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Name or UID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// A word of [`LogState::as_str`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// At most 1,000; 200 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Query string of `GET /v1/logs/{namespace}/{pod}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LogRead {
    /// Of several pods that bore the name; the newest where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// May be absent where the pod has one main container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The newest where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The one before the newest.
    pub previous: bool,
    /// Until the container ends.
    pub follow: bool,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Only lines of this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}
