//! The directory of definitions: looked at every few seconds. In: a path. Out: the texts of its `*.yaml`, whenever they changed.
//!
//! Never half of a change: what changed while it was read is read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::texts::{self, MAX_TEXT_BYTES, Texts};
use super::{Defaults, Read};

/// Reads it once; a directory that cannot be read is a problem.
pub fn read(path: &Path, defaults: &Defaults) -> Read {
    match list(path).map(|listed| read_all(&listed)) {
        Ok(read) => texts::read(&path.to_string_lossy(), &read, defaults),
        Err(why) => Read { problems: vec![why], ..Read::default() },
    }
}

/// Files by name.
type Listed = BTreeMap<String, Version>;

/// Whatever differs when a ConfigMap's link is swapped, or somebody writes the file: of the file behind all links.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    path: PathBuf,
    /// `Err`: why nothing is known of it.
    file: Result<Stamp, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    behind: PathBuf,
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// What was read last, if all of it could be.
    last: Option<Listed>,
}

impl Directory {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    /// `None`: nothing changed, or it changes right now. What could not be read is read again with each look: the trouble may be
    /// the disk's.
    pub(super) fn look(&mut self) -> Option<Result<Texts, String>> {
        let listed = match list(&self.path) {
            Ok(listed) => listed,
            Err(why) => {
                self.last = None;
                return Some(Err(why));
            }
        };
        if self.last.as_ref() == Some(&listed) {
            return None;
        }
        let texts = read_all(&listed);
        if list(&self.path).as_ref() != Ok(&listed) {
            return None;
        }
        let whole = texts.values().all(Result::is_ok);
        self.last = whole.then_some(listed);
        Some(Ok(texts))
    }
}

fn list(path: &Path) -> Result<Listed, String> {
    let failed = |err: io::Error| format!("{}: failed to list the directory: {err}", path.display());
    let mut listed = Listed::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if texts::is_ours(&name) {
            let path = entry.path();
            let file = stamp(&path).map_err(|err| format!("failed to look at it: {err}"));
            listed.insert(name, Version { path, file });
        }
    }
    Ok(listed)
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let behind = path.canonicalize()?;
    let meta = behind.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let modified = (meta.mtime(), meta.mtime_nsec());
    Ok(Stamp { device: meta.dev(), inode: meta.ino(), length: meta.len(), modified, behind })
}

fn read_all(listed: &Listed) -> Texts {
    let read = |version: &Version| {
        version.file.as_ref().map_err(Clone::clone)?;
        text(&version.path)
    };
    listed.iter().map(|(name, version)| (name.clone(), read(version))).collect()
}

fn text(path: &Path) -> Result<String, String> {
    let failed = |err: io::Error| format!("failed to read it: {err}");
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(format!("is longer than {MAX_TEXT_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|err| format!("is no text in UTF-8: {err}"))
}
