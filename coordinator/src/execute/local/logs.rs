//! Log files of local containers: `<root>/<namespace>_<pod>_<uid>/<container>/<attempt>.log`, raw bytes, and their end: the
//! agent holds what is in them as soon as it is written; once that is stored, a pod's directory goes.
//!
//! In: names; what the agent says. Out: files, and their removal. Owner: the executor.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jobmeter_hostfs::podlog;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{NodeAgent, PodNews};

/// A store that is there takes milliseconds. Whoever waits for longer is told.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn directory(root: &Path, namespace: &str, pod: &str, pod_uid: &str) -> PathBuf {
    root.join(format!("{namespace}_{pod}_{pod_uid}"))
}

pub(super) fn path(directory: &Path, container: &str, attempt: u32) -> PathBuf {
    directory.join(container).join(format!("{attempt}.log"))
}

/// For appending: output and error share it, and neither overwrites the other.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Removes the directory of a pod once its logs are stored, however long that takes. Where it never happens, the directory
/// stays, and so it does if this is dropped: the next start finds it.
pub(super) async fn let_go(directory: PathBuf, pod_uid: String, agent: Arc<dyn NodeAgent>) {
    let stored = agent.logs_stored(&pod_uid);
    tokio::pin!(stored);
    let stored = match timeout(PATIENCE, &mut stored).await {
        Ok(stored) => stored,
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            warn!(pod_uid, seconds, directory = %directory.display(), "logs are not stored yet; they are kept until they are");
            stored.await
        }
    };
    if let Err(error) = stored {
        let error = &error as &dyn std::error::Error;
        warn!(error, pod_uid, directory = %directory.display(), "logs stay where they are: the next start stores them");
        return;
    }
    let path = directory.clone();
    let removed =
        tokio::task::spawn_blocking(move || fs::remove_dir_all(path)).await.unwrap_or_else(|died| Err(io::Error::other(died)));
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(error = &error as &dyn std::error::Error, directory = %directory.display(), "failed to remove stored logs");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Pods of an earlier process of ours, whose logs it did not see stored: their directories, by UID. At the start nothing else
/// can be there.
pub(super) fn leftovers(root: &Path) -> Vec<(String, PathBuf)> {
    let listing = match fs::read_dir(root) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, path = %root.display(), "failed to look for logs of an earlier run");
            return Vec::new();
        }
    };
    let identity = |entry: &fs::DirEntry| podlog::parse(entry.file_name().to_str()?);
    listing.flatten().filter_map(|entry| Some((identity(&entry)?.pod_uid, entry.path()))).collect()
}

/// What an earlier process left is stored now.
pub(super) async fn take_over(directory: PathBuf, pod_uid: String, agent: Arc<dyn NodeAgent>) {
    info!(pod_uid, directory = %directory.display(), "logs of an earlier run are stored now");
    // It ended with the process that ran it.
    agent.pod_event(PodNews::Gone { pod_uid: pod_uid.clone() }).await;
    let_go(directory, pod_uid, agent).await;
}
