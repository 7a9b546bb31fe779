//! Log files of local containers: `<root>/<namespace>_<pod>_<uid>/<container>/<attempt>.log`, raw bytes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn path(root: &Path, namespace: &str, pod: &str, pod_uid: &str, container: &str, attempt: u32) -> PathBuf {
    root.join(format!("{namespace}_{pod}_{pod_uid}")).join(container).join(format!("{attempt}.log"))
}

/// For appending: output and error share it, and neither overwrites the other.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
