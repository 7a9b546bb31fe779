//! Files in the directory of one run. All of it goes through a descriptor of that directory, and no symbolic link is followed from
//! there: who can write into the volume cannot send what pods post elsewhere.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use uuid::Uuid;

/// Names with a dot in front are nobody's: posted ones have none, and they are not shown.
const TEMPORARY: &str = ".posting-";
/// Or a twentieth of a small disk.
const KEPT_FREE: u64 = 256 << 20;
const STALE: Duration = Duration::from_secs(3600);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RunFiles(Arc<OwnedFd>);

/// A file without its name; it goes when it is dropped.
pub(crate) struct Fresh {
    file: File,
    name: TemporaryName,
}

pub(crate) struct TemporaryName {
    directory: Arc<OwnedFd>,
    name: Option<String>,
}

impl RunFiles {
    pub(super) fn open(parent: &Path, run: &str) -> io::Result<Self> {
        let directory = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // The report directory itself may be a link: that is the operator's to say.
        let parent = open(parent, directory, Mode::empty())?;
        match mkdirat(&parent, run, Mode::from_bits_truncate(0o755)) {
            Ok(()) => fsync(&parent)?,
            Err(Errno::EEXIST) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(Self(Arc::new(openat(&parent, run, directory | OFlag::O_NOFOLLOW, Mode::empty())?)))
    }

    /// Of a run's directory that is there.
    pub(crate) fn there(run: &Path) -> io::Result<Self> {
        let directory = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(Arc::new(open(run, directory, Mode::empty())?)))
    }

    pub(crate) fn fresh(&self) -> io::Result<Fresh> {
        let name = format!("{TEMPORARY}{}", Uuid::new_v4());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&*self.0, name.as_str(), flags, Mode::from_bits_truncate(0o640))?;
        Ok(Fresh { file: file.into(), name: TemporaryName { directory: self.0.clone(), name: Some(name) } })
    }

    /// The file gets its name, in the place of one that had it, and both are on the disk.
    pub(crate) fn publish(&self, fresh: Fresh, name: &str) -> io::Result<()> {
        let Fresh { file, name: mut temporary } = fresh;
        file.sync_all()?;
        if let Some(from) = &temporary.name {
            renameat(&*self.0, from.as_str(), &*self.0, name)?;
        }
        temporary.name = None;
        Ok(fsync(&*self.0)?)
    }

    /// An error, where so many more bytes would take what the disk's other users need: often the books are on it.
    pub(crate) fn has_room(&self, bytes: u64) -> io::Result<()> {
        let disk = fstatvfs(&*self.0)?;
        let of = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        let enough = leaves_enough(of(disk.blocks_available()), of(disk.blocks()), bytes);
        if enough { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut fresh = self.fresh()?;
        fresh.file.write_all(bytes)?;
        self.publish(fresh, name)
    }
}

/// A file system that does not say how large it is, is not asked.
fn leaves_enough(free: u64, total: u64, bytes: u64) -> bool {
    total == 0 || free >= bytes.saturating_add(KEPT_FREE.min(total / 20))
}

/// What is written has news every minute, or its writer gives up.
pub(super) fn remove_stale(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY)) {
            continue;
        }
        let age =
            entry.metadata().and_then(|metadata| metadata.modified()).map(|modified| modified.elapsed().unwrap_or_default());
        match age.and_then(|age| if age > STALE { fs::remove_file(entry.path()) } else { Ok(()) }) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(())
}

impl Fresh {
    /// For writing elsewhere than on this thread.
    pub(crate) fn split(self) -> (File, TemporaryName) {
        (self.file, self.name)
    }
}

impl TemporaryName {
    pub(crate) fn join(self, file: File) -> Fresh {
        Fresh { file, name: self }
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if let Some(name) = &self.name
            && let Err(err) = unlinkat(&*self.directory, name.as_str(), UnlinkatFlags::NoRemoveDir)
        {
            tracing::debug!(name, error = &err as &dyn std::error::Error, "failed to remove what was begun");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pods_leave_the_last_of_the_disk_to_the_books() {
        const GIB: u64 = 1 << 30;
        assert!(leaves_enough(GIB, 5 * GIB, 700 << 20));
        assert!(!leaves_enough(GIB, 5 * GIB, 800 << 20));
        assert!(!leaves_enough(200 << 20, 5 * GIB, 1));
        assert!(leaves_enough(90, 1000, 40) && !leaves_enough(90, 1000, 41), "a small disk");
        assert!(leaves_enough(0, 0, GIB), "one that says nothing of itself");
        let directory = tempfile::tempdir().unwrap();
        let files = RunFiles::there(directory.path()).unwrap();
        files.has_room(1).unwrap();
        assert_eq!(files.has_room(u64::MAX).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
