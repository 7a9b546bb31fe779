//! Where the index of times goes while a log is encoded: memory, then a file beside the log's pieces.
//!
//! The index is a convenience, the log is not: a disk that is full costs the index and nothing else.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use jobmeter_protocol::logs::MAX_INLINE_TIMES;

/// As much as fits into [`MAX_INLINE_TIMES`] in base64.
const INLINE: usize = MAX_INLINE_TIMES / 4 * 3;

#[derive(Debug)]
pub(super) struct TimesSink {
    path: PathBuf,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
    failed: Option<io::Error>,
}

#[derive(Debug)]
pub(super) enum Times {
    None,
    Inline(Vec<u8>),
    File(PathBuf),
}

impl TimesSink {
    /// `path`: of the file, should one be needed.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, memory: Vec::new(), file: None, failed: None }
    }

    pub(super) fn finish(mut self, has_times: bool) -> Times {
        if has_times
            && self.failed.is_none()
            && let Some(file) = &mut self.file
        {
            self.failed = file.flush().err();
        }
        match (has_times, self.failed, self.file) {
            (false, ..) => Times::None,
            (true, Some(err), _) => {
                tracing::warn!(path = %self.path.display(), error = &err as &dyn std::error::Error, "a log goes without the times of its lines");
                Times::None
            }
            (true, None, Some(_)) => Times::File(self.path),
            (true, None, None) => Times::Inline(self.memory),
        }
    }

    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                // Whoever may still write to an old one of this name has it for himself.
                match fs::remove_file(&self.path) {
                    Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                    _ => {}
                }
                let mut file = BufWriter::with_capacity(32 * 1024, File::create_new(&self.path)?);
                file.write_all(&std::mem::take(&mut self.memory))?;
                self.file.insert(file)
            }
        };
        file.write_all(bytes)
    }
}

impl Write for TimesSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            self.memory = Vec::new();
        } else if self.file.is_none() && self.memory.len() + bytes.len() <= INLINE {
            self.memory.extend_from_slice(bytes);
        } else if let Err(err) = self.spill(bytes) {
            self.failed = Some(err);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_index_stays_in_memory_and_a_large_one_is_a_file() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("ship.times");
        let bytes: Vec<u8> = (0..INLINE + 1).map(|n| (n % 251) as u8).collect();
        let mut sink = TimesSink::new(path.clone());
        sink.write_all(&bytes[..INLINE]).unwrap();
        assert!(matches!(sink.finish(true), Times::Inline(kept) if kept == bytes[..INLINE]));
        assert!(!path.exists());

        fs::write(&path, "of a run that was killed").unwrap();
        let mut sink = TimesSink::new(path.clone());
        for chunk in bytes.chunks(1_000) {
            sink.write_all(chunk).unwrap();
        }
        assert!(matches!(sink.finish(true), Times::File(file) if file == path));
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_the_index_and_not_the_log() {
        let mut sink = TimesSink::new("/nowhere/ship.times".into());
        sink.write_all(&vec![0; INLINE * 2]).unwrap();
        assert!(matches!(sink.finish(true), Times::None));
    }
}
