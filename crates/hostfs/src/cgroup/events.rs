//! v2 `cgroup.events`: whether a cgroup has processes, and a descriptor that wakes its poller (`EPOLLPRI`) when that changes.
//!
//! Polled, because the kernel wakes pollers at once and tells inotify through a work queue.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

use super::{Layout, parse};
use crate::{ReadError, file};

#[derive(Debug)]
pub struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// `None`: no v2 tree, or the cgroup is not in it. That no descriptor is to be had is an error and says nothing of it.
    pub fn open(layout: &Layout, path: &Path) -> Result<Option<Self>, ReadError> {
        let Some(mount) = layout.unified() else { return Ok(None) };
        let path = mount.join(path).join("cgroup.events");
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { file, path })),
            Err(error) if file::is_absent(&error) => Ok(None),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }

    /// Whether a process is in the cgroup or below it. Reading it also silences the descriptor until the next change. `None`:
    /// the cgroup is gone.
    pub fn populated(&self) -> Result<Option<bool>, ReadError> {
        let mut buffer = [0_u8; 256];
        match self.file.read_at(&mut buffer, 0) {
            Ok(length) => parse::populated(&buffer[..length]).map(Some).map_err(|malformed| malformed.at(&self.path)),
            Err(error) if file::is_absent(&error) => Ok(None),
            Err(source) => Err(ReadError::Io { path: self.path.clone(), source }),
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::HostRoot;

    #[test]
    fn a_file_that_cannot_be_opened_is_not_an_empty_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRoot::at(dir.path());
        for pod in ["empty", "there", "loop"] {
            fs::create_dir_all(host.cgroup.join(pod)).unwrap();
        }
        fs::write(host.cgroup.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(host.cgroup.join("there/cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        // Stands for EMFILE: it is there, and opening it fails.
        symlink("cgroup.events", host.cgroup.join("loop/cgroup.events")).unwrap();
        let layout = Layout::discover(&host).unwrap();
        let open = |pod: &str| Events::open(&layout, Path::new(pod));
        assert!(matches!(open("gone"), Ok(None)) && matches!(open("empty"), Ok(None)));
        assert_eq!(open("there").unwrap().unwrap().populated().unwrap(), Some(true));
        assert!(matches!(open("loop"), Err(ReadError::Io { .. })));
    }
}
