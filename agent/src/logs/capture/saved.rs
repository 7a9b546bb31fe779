//! What links cannot say, beside them: `state.json` (holes that are known), `done.json` (what is done with).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use jiff::Timestamp;
use jobmeter_protocol::Missing;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{content::truncated, names::FileId};

pub(super) const STATE: &str = "state.json";
pub(super) const DONE: &str = "done.json";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(default)]
    pub(super) missing: Vec<Missing>,
    /// Files that were given up: they are not to be captured again.
    #[serde(default)]
    pub(super) given_up: Vec<FileId>,
}

/// A log that is held no more; what is left to know of it while the kubelet's own files are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) fate: Fate,
    pub(super) raw_bytes: u64,
    pub(super) pieces: Vec<DonePiece>,
    pub(super) at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    Stored {
        key: String,
    },
    /// It will never be in the store.
    Dropped {
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DonePiece {
    pub(super) file: FileId,
    pub(super) bytes: u64,
    /// Of the content before compression: CRC of its beginning, and its length modulo 2³².
    pub(super) head: u32,
    pub(super) length: u32,
}

impl State {
    /// Written by another version of the agent, or damaged. What it said of holes is a hole itself.
    pub(super) fn unknown(error: &io::Error) -> Self {
        let why = format!("the agent's notes of what is missing cannot be read: {error}");
        Self { missing: vec![Missing { why, raw_bytes: None }], given_up: Vec::new() }
    }
}

impl Done {
    /// Before compression.
    pub(super) fn plain_bytes(&self) -> u64 {
        let plain = |piece: &DonePiece| if truncated(piece.bytes) == piece.length { piece.bytes } else { piece.length.into() };
        self.pieces.iter().map(plain).sum()
    }
}

/// `None`: not there.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// All of it or nothing, also after a power cut.
pub(super) fn write<T: Serialize>(path: &Path, what: &T) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(what)?)?;
    file.sync_data()?;
    fs::rename(temporary, path)
}
