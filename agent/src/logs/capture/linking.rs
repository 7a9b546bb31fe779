//! One file of the kubelet's into the spool, by link(2) where that is possible.

use std::{fs, io, path::Path};

use nix::errno::Errno;

use super::{
    content::{head, length, truncated},
    names::FileId,
    run::{Held, NEW, Phase, Run},
    saved::{Done, Fate},
};
use crate::logs::PieceForm;

#[derive(Debug)]
pub(super) enum Captured {
    /// It is held already, or is no log.
    Known,
    Linked,
    /// It cannot be linked, and why.
    Copying(String),
    /// The content of a compressed file is held already.
    Duplicate,
    /// It went before it could be linked.
    Gone,
    /// It is in the store, and there is more of it now.
    Grown,
}

impl Run {
    pub(super) fn capture(&mut self, path: &Path, gzip: bool) -> io::Result<Captured> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Captured::Gone),
            Err(error) => return Err(error),
        };
        let file = FileId::of(&metadata);
        if self.holds(file) || self.duplicates.contains(path) {
            return Ok(Captured::Known);
        }
        if self.phase == Phase::Done {
            return self.after_the_end(path, gzip);
        }
        if metadata.is_symlink() {
            return self.copied(path, gzip, "the runtime keeps the file elsewhere, behind a symbolic link".to_owned());
        }
        fs::create_dir_all(&self.dir)?;
        // Left behind where a rename failed; as long as it is there no link can be made.
        self.adopt_leftover()?;
        match fs::hard_link(path, self.dir.join(NEW)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Captured::Gone),
            Err(error) if is_impossible(&error) => return self.copied(path, gzip, format!("it cannot be linked: {error}")),
            Err(error) => return Err(error),
        }
        match self.adopt(gzip)? {
            Some(name) if gzip && self.is_duplicate(&self.path(&name)) => {
                self.pieces.retain(|piece| piece.name != name);
                self.is_known_twice(path);
                fs::remove_file(self.path(&name))?;
                Ok(Captured::Duplicate)
            }
            Some(_) => Ok(Captured::Linked),
            None => Ok(Captured::Known),
        }
    }

    /// Those that the kubelet has pruned since are not asked about again.
    fn is_known_twice(&mut self, path: &Path) {
        self.duplicates.retain(|known| known.exists());
        self.duplicates.insert(path.to_owned());
    }

    fn copied(&mut self, path: &Path, gzip: bool, why: String) -> io::Result<Captured> {
        if gzip && self.is_duplicate(path) {
            self.is_known_twice(path);
            return Ok(Captured::Duplicate);
        }
        match self.copy(path, gzip) {
            Ok(true) => Ok(Captured::Copying(why)),
            Ok(false) => Ok(Captured::Known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Captured::Gone),
            Err(error) => Err(error),
        }
    }

    /// Whether a compressed file holds what a piece holds in plain. Where that cannot be told it is kept.
    pub(super) fn is_duplicate(&self, compressed: &Path) -> bool {
        let (Ok(begin), Ok(bytes)) = (head(compressed, PieceForm::Gzip), length(compressed, PieceForm::Gzip)) else {
            return false;
        };
        !begin.is_empty() && self.pieces.iter().any(|piece| self.is_plain_form_of(piece, &begin, bytes))
    }

    fn is_plain_form_of(&self, piece: &Held, begin: &[u8], bytes: u32) -> bool {
        let path = self.path(&piece.name);
        if piece.name.kind.form() != PieceForm::Plain {
            return false;
        }
        match (&piece.copying, head(&path, PieceForm::Plain), length(&path, PieceForm::Plain)) {
            // It has not caught up, and will.
            (Some(_), Ok(own), _) => !own.is_empty() && begin.starts_with(&own),
            (None, Ok(own), Ok(length)) => own == begin && length == bytes,
            _ => false,
        }
    }

    /// Files of a log that is in the store: the ones it was made of, those compressed, or something new.
    fn after_the_end(&self, path: &Path, gzip: bool) -> io::Result<Captured> {
        let Some(done) = &self.done else { return Ok(Captured::Grown) };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Captured::Known),
            Err(error) => return Err(error),
        };
        let file = FileId::of(&metadata);
        if done.pieces.iter().any(|piece| piece.file == file && piece.bytes == metadata.len()) {
            return Ok(Captured::Known);
        }
        let known = (gzip && is_of(done, path)?) || matches!(done.fate, Fate::Dropped { .. });
        Ok(if known { Captured::Known } else { Captured::Grown })
    }
}

fn is_of(done: &Done, path: &Path) -> io::Result<bool> {
    let (begin, bytes) = (head(path, PieceForm::Gzip)?, length(path, PieceForm::Gzip)?);
    let crc = crc32fast::hash(&begin);
    Ok(done.pieces.iter().any(|piece| piece.head == crc && piece.length == truncated(u64::from(bytes))))
}

fn is_impossible(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EXDEV | Errno::EPERM | Errno::EMLINK | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EACCES)
    )
}
