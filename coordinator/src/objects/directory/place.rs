//! Names and durable files below the root. Inputs: keys. Outputs: paths that cannot leave the root, and files that are either
//! there with all their bytes on the disk, or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::statvfs;
use uuid::Uuid;

use crate::objects::ObjectError;

/// Where what is not an object yet lies: on the same file system, so that it can be renamed.
const UPLOADS: &str = ".uploads";
/// The records are on the same volume, and go before logs: so much of it, and a twentieth at most, is not for objects.
const RESERVE: u64 = 256 * 1024 * 1024;
const RESERVED_PART: u64 = 20;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: Arc<Path>,
    objects: Arc<Path>,
}

/// A file without its final name; it goes when it is dropped.
pub(super) struct Fresh {
    file: File,
    name: TemporaryName,
}

pub(super) struct TemporaryName(Option<PathBuf>);

impl Place {
    pub(super) fn new(root: PathBuf, prefix: &str) -> Self {
        let objects = root.join(prefix);
        Self { root: root.into(), objects: objects.into() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join(UPLOADS)
    }

    /// Keys are ours, but parts of them are names that users chose.
    pub(super) fn object(&self, key: &str) -> Result<PathBuf, ObjectError> {
        let plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\0');
        if key.split('/').all(plain) && key.split('/').next() != Some(UPLOADS) {
            Ok(self.objects.join(key))
        } else {
            let why = "this is no key: a segment is empty, `.`, `..` or has a NUL".to_owned();
            Err(ObjectError::Refused { action: "name", key: key.escape_debug().to_string(), why })
        }
    }

    /// For a file of so many bytes.
    pub(super) fn fresh(&self, bytes: u64) -> io::Result<Fresh> {
        let uploads = self.uploads();
        make_directory(&uploads)?;
        let volume = statvfs(&uploads)?;
        let available = volume.fragment_size() * volume.blocks_available();
        if below_reserve(volume.fragment_size() * volume.blocks(), available.saturating_sub(bytes)) {
            return Err(io::Error::new(ErrorKind::StorageFull, "what is left of the volume is kept for the records"));
        }
        let path = uploads.join(Uuid::new_v4().to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Fresh { file, name: TemporaryName(Some(path)) })
    }

    /// The file gets its name, and both are on the disk.
    pub(super) fn publish(&self, fresh: Fresh, path: &Path) -> io::Result<()> {
        let Fresh { file, mut name } = fresh;
        file.sync_all()?;
        let parent = path.parent().unwrap_or(&self.root);
        let temporary = name.0.as_deref().unwrap_or(path);
        make_directory(parent)?;
        match fs::rename(temporary, path) {
            // The last object of this directory was deleted just now, and the directory with it.
            Err(err) if err.kind() == ErrorKind::NotFound => {
                make_directory(parent)?;
                fs::rename(temporary, path)?;
            }
            renamed => renamed?,
        }
        name.0 = None;
        // Its own name, and those of directories that may be new.
        for directory in parent.ancestors().take_while(|directory| directory.starts_with(&self.root)) {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// The file, and the directories that are empty without it.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            removed => removed?,
        }
        let above =
            path.ancestors().skip(1).take_while(|directory| *directory != &*self.root && directory.starts_with(&self.root));
        for directory in above {
            // One that is not empty ends it, and so does anything else: an empty directory harms nobody.
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn below_reserve(size: u64, available: u64) -> bool {
    available < RESERVE.min(size / RESERVED_PART)
}

impl Fresh {
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// For writing elsewhere than on this thread.
    pub(super) fn split(self) -> (File, TemporaryName) {
        (self.file, self.name)
    }
}

impl TemporaryName {
    pub(super) fn join(self, file: File) -> Fresh {
        Fresh { file, name: self }
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(err) = fs::remove_file(path)
        {
            tracing::debug!(path = %path.display(), error = &err as &dyn std::error::Error, "failed to remove what was begun");
        }
    }
}

/// Logs tell what users' programs said: nobody else's business.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) fn failed(action: &'static str, key: &str) -> impl FnOnce(io::Error) -> ObjectError {
    let key = key.to_owned();
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ObjectError::Full { key },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ObjectError::Refused { action, key, why: source.to_string() }
        }
        _ => ObjectError::Failed { action, key, source: Box::new(source) },
    }
}

/// On a thread that may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, ObjectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(source) => Err(ObjectError::Failed { action: "work on", key: "the disk".to_owned(), source: Box::new(source) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_root() {
        let place = Place::new(PathBuf::from("/srv/logs"), "");
        assert_eq!(place.object("a/b c/=d.log").unwrap(), Path::new("/srv/logs/a/b c/=d.log"));
        for key in ["", "/etc/passwd", "a//b", "a/../../b", "..", "./a", "a/", "a\0b", ".uploads/x"] {
            let error = place.object(key).unwrap_err();
            assert!(matches!(error, ObjectError::Refused { .. }), "{key}: {error}");
        }
    }

    #[test]
    fn the_last_part_of_a_volume_is_kept_for_the_records() {
        const MIB: u64 = 1024 * 1024;
        assert!(below_reserve(100_000 * MIB, 255 * MIB) && !below_reserve(100_000 * MIB, 256 * MIB));
        assert!(below_reserve(1_000 * MIB, 49 * MIB) && !below_reserve(1_000 * MIB, 50 * MIB));
    }

    #[test]
    fn what_is_not_published_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().to_owned(), "");
        let mut fresh = place.fresh(0).unwrap();
        fresh.write_all(b"half").unwrap();
        drop(fresh);
        assert_eq!(fs::read_dir(place.uploads()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_directory_goes_with_its_last_object() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().to_owned(), "");
        for key in ["a/b/c", "a/d"] {
            place.publish(place.fresh(0).unwrap(), &place.object(key).unwrap()).unwrap();
        }
        place.remove(&place.object("a/b/c").unwrap()).unwrap();
        assert!(!root.path().join("a/b").exists() && root.path().join("a/d").exists());
        place.remove(&place.object("a/d").unwrap()).unwrap();
        assert!(!root.path().join("a").exists() && root.path().exists());
    }
}
