//! One coordinator per database file. A lock beside the file, so that readers of other processes are not locked out.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held until dropped, and by the kernel no longer than the process lives.
pub(super) struct Lock {
    _file: Flock<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("failed to open the lock file {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another coordinator has the record store open: {path} is locked; only one may run on one file")]
    Taken { path: PathBuf },
    #[error("failed to lock {path}")]
    Lock {
        path: PathBuf,
        #[source]
        source: Errno,
    },
}

impl Lock {
    pub(super) fn take(database: &Path) -> Result<Self, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| LockError::Open { path: path.clone(), source })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Taken { path }),
            Err((_, source)) => Err(LockError::Lock { path, source }),
        }
    }
}
