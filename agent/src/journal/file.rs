//! The journal's file: append, rewrite, recover. Blocking; owned by the journal's thread.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{OpenError, VERSION, WriteError, line::Entry, replay::Replay};

const JOURNAL: &str = "journal";
/// What did not read well is kept for a person to look at, up to this size.
const QUARANTINE: &str = "journal.quarantine";
const QUARANTINE_LIMIT: u64 = 1024 * 1024;
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

pub struct FileJournal {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    /// Where the next line goes: everything before it is whole.
    end: u64,
    /// Last line of each live pod.
    live: HashMap<String, Span>,
    live_bytes: u64,
    /// History that is tolerated before the file is rewritten.
    slack: u64,
    /// Held as long as the journal is.
    _lock: File,
}

#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    length: u64,
}

/// What one append did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    pub compacted: bool,
}

impl FileJournal {
    pub fn open(directory: &Path, slack: u64) -> Result<(Self, Replay), OpenError> {
        make_private(directory).map_err(|source| OpenError::CreateDirectory { path: directory.to_owned(), source })?;
        let lock = lock(directory)?;
        let path = directory.join(JOURNAL);
        let replay = replay(directory, &path)?;
        let mut file = Rewrite::begin(directory).map_err(OpenError::Compact)?;
        for evidence in replay.live.values() {
            let entry = Entry::Evidence { evidence: Box::new(evidence.clone()) };
            file.add(&entry).map_err(OpenError::Compact)?;
        }
        let mut journal = Self {
            directory: directory.to_owned(),
            file: file.file.get_ref().try_clone().map_err(|source| OpenError::Read { path: path.clone(), source })?,
            path,
            end: 0,
            live: HashMap::new(),
            live_bytes: 0,
            slack,
            _lock: lock,
        };
        journal.adopt(file).map_err(OpenError::Compact)?;
        Ok((journal, replay))
    }

    pub fn len(&self) -> u64 {
        self.end
    }

    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Durable when it returns. After an error nothing of the batch counts, and it may be tried again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Written, WriteError> {
        let mut bytes = Vec::new();
        let mut spans = Vec::with_capacity(entries.len());
        for entry in entries {
            let offset = self.end + to_u64(bytes.len());
            entry.encode(&mut bytes)?;
            spans.push(Span { offset, length: self.end + to_u64(bytes.len()) - offset });
        }
        if let Err(err) = self.write(&bytes) {
            // Half a line must not stand before the next one.
            if let Err(source) = self.file.set_len(self.end) {
                tracing::error!(path = %self.path.display(), error = &source as &dyn std::error::Error, "failed to cut off a torn line");
            }
            return Err(err);
        }
        self.end += to_u64(bytes.len());
        for (entry, span) in entries.iter().zip(spans) {
            self.index(entry, span);
        }
        let mut compacted = self.end > self.live_bytes.saturating_mul(2).saturating_add(self.slack);
        if compacted && let Err(err) = self.compact() {
            // The batch is durable all the same; the next one tries again.
            tracing::error!(error = &err as &dyn std::error::Error, "failed to rewrite the journal");
            compacted = false;
        }
        Ok(Written { bytes: to_u64(bytes.len()), compacted })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        let failed = |source| WriteError::Write { path: self.path.clone(), source };
        self.file.write_all_at(bytes, self.end).map_err(failed)?;
        self.file.sync_data().map_err(|source| WriteError::Sync { path: self.path.clone(), source })
    }

    fn index(&mut self, entry: &Entry, span: Span) {
        let before = match entry {
            Entry::Begin { .. } => None,
            Entry::Evidence { evidence } => {
                self.live_bytes += span.length;
                self.live.insert(evidence.pod_uid.clone(), span)
            }
            Entry::Forgot { pod_uid } => self.live.remove(pod_uid),
        };
        self.live_bytes -= before.map_or(0, |span| span.length);
    }

    /// Live lines are copied as they are: nothing is parsed, and memory stays flat.
    fn compact(&mut self) -> Result<(), WriteError> {
        let mut rewrite = Rewrite::begin(&self.directory)?;
        let mut line = Vec::new();
        for (pod_uid, span) in &self.live {
            line.resize(usize::try_from(span.length).unwrap_or(usize::MAX), 0);
            let failed = |source| WriteError::Write { path: self.path.clone(), source };
            self.file.read_exact_at(&mut line, span.offset).map_err(failed)?;
            rewrite.copy(pod_uid, &line)?;
        }
        self.adopt(rewrite)
    }

    fn adopt(&mut self, rewrite: Rewrite) -> Result<(), WriteError> {
        let end = rewrite.end;
        let (file, live) = rewrite.finish(&self.path, &self.directory)?;
        self.file = file;
        self.end = end;
        self.live_bytes = live.values().map(|span| span.length).sum();
        self.live = live;
        Ok(())
    }
}

/// A new journal beside the old one; takes its place in one step, or not at all.
struct Rewrite {
    path: PathBuf,
    file: BufWriter<File>,
    end: u64,
    live: HashMap<String, Span>,
}

impl Rewrite {
    fn begin(directory: &Path) -> Result<Self, WriteError> {
        let path = directory.join("journal.new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(PRIVATE_FILE).open(&path);
        // One that was left behind by an interrupted rewrite has the mode it had.
        let file = file.and_then(|file| file.set_permissions(Permissions::from_mode(PRIVATE_FILE)).map(|()| file));
        let file = file.map_err(|source| WriteError::Write { path: path.clone(), source })?;
        let mut rewrite = Self { path, file: BufWriter::new(file), end: 0, live: HashMap::new() };
        let mut line = Vec::new();
        Entry::Begin { version: VERSION }.encode(&mut line)?;
        rewrite.write(&line)?;
        Ok(rewrite)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), WriteError> {
        let mut line = Vec::new();
        entry.encode(&mut line)?;
        self.copy(entry.pod_uid(), &line)
    }

    fn copy(&mut self, pod_uid: &str, line: &[u8]) -> Result<(), WriteError> {
        self.live.insert(pod_uid.to_owned(), Span { offset: self.end, length: to_u64(line.len()) });
        self.write(line)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(line).map_err(|source| WriteError::Write { path: self.path.clone(), source })?;
        self.end += to_u64(line.len());
        Ok(())
    }

    fn finish(self, path: &Path, directory: &Path) -> Result<(File, HashMap<String, Span>), WriteError> {
        let unwritten = |err: io::IntoInnerError<_>| WriteError::Write { path: self.path.clone(), source: err.into_error() };
        let file = self.file.into_inner().map_err(unwritten)?;
        file.sync_all().map_err(|source| WriteError::Sync { path: self.path.clone(), source })?;
        let replaced = |source| WriteError::Replace { path: path.to_owned(), source };
        fs::rename(&self.path, path).map_err(replaced)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(replaced)?;
        Ok((file, self.live))
    }
}

/// Evidence holds the command lines of other people's jobs. Of a directory that was there before only the mode changes; what
/// is in it, whatever its own mode, is behind it.
fn make_private(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(directory)?;
    if let Err(err) = fs::set_permissions(directory, Permissions::from_mode(PRIVATE_DIRECTORY)) {
        // Somebody else's, as a mounted volume may be: a journal that others can read is better than none.
        tracing::warn!(path = %directory.display(), error = &err as &dyn std::error::Error, "journal's directory stays as open as it is");
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("journal.lock");
    let failed = |source| OpenError::Lock { path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE_FILE).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn replay(directory: &Path, path: &Path) -> Result<Replay, OpenError> {
    let failed = |source| OpenError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Replay::default()),
        Err(err) => return Err(failed(err)),
    };
    let aside = directory.join(QUARANTINE);
    let quarantine = OpenOptions::new().append(true).create(true).mode(PRIVATE_FILE).open(&aside).map_err(failed)?;
    let room = QUARANTINE_LIMIT.saturating_sub(quarantine.metadata().map_err(failed)?.len());
    let replay = Replay::read(&mut BufReader::new(file), path, &mut Limited { file: quarantine, room }).map_err(failed)?;
    if let Some(version) = replay.foreign {
        let kept = directory.join(format!("journal.v{version}"));
        tracing::error!(path = %path.display(), version, kept = %kept.display(), "journal of another version is put aside");
        fs::rename(path, kept).map_err(failed)?;
    }
    Ok(replay)
}

/// Takes what fits and drops the rest: a disk full of corruption must not fill another one.
struct Limited {
    file: File,
    room: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(usize::try_from(self.room).unwrap_or(usize::MAX));
        self.file.write_all(&bytes[..fits])?;
        self.room -= to_u64(fits);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
