//! One run of one container in the spool: its pieces, and how far it has come.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Instant,
};

use jiff::Timestamp;
use jobmeter_protocol::{LogId, Missing};

use super::{
    copying::Copying,
    names::{FileId, Kind, PieceName, parse},
    saved::{self, DONE, Done, STATE, State},
};
use crate::logs::PieceForm;

/// A link whose name is not settled. Only a kill leaves one behind.
pub(super) const NEW: &str = ".new";

pub(super) struct Run {
    pub(super) log: LogId,
    pub(super) dir: PathBuf,
    pub(super) pieces: Vec<Held>,
    pub(super) state: State,
    pub(super) phase: Phase,
    /// It was stored before, with what is said here.
    pub(super) done: Option<Done>,
    /// Names of compressed files whose content is held in a better form.
    pub(super) duplicates: HashSet<PathBuf>,
    pub(super) bytes: u64,
    /// Since when nothing was written to it.
    pub(super) quiet_since: Instant,
    /// It can write no more, as far as the books know.
    pub(super) ended: bool,
    pub(super) pod_over: bool,
    next_seq: u32,
    /// The first number of this life of the agent.
    first_seq: u32,
}

pub(super) struct Held {
    pub(super) name: PieceName,
    /// The file itself. Device numbers may have changed since it was named.
    pub(super) file: FileId,
    pub(super) copying: Option<Copying>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Sealed {
        since: Timestamp,
        pieces: Vec<(PieceName, u64)>,
    },
    /// In the store; nothing is held.
    Done,
}

impl Run {
    pub(super) fn new(log: LogId, dir: PathBuf) -> Self {
        Self {
            log,
            dir,
            pieces: Vec::new(),
            state: State::default(),
            phase: Phase::Open,
            done: None,
            duplicates: HashSet::new(),
            bytes: 0,
            quiet_since: Instant::now(),
            ended: false,
            pod_over: false,
            next_seq: 1,
            first_seq: 1,
        }
    }

    /// As an earlier life of the agent left it.
    pub(super) fn load(log: LogId, dir: PathBuf) -> io::Result<Self> {
        let mut run = Self::new(log, dir);
        for entry in fs::read_dir(&run.dir)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(parse) else { continue };
            let file = if name.kind.is_copy() { name.file } else { FileId::of(&entry.metadata()?) };
            run.next_seq = run.next_seq.max(name.seq + 1);
            run.pieces.push(Held { name, file, copying: None });
        }
        run.pieces.sort_unstable_by_key(|piece| piece.name);
        run.first_seq = run.next_seq;
        run.state = match saved::read(&run.dir.join(STATE)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => State::unknown(&error),
            state => state?.unwrap_or_default(),
        };
        run.done = match saved::read(&run.dir.join(DONE)) {
            // It is offered once more, and the coordinator knows that it has it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            done => done?,
        };
        run.adopt_leftover()?;
        run.drop_duplicates()?;
        if run.done.as_ref().is_some_and(|done| run.adds_nothing_to(done)) {
            run.let_go()?;
            run.phase = Phase::Done;
        }
        Ok(run)
    }

    /// Killed between the link to a compressed file and the look at what it holds.
    fn drop_duplicates(&mut self) -> io::Result<()> {
        let compressed = self.pieces.iter().map(|piece| piece.name).filter(|name| name.kind.form() == PieceForm::Gzip);
        let doubled: Vec<PieceName> = compressed.filter(|name| self.is_duplicate(&self.path(name))).collect();
        for name in doubled {
            self.pieces.retain(|piece| piece.name != name);
            absent_is_fine(fs::remove_file(self.path(&name)))?;
        }
        Ok(())
    }

    /// Killed between the end of an upload and the removal of the pieces.
    fn adds_nothing_to(&self, done: &Done) -> bool {
        self.pieces.iter().all(|piece| {
            let bytes = fs::metadata(self.path(&piece.name)).map_or(0, |metadata| metadata.len());
            done.pieces.iter().any(|known| known.file == piece.file && known.bytes == bytes)
        })
    }

    pub(super) fn adopt_leftover(&mut self) -> io::Result<()> {
        let path = self.dir.join(NEW);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                let gzip = super::content::is_gzip(&path)?;
                self.adopt(gzip).map(drop)
            }
        }
    }

    /// Gives the new link its name. `None`: it is held already, or it is no file.
    pub(super) fn adopt(&mut self, gzip: bool) -> io::Result<Option<PieceName>> {
        let path = self.dir.join(NEW);
        let metadata = fs::symlink_metadata(&path)?;
        let file = FileId::of(&metadata);
        if !metadata.is_file() || self.holds(file) {
            fs::remove_file(&path)?;
            return Ok(None);
        }
        let name = self.name(file, Kind::new(gzip, false));
        fs::rename(&path, self.path(&name))?;
        self.pieces.push(Held { name, file, copying: None });
        Ok(Some(name))
    }

    pub(super) fn name(&mut self, file: FileId, kind: Kind) -> PieceName {
        let seq = self.next_seq;
        self.next_seq += 1;
        PieceName { seq, file, kind }
    }

    /// While it is held its number cannot be given to another file.
    pub(super) fn holds(&self, file: FileId) -> bool {
        self.pieces.iter().any(|piece| piece.file == file && !piece.name.kind.is_copy())
    }

    pub(super) fn path(&self, name: &PieceName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    pub(super) fn has_content(&self) -> bool {
        !self.pieces.is_empty() || !self.state.missing.is_empty()
    }

    /// `false`: that hole was known before.
    pub(super) fn add_missing(&mut self, why: String, raw_bytes: Option<u64>) -> io::Result<bool> {
        let hole = Missing { why, raw_bytes };
        if self.state.missing.contains(&hole) {
            return Ok(false);
        }
        self.state.missing.push(hole);
        if let Err(error) = self.save_state() {
            // Known is what is written down: who says it again is to try again.
            self.state.missing.pop();
            return Err(error);
        }
        Ok(true)
    }

    /// Files came while the agent was down, and the last one before them is not among the kubelet's any more: it keeps the newest,
    /// so others between them may have come and gone.
    pub(super) fn may_have_missed_files(&self) -> io::Result<bool> {
        let before = self.pieces.iter().filter(|piece| piece.name.seq < self.first_seq).max_by_key(|piece| piece.name.seq);
        let came = self.pieces.iter().any(|piece| piece.name.seq >= self.first_seq);
        let Some(before) = before.filter(|_| came && self.duplicates.is_empty()) else { return Ok(false) };
        if before.name.kind.is_copy() || before.name.kind.form() == PieceForm::Gzip {
            return Ok(false);
        }
        Ok(fs::metadata(self.path(&before.name))?.nlink() == 1)
    }

    pub(super) fn save_state(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        saved::write(&self.dir.join(STATE), &self.state)
    }

    /// Writes down what is done with, then removes all else.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if let Some(done) = &self.done {
            saved::write(&self.dir.join(DONE), done)?;
        }
        self.let_go()
    }

    /// Removes all but `done.json`.
    pub(super) fn let_go(&mut self) -> io::Result<()> {
        self.pieces.clear();
        self.duplicates.clear();
        self.state = State::default();
        self.bytes = 0;
        each_entry(&self.dir, |path| {
            let stays = path.file_name().is_some_and(|name| name == DONE);
            if stays { Ok(()) } else { absent_is_fine(fs::remove_file(path)) }
        })
    }

    /// Removes all of it.
    pub(super) fn remove(&self) -> io::Result<()> {
        absent_is_fine(fs::remove_dir_all(&self.dir))
    }
}

fn each_entry(directory: &Path, mut what: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.into_iter().try_for_each(|entry| what(&entry?.path())),
        Err(error) => absent_is_fine(Err(error)),
    }
}

pub(super) fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
