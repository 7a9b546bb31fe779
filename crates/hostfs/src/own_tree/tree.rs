//! What is done to one cgroup of our own in all its hierarchies.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Hierarchy, Limits, Mode, OwnTreeError, Tree, v2};
use crate::{cgroup::read::subdirectories, process};

impl Tree {
    pub(super) fn watched(&self, path: &Path) -> PathBuf {
        self.hierarchies.first().map(|first| first.mount.join(path)).unwrap_or_default()
    }

    pub(super) fn create(&self, path: &Path) -> Result<(), OwnTreeError> {
        self.hierarchies.iter().rev().try_for_each(|hierarchy| create(&hierarchy.mount.join(path)))
    }

    /// On v2, lets the cgroups below have the controllers.
    pub(super) fn distribute(&self, path: &Path) -> Result<(), OwnTreeError> {
        if self.mode == Mode::V1 {
            return Ok(());
        }
        self.hierarchies.iter().try_for_each(|hierarchy| v2::distribute(&hierarchy.mount.join(path), &hierarchy.controllers))
    }

    pub(super) fn limit(&self, path: &Path, limits: Limits) -> Result<(), OwnTreeError> {
        const PERIOD_US: u64 = 100_000;
        if let Some(bytes) = limits.memory_bytes {
            let name = if self.mode == Mode::V1 { "memory.limit_in_bytes" } else { "memory.max" };
            write(&self.file("memory", path, name), &bytes.to_string())?;
        }
        if let Some(millicores) = limits.cpu_millicores {
            // The kernel refuses less than a millisecond.
            let quota = millicores.saturating_mul(PERIOD_US / 1000).max(1000);
            if self.mode == Mode::V1 {
                write(&self.file("cpu", path, "cpu.cfs_period_us"), &PERIOD_US.to_string())?;
                write(&self.file("cpu", path, "cpu.cfs_quota_us"), &quota.to_string())?;
            } else {
                write(&self.file("cpu", path, "cpu.max"), &format!("{quota} {PERIOD_US}"))?;
            }
        }
        Ok(())
    }

    /// Where the controller is, or else where it would be: the error then names the missing file.
    fn file(&self, controller: &str, path: &Path, name: &str) -> PathBuf {
        let has = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|known| known == controller);
        let hierarchy = self.hierarchies.iter().find(has).or_else(|| self.hierarchies.first());
        hierarchy.map(|hierarchy| hierarchy.mount.join(path).join(name)).unwrap_or_default()
    }

    pub(super) fn kill(&self, path: &Path) -> Result<bool, OwnTreeError> {
        let directory = self.watched(path);
        let mut pids = Vec::new();
        process::pids_below(&directory, &mut pids).map_err(OwnTreeError::List)?;
        if pids.is_empty() {
            return Ok(false);
        }
        // Linux 5.14, v2: also reaches what forks faster than it can be listed.
        let whole = directory.join("cgroup.kill");
        if whole.exists() {
            write(&whole, "1")?;
            return Ok(true);
        }
        for pid in pids {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(OwnTreeError::Write { path: directory.join("cgroup.procs"), source: errno.into() }),
            }
        }
        Ok(true)
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), OwnTreeError> {
        self.hierarchies.iter().try_for_each(|hierarchy| remove(&hierarchy.mount.join(path)))
    }
}

impl Drop for Tree {
    /// An empty tree goes with its last user. One that still has pods stays for the next process to take over.
    fn drop(&mut self) {
        for hierarchy in &self.hierarchies {
            if fs::remove_dir(hierarchy.mount.join(&self.root)).is_err() {
                return;
            }
        }
    }
}

pub(super) fn create(path: &Path) -> Result<(), OwnTreeError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(OwnTreeError::Create { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), OwnTreeError> {
    for (_, name) in subdirectories(path).map_err(OwnTreeError::List)? {
        remove(&path.join(name))?;
    }
    match fs::remove_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(OwnTreeError::Remove { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), OwnTreeError> {
    fs::write(path, text).map_err(|source| OwnTreeError::Write { path: path.to_owned(), source })
}
