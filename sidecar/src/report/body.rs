//! What is posted. Files are read as they are sent; of stdin so much is kept as is sent again.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Stdin};
use std::path::{Path, PathBuf};

/// Of stdin; a longer body is sent once.
const KEPT_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// Opened anew for each try.
    File(PathBuf),
    /// More than is kept: what was read, and where the rest comes from.
    Stream {
        kept: Vec<u8>,
        rest: Once<Stdin>,
    },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: it is no regular file; send it through stdin, as -")]
    NotRegular { path: PathBuf },
    #[error("cannot read stdin: {0}")]
    Stdin(io::Error),
}

/// A reader that knows whether anything was read of it.
#[derive(Debug)]
pub(crate) struct Once<R> {
    reader: R,
    touched: bool,
    failed: Option<io::Error>,
}

/// One try's reader, and its length where it is known.
pub(crate) struct Opened<'a> {
    pub(crate) length: Option<u64>,
    pub(crate) reader: Box<dyn Read + 'a>,
}

impl Body {
    /// `-` is stdin.
    pub(crate) fn open(path: &OsStr) -> Result<Self, ReadError> {
        if path == "-" {
            return Self::of_stdin();
        }
        let path = PathBuf::from(path);
        open(&path)?;
        Ok(Self::File(path))
    }

    fn of_stdin() -> Result<Self, ReadError> {
        let mut stdin = io::stdin();
        let mut kept = Vec::new();
        stdin.by_ref().take(KEPT_BYTES + 1).read_to_end(&mut kept).map_err(ReadError::Stdin)?;
        if kept.len() as u64 <= KEPT_BYTES {
            return Ok(Self::Bytes(kept));
        }
        Ok(Self::Stream { kept, rest: Once { reader: stdin, touched: false, failed: None } })
    }

    pub(crate) fn reader(&mut self) -> Result<Opened<'_>, ReadError> {
        Ok(match self {
            Self::Bytes(bytes) => Opened { length: Some(bytes.len() as u64), reader: Box::new(&bytes[..]) },
            Self::File(path) => {
                let (file, length) = open(path)?;
                // One that grows meanwhile is sent as it was.
                Opened { length: Some(length), reader: Box::new(file.take(length)) }
            }
            Self::Stream { kept, rest } => Opened { length: None, reader: Box::new(kept.chain(rest)) },
        })
    }

    pub(crate) fn can_be_sent_again(&self) -> bool {
        !matches!(self, Self::Stream { rest, .. } if rest.touched)
    }

    /// Why the body ended early, where that was our side's fault.
    pub(crate) fn failed(&mut self) -> Option<ReadError> {
        match self {
            Self::Stream { rest, .. } => rest.failed.take().map(ReadError::Stdin),
            _ => None,
        }
    }
}

fn open(path: &Path) -> Result<(File, u64), ReadError> {
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    // Opening a pipe would wait for its writer.
    let regular = path.metadata().map_err(failed)?.is_file();
    if !regular {
        return Err(ReadError::NotRegular { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

impl<R: Read> Read for &mut Once<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.touched = true;
        self.reader.read(into).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}
