//! Reads the pieces of a sealed log, in order, leaving nothing of them in the page cache: that is the jobs'.
//!
//! A piece that is not as it was when the log was sealed is an error: capture looks again. What a damaged piece cannot give is
//! a hole that is told.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use jobmeter_protocol::Missing;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::trouble::Trouble;
use crate::logs::{Piece, PieceForm};

/// Small enough for the second-level cache, large enough to make system calls cheap.
const CHUNK: usize = 128 * 1024;
/// The page cache is let go in steps of this.
const STEP: u64 = 4 * 1024 * 1024;

/// Gives the content to `take`, and returns the hole, if there is one.
pub(super) fn read_piece(piece: &Piece, take: &mut impl FnMut(&[u8]) -> Result<(), Trouble>) -> Result<Option<Missing>, Trouble> {
    let file = File::open(&piece.path).map_err(|err| unreadable(&piece.path, &format!("cannot be opened: {err}")))?;
    let length = file.metadata().map_err(|source| Trouble::Read { path: piece.path.clone(), source })?.len();
    if length > piece.bytes {
        return Err(unreadable(&piece.path, &format!("grew from {} to {length} bytes after the log was sealed", piece.bytes)));
    }
    let mut file = Passing { file, read: 0, let_go: 0 };
    let read = match piece.form {
        PieceForm::Plain => copy(&mut file, &piece.path, take),
        PieceForm::Gzip => return copy_gzip(&mut file, piece, take),
    }?;
    let short = piece.bytes.saturating_sub(read);
    Ok((short > 0).then(|| Missing {
        why: format!("a file of {} bytes was cut to {read} bytes after the log was sealed", piece.bytes),
        raw_bytes: Some(short),
    }))
}

fn copy(from: &mut impl Read, path: &Path, take: &mut impl FnMut(&[u8]) -> Result<(), Trouble>) -> Result<u64, Trouble> {
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                total += read as u64;
                take(chunk.get(..read).unwrap_or_default())?;
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Trouble::Read { path: path.to_owned(), source }),
        }
    }
}

/// A damaged one gives what it can: nobody can compress it again.
fn copy_gzip(
    file: &mut Passing,
    piece: &Piece,
    take: &mut impl FnMut(&[u8]) -> Result<(), Trouble>,
) -> Result<Option<Missing>, Trouble> {
    match copy(&mut MultiGzDecoder::new(file), &piece.path, take) {
        Ok(_) => Ok(None),
        Err(Trouble::Read { source, .. }) if is_damage(&source) => Ok(Some(Missing {
            why: format!("a rotated file that was compressed is damaged from some point on: {source}"),
            raw_bytes: None,
        })),
        Err(other) => Err(other),
    }
}

fn is_damage(err: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    err.raw_os_error().is_none() && matches!(err.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn unreadable(path: &Path, why: &str) -> Trouble {
    Trouble::Unreadable { why: format!("{} {why}", path.display()) }
}

/// What was read of it leaves the page cache.
struct Passing {
    file: File,
    read: u64,
    let_go: u64,
}

impl Read for Passing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        if self.read - self.let_go >= STEP {
            self.let_go();
        }
        Ok(read)
    }
}

impl Passing {
    fn let_go(&mut self) {
        let (Ok(from), Ok(length)) = (i64::try_from(self.let_go), i64::try_from(self.read - self.let_go)) else { return };
        // It is advice: a file system that does not take it reads as well.
        if let Err(err) = posix_fadvise(&self.file, from, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
            tracing::trace!(error = &err as &dyn std::error::Error, "file system takes no advice");
        }
        self.let_go = self.read;
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    fn all(piece: &Piece) -> (Vec<u8>, Result<Option<Missing>, Trouble>) {
        let mut content = Vec::new();
        let outcome = read_piece(piece, &mut |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        });
        (content, outcome)
    }

    fn piece(path: &Path, form: PieceForm) -> Piece {
        Piece { path: path.to_owned(), form, bytes: fs::metadata(path).unwrap().len() }
    }

    #[test]
    fn a_piece_that_changed_since_it_was_sealed_is_not_taken_for_what_it_was() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("0.log");
        fs::write(&path, vec![b'x'; 300_000]).unwrap();
        let sealed = piece(&path, PieceForm::Plain);
        assert!(matches!(all(&sealed), (content, Ok(None)) if content.len() == 300_000));
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        assert!(matches!(all(&sealed).1, Err(Trouble::Unreadable { .. })));
        fs::write(&path, "cut").unwrap();
        assert!(matches!(all(&sealed), (content, Ok(Some(hole))) if content == b"cut" && hole.raw_bytes == Some(299_997)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(all(&sealed).1, Err(Trouble::Unreadable { .. })));
    }

    #[test]
    fn a_damaged_compressed_piece_gives_what_it_can_and_says_so() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("0.gz");
        let text: Vec<u8> = (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let whole = gzip.finish().unwrap();
        fs::write(&path, &whole).unwrap();
        assert!(matches!(all(&piece(&path, PieceForm::Gzip)), (content, Ok(None)) if content == text));
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (content, hole) = all(&piece(&path, PieceForm::Gzip));
        assert!(content.len() > 100_000 && text.starts_with(&content));
        assert!(hole.unwrap().unwrap().why.contains("damaged"));
    }
}
