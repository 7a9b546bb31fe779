//! The agent's journal: what was learned of pods whose evidence is not acknowledged, on the node's disk.
//!
//! Inputs: [`Entry`]s, in batches. Outputs: the live evidence at start ([`Replay`]), and a word when a batch is durable.
//! Owner: the keeper. One thread writes; all batches that wait are made durable by one `fdatasync` (group commit).
//!
//! An append-only file of lines `crc32 json`. Evidence is cumulative, so the last line of a pod is all there is to keep of
//! it; the file is rewritten at start and whenever most of it is history. A torn or corrupt line costs that line only: it
//! is counted, logged with its offset and put aside. A lock keeps two agents from sharing one.

mod file;
mod line;
mod replay;
mod thread;

use std::{io, path::PathBuf};

pub use file::{FileJournal, Written};
pub use line::Entry;
pub use replay::Replay;
pub use thread::{Durable, Journal, JournalClosed, NotDurable};

/// Changes when an old agent would misread a new file.
pub const VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("failed to create the state directory {}", path.display())]
    CreateDirectory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the state directory is in use by another agent (lock {})", path.display())]
    Locked { path: PathBuf },
    #[error("failed to lock {}", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to read the journal {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to rewrite the journal")]
    Compact(#[source] WriteError),
    #[error("failed to start the journal's thread")]
    Thread(#[source] io::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("failed to write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to make {} durable", path.display())]
    Sync {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to put {} in place", path.display())]
    Replace {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to encode the evidence of pod {pod_uid}")]
    Encode {
        pod_uid: String,
        #[source]
        source: serde_json::Error,
    },
}
