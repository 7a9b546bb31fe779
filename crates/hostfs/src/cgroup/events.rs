//! v2 `cgroup.events`: whether a cgroup has processes, and a descriptor that wakes its poller (`EPOLLPRI`) when that changes.
//!
//! Polled, because the kernel wakes pollers at once and tells inotify through a work queue.

use std::{
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use super::{Layout, parse};

#[derive(Debug)]
pub struct Events {
    file: File,
}

impl Events {
    /// `None`: no v2 tree, or the cgroup is not in it.
    pub fn open(layout: &Layout, path: &Path) -> Option<Self> {
        let file = File::open(layout.unified()?.join(path).join("cgroup.events")).ok()?;
        Some(Self { file })
    }

    /// Whether a process is in the cgroup or below it. Reading it also silences the descriptor until the next change. `None`:
    /// the cgroup is gone.
    pub fn populated(&self) -> Option<bool> {
        let mut buffer = [0_u8; 256];
        let length = self.file.read_at(&mut buffer, 0).ok()?;
        parse::populated(&buffer[..length]).ok()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
