//! The one error of every reader: a path, and what was wrong with it.

use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("failed to read {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("malformed {}: {why}", path.display())]
    Malformed { path: PathBuf, why: String },
}

/// What a parser says of text it does not understand; the reader adds the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    pub fn at(self, path: impl Into<PathBuf>) -> ReadError {
        ReadError::Malformed { path: path.into(), why: self.0 }
    }
}

impl ReadError {
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Io { path, .. } | Self::Malformed { path, .. } => path,
        }
    }
}
