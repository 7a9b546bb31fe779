//! Makes the token of a standalone coordinator: random, and readable by its owner only.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

#[derive(Debug, thiserror::Error)]
#[error("failed to write the token {}", path.display())]
pub struct MintError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Leaves a file alone that is there. Written beside it and linked in place, so that nobody ever reads half a token.
pub(super) fn ensure(path: &Path) -> Result<(), MintError> {
    let failed = |source| MintError { path: path.to_owned(), source };
    if path.exists() {
        return Ok(());
    }
    // 244 random bits.
    let token = format!("{}{}\n", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let draft = path.with_extension(Uuid::new_v4().simple().to_string());
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(token.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| match std::fs::hard_link(&draft, path) {
            // Somebody else was faster: theirs it is.
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    let removed = std::fs::remove_file(&draft);
    written.and(removed).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_long_and_for_its_owner_only() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("token");
        ensure(&path).unwrap();
        let first = std::fs::read_to_string(&path).unwrap();
        assert_eq!((first.trim().len(), path.metadata().unwrap().mode() & 0o777), (64, 0o600));
        ensure(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
        assert_eq!(std::fs::read_dir(files.path()).unwrap().count(), 1);
        let error = ensure(Path::new("/nowhere/at/all/token")).unwrap_err();
        assert_eq!(error.to_string(), "failed to write the token /nowhere/at/all/token");
    }
}
