//! What is in a report directory and may be shown. Blocks. No symbolic link is followed but `latest`, and that only to a run beside
//! it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::listing::Entry;
use crate::runs::reports::{LATEST, is_run};

/// Entries of one list.
const MAX_ENTRIES: usize = 100_000;

#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pub(super) directory: PathBuf,
    /// Runs that are somebody else's, where several definitions share a directory.
    pub(super) hidden: BTreeSet<String>,
    /// The definition's own last run, where the link points to somebody else's.
    pub(super) newest: Option<String>,
}

pub(super) enum Found {
    Directory(Vec<Entry>),
    File(File),
}

impl Shelf {
    pub(super) fn find(&self, below: &[String]) -> io::Result<Option<Found>> {
        match below {
            [] => Ok(Some(Found::Directory(self.runs()?))),
            [run] => match self.run(run)? {
                Some(run) => Ok(files(&self.directory.join(run))?.map(Found::Directory)),
                None => Ok(None),
            },
            [run, file] => match self.run(run)? {
                Some(run) => Ok(self.open(&run, file)?.map(Found::File)),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Newest first, `latest` before them all.
    fn runs(&self) -> io::Result<Vec<Entry>> {
        let mut runs =
            listed(&self.directory, |name, metadata| metadata.is_dir() && is_run(name) && !self.hidden.contains(name))?;
        let mut runs = runs.take().unwrap_or_default();
        runs.reverse();
        if self.latest()?.is_some_and(|latest| runs.iter().any(|run| run.name == latest)) {
            runs.insert(0, Entry::directory(LATEST.to_owned()));
        }
        Ok(runs)
    }

    fn run(&self, name: &str) -> io::Result<Option<String>> {
        let run = if name == LATEST { self.latest()? } else { Some(name.to_owned()) };
        Ok(run.filter(|run| is_run(run) && !self.hidden.contains(run)))
    }

    fn latest(&self) -> io::Result<Option<String>> {
        let linked = match fs::read_link(self.directory.join(LATEST)) {
            Ok(target) => target.to_str().map(str::to_owned).filter(|target| is_run(target)),
            // Not there, or no link.
            Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => None,
            Err(err) => return Err(err),
        };
        Ok(linked.filter(|run| !self.hidden.contains(run)).or_else(|| self.newest.clone()))
    }

    fn open(&self, run: &str, file: &str) -> io::Result<Option<File>> {
        let directory = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = open(&self.directory, directory, Mode::empty())
            .and_then(|parent| openat(parent, run, directory | OFlag::O_NOFOLLOW, Mode::empty()))
            // Whatever lies there: a pipe must not hold us up.
            .and_then(|run| {
                openat(run, file, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
            });
        let opened = match opened {
            Ok(opened) => File::from(opened),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO | Errno::ENAMETOOLONG) => return Ok(None),
            Err(err) => return Err(err.into()),
        };
        Ok(opened.metadata()?.is_file().then_some(opened))
    }
}

/// Of one run. `None`: it has no directory.
fn files(run: &Path) -> io::Result<Option<Vec<Entry>>> {
    match fs::symlink_metadata(run) {
        Ok(found) if found.is_dir() => listed(run, |name, metadata| metadata.is_file() && !name.starts_with('.')),
        Ok(_) => Ok(None),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// In the order of names. `None`: there is no such directory.
fn listed(directory: &Path, shown: impl Fn(&str, &fs::Metadata) -> bool) -> io::Result<Option<Vec<Entry>>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    let mut list = Vec::new();
    for entry in entries.take(MAX_ENTRIES) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Deleted meanwhile.
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            Err(err) => return Err(err),
        };
        if shown(&name, &metadata) {
            let modified = Timestamp::try_from(metadata.modified()?).ok();
            let bytes = metadata.is_file().then_some(metadata.len());
            list.push(Entry { name, bytes, modified });
        }
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(list))
}
