//! What people ask of the coordinator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Query string of `GET /v1/records` and `GET /v1/jobs`. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordQuery {
    /// All namespaces where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the top owner, or of any owner in the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Name or UID of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Kubernetes label selector: `a=b,c!=d,e in (f,g),h,!i`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Names of [`crate::Reason`] (or, for jobs, of [`crate::JobState`]), separated by commas; any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Running at or after this moment: finished not before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Started at or before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<SortBy>,
    /// At most 1,000; 200 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Newest, largest or longest first; names in order of the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    Finished,
    Started,
    Elapsed,
    Cpu,
    Memory,
    Rss,
    Name,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Present while there is more: pass it as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
