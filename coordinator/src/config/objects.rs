//! Where objects go: what the configuration says of it. Keys and secrets are not here: they come in a mounted Secret.

use std::path::{Path, PathBuf};

use jobmeter_daemon::config::Problems;
use serde::{Deserialize, Serialize};

/// Where a Secret with the store's fields is mounted, if there is one.
pub const SECRET_DIR: &str = "/var/run/secrets/jobmeter-object-store";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectsConfig {
    /// Used while no store is configured.
    pub directory: PathBuf,
    /// One file for each field; absent or empty: no Secret. `None`: nobody looks.
    pub secret_dir: Option<PathBuf>,
    /// Before every key: empty, or without a slash at its ends.
    pub prefix: String,
    /// Fields that are no secrets; the Secret's own win.
    pub plain: PlainFields,
}

/// Fields of the store that may also stand in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainFields {
    pub bucket: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub path_style: Option<bool>,
}

/// `objectStore` in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ObjectStoreWritten {
    /// Directory for objects while no store is configured; `<dataDir>/logs` where absent.
    pub directory: Option<PathBuf>,
    /// Where the Secret with the store's fields is mounted.
    pub secret_dir: PathBuf,
    /// Before every key in the store.
    pub prefix: String,
    /// `bucket` of the Secret, where it is not in it.
    pub bucket: Option<String>,
    /// `region` of the Secret, where it is not in it.
    pub region: Option<String>,
    /// `endpoint` of the Secret, where it is not in it.
    pub endpoint: Option<String>,
    /// `pathStyle` of the Secret, where it is not in it.
    pub path_style: Option<bool>,
}

impl ObjectsConfig {
    /// On one machine: a directory, and nobody looks for a Secret.
    pub fn standalone(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("logs"), secret_dir: None, prefix: String::new(), plain: PlainFields::default() }
    }
}

impl Default for ObjectStoreWritten {
    fn default() -> Self {
        Self {
            directory: None,
            secret_dir: PathBuf::from(SECRET_DIR),
            prefix: String::new(),
            bucket: None,
            region: None,
            endpoint: None,
            path_style: None,
        }
    }
}

impl ObjectStoreWritten {
    pub(super) fn resolve(self, data_dir: &Path, problems: &mut Problems) -> ObjectsConfig {
        let prefix = self.prefix.trim_matches('/').to_owned();
        let plain_segment = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\0');
        problems.check(
            prefix.is_empty() || prefix.split('/').all(plain_segment),
            "objectStore.prefix",
            "has an empty segment, `.` or `..`",
        );
        for (key, value) in [("bucket", &self.bucket), ("region", &self.region), ("endpoint", &self.endpoint)] {
            problems.check(
                value.as_ref().is_none_or(|value| !value.trim().is_empty()),
                &format!("objectStore.{key}"),
                "is empty: leave it out",
            );
        }
        ObjectsConfig {
            directory: self.directory.unwrap_or_else(|| data_dir.join("logs")),
            secret_dir: (!self.secret_dir.as_os_str().is_empty()).then_some(self.secret_dir),
            prefix,
            plain: PlainFields { bucket: self.bucket, region: self.region, endpoint: self.endpoint, path_style: self.path_style },
        }
    }
}
