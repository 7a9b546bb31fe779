//! What leaves the coordinator beside its answers: archives of records, and figures for a Pushgateway.

use std::time::Duration;

use jobmeter_daemon::config::{HumanDuration, Problems};
use serde::{Deserialize, Serialize};

/// Closed records go to the object store as compressed JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    pub interval: Duration,
    /// Also where the object store is the local directory.
    pub directory: bool,
}

/// The final figures of each job go to a Pushgateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushgatewayConfig {
    /// Without a slash at its end.
    pub url: String,
    pub timeout: Duration,
}

/// `archive` in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ArchiveWritten {
    /// How often closed records go to the object store.
    pub interval: HumanDuration,
    /// Archive also where objects are kept in the local directory.
    pub directory: bool,
}

/// `pushgateway` in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PushgatewayWritten {
    /// Where the final figures of each job are pushed; absent: nowhere.
    pub url: Option<String>,
    /// Of one push.
    pub timeout: HumanDuration,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(600), directory: false }
    }
}

impl Default for ArchiveWritten {
    fn default() -> Self {
        let archive = ArchiveConfig::default();
        Self { interval: HumanDuration(archive.interval), directory: archive.directory }
    }
}

impl Default for PushgatewayWritten {
    fn default() -> Self {
        Self { url: None, timeout: HumanDuration::from_secs(10) }
    }
}

impl ArchiveWritten {
    pub(super) fn resolve(self, problems: &mut Problems) -> ArchiveConfig {
        problems.check(self.interval.0 >= Duration::from_secs(1), "archive.interval", "is shorter than a second");
        ArchiveConfig { interval: self.interval.0, directory: self.directory }
    }
}

impl PushgatewayWritten {
    pub(super) fn resolve(self, problems: &mut Problems) -> Option<PushgatewayConfig> {
        problems.check(self.timeout.0 >= Duration::from_secs(1), "pushgateway.timeout", "is shorter than a second");
        let url = self.url?;
        let parsed = problems.take("pushgateway.url", reqwest::Url::parse(&url))?;
        problems.check(matches!(parsed.scheme(), "http" | "https"), "pushgateway.url", "is neither http:// nor https://");
        Some(PushgatewayConfig { url: url.trim_end_matches('/').to_owned(), timeout: self.timeout.0 })
    }
}
