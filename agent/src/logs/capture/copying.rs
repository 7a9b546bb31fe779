//! Reading a log through an open descriptor, where it cannot be linked: a symbolic link, another mount, a file system without
//! links. The descriptor outlives the name, so that a rotation or a removal costs nothing while the agent runs.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use jobmeter_hostfs::lease;

use super::{
    names::{FileId, Kind},
    run::{Held, Run},
};

/// Of one copy in one turn: other logs wait to be linked.
const TURN: u64 = 1 << 20;
const BUFFER: usize = 64 * 1024;
/// Of the end of what was copied, compared with the source before it is gone on with.
const TAIL: u64 = 4_096;

pub(super) struct Copying {
    source: File,
    into: File,
    at: u64,
    pub(super) caught_up: bool,
}

impl Copying {
    /// How much came. The source is read to its end, or as far as a turn goes.
    pub(super) fn turn(&mut self) -> io::Result<u64> {
        let mut buffer = vec![0; BUFFER];
        let mut copied = 0;
        // What fails is tried again in a while, not at once.
        self.caught_up = true;
        while copied < TURN {
            let n = self.source.read_at(&mut buffer, self.at)?;
            if n == 0 {
                return Ok(copied);
            }
            // By its place: what was written before a disk was full is written over, and not twice.
            self.into.write_all_at(buffer.get(..n).unwrap_or_default(), self.at)?;
            self.at += n as u64;
            copied += n as u64;
        }
        self.caught_up = false;
        Ok(copied)
    }

    /// All of it is copied, its last name is gone and nobody writes: to keep it open would keep its room on the disk.
    pub(super) fn is_over(&self) -> io::Result<bool> {
        let gone = self.caught_up && self.source.metadata()?.nlink() == 0;
        Ok(gone && self.has_writer()? == Some(false) && self.source.metadata()?.len() == self.at)
    }

    pub(super) fn has_writer(&self) -> io::Result<Option<bool>> {
        lease::has_writer(&self.source)
    }
}

impl Run {
    /// Begins to copy, or goes on where an earlier life of the agent stopped. `false`: it is being copied already.
    pub(super) fn copy(&mut self, path: &Path, gzip: bool) -> io::Result<bool> {
        let source = File::open(path)?;
        let metadata = source.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = FileId::of(&metadata);
        let copied_now = |piece: &Held| piece.file == file && piece.copying.is_some();
        if self.pieces.iter().any(copied_now) || self.state.given_up.contains(&file) {
            return Ok(false);
        }
        let dir = self.dir.clone();
        let resting = self.pieces.iter_mut().find(|piece| {
            let same = piece.name.kind.is_copy() && piece.copying.is_none() && piece.file.ino == file.ino;
            same && begins_with(&source, &dir.join(piece.name.to_string())).unwrap_or(false)
        });
        if let Some(piece) = resting {
            piece.file = file;
            piece.copying = Some(go_on(source, &dir.join(piece.name.to_string()))?);
            return Ok(true);
        }
        std::fs::create_dir_all(&dir)?;
        let name = self.name(file, Kind::new(gzip, true));
        let into = OpenOptions::new().create_new(true).write(true).open(self.path(&name))?;
        self.pieces.push(Held { name, file, copying: Some(Copying { source, into, at: 0, caught_up: false }) });
        Ok(true)
    }
}

fn go_on(source: File, path: &Path) -> io::Result<Copying> {
    let into = OpenOptions::new().write(true).open(path)?;
    let at = into.metadata()?.len();
    Ok(Copying { source, into, at, caught_up: false })
}

/// Whether the source goes on where the copy ends: its number may have been given to another file.
fn begins_with(source: &File, copy: &Path) -> io::Result<bool> {
    let mut copy = File::open(copy)?;
    let length = copy.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    let (mut ours, mut theirs) = (Vec::new(), vec![0; usize::try_from(length - from).unwrap_or_default()]);
    copy.seek(SeekFrom::Start(from))?;
    copy.read_to_end(&mut ours)?;
    match source.read_exact_at(&mut theirs, from) {
        Ok(()) => Ok(ours == theirs),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
