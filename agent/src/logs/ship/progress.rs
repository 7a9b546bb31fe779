//! What of an upload is done, written down beside the log's pieces, so that a crash repeats little of it.
//!
//! Only uploads in parts have such a file, `ship.json`; and a log that is all in the store but not yet acknowledged has
//! `ship.complete.json`, with what the coordinator is to be told. Neither is believed blindly: a part counts if its bytes and
//! digest are those of the part that is there now. A disk that takes no notes costs repetition and nothing else.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use jobmeter_protocol::{
    Missing,
    logs::{CompleteRequest, ObjectKind, Piece, UploadPolicy, UploadedPart},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::logs::SealedLog;

#[derive(Debug)]
pub(super) struct Progress {
    directory: PathBuf,
    plan: Plan,
    notes: Notes,
    complete: Option<CompleteRequest>,
    saved: Option<Instant>,
    unsaved: bool,
}

/// What both files are good for: anything else, and the upload begins anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) key: String,
    pub(super) policy: UploadPolicy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Notes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<Begun>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<Begun>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    multipart: String,
    parts: BTreeMap<u32, Put>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Put {
    bytes: u64,
    md5: String,
    etag: String,
}

#[derive(Serialize, Deserialize)]
struct NotesFile {
    version: u32,
    plan: Plan,
    notes: Notes,
}

#[derive(Serialize, Deserialize)]
struct CompleteFile {
    version: u32,
    plan: Plan,
    raw_bytes: u64,
    missing: Vec<Missing>,
    request: CompleteRequest,
}

const VERSION: u32 = 1;
const NOTES: &str = "ship.json";
const COMPLETE: &str = "ship.complete.json";

impl Progress {
    /// What an earlier attempt left, if it had the same plan.
    pub(super) async fn load(sealed: &SealedLog, plan: Plan) -> Self {
        let directory = sealed.directory.clone();
        let read = tokio::task::spawn_blocking(move || {
            (read::<NotesFile>(&directory.join(NOTES)), read::<CompleteFile>(&directory.join(COMPLETE)))
        });
        let (notes, complete) = read.await.unwrap_or_default();
        let notes = notes.filter(|file| file.version == VERSION && file.plan == plan).map(|file| file.notes);
        let same = |file: &CompleteFile| {
            file.version == VERSION && file.plan == plan && file.raw_bytes == sealed.raw_bytes && file.missing == sealed.missing
        };
        let complete = complete.filter(same).map(|file| file.request);
        let notes = notes.unwrap_or_default();
        Self { directory: sealed.directory.clone(), plan, notes, complete, saved: None, unsaved: false }
    }

    /// All of it is in the store: only this is to be said.
    pub(super) fn complete(&self) -> Option<&CompleteRequest> {
        self.complete.as_ref()
    }

    pub(super) fn multipart(&self, kind: ObjectKind) -> Option<&str> {
        self.begun(kind).map(|begun| begun.multipart.as_str())
    }

    /// The part as it was put before, if it was this one.
    pub(super) fn find(&self, kind: ObjectKind, piece: &Piece) -> Option<UploadedPart> {
        let put = self.begun(kind)?.parts.get(&piece.number)?;
        let same = put.bytes == piece.bytes && put.md5 == piece.md5;
        same.then(|| UploadedPart { number: piece.number, bytes: put.bytes, etag: put.etag.clone() })
    }

    pub(super) async fn begin(&mut self, kind: ObjectKind, multipart: String) {
        *self.begun_mut(kind) = Some(Begun { multipart, parts: BTreeMap::new() });
        self.unsaved = true;
        self.save().await;
    }

    /// Written down at once if the last time was long ago.
    pub(super) async fn put(&mut self, kind: ObjectKind, piece: &Piece, etag: &str, every: Duration) {
        if let Some(begun) = self.begun_mut(kind) {
            let put = Put { bytes: piece.bytes, md5: piece.md5.clone(), etag: etag.to_owned() };
            begun.parts.insert(piece.number, put);
            self.unsaved = true;
        }
        if self.saved.is_none_or(|saved| saved.elapsed() >= every) {
            self.save().await;
        }
    }

    /// The store forgot it, or what it has is wrong.
    pub(super) async fn forget(&mut self, kind: ObjectKind) {
        self.unsaved |= self.begun_mut(kind).take().is_some();
        self.save().await;
    }

    pub(super) async fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        (self.unsaved, self.saved) = (false, Some(Instant::now()));
        let file = NotesFile { version: VERSION, plan: self.plan.clone(), notes: self.notes.clone() };
        self.write(NOTES, file).await;
    }

    /// The coordinator could not be told; a later attempt says it without putting anything again.
    pub(super) async fn save_complete(&mut self, sealed: &SealedLog, request: CompleteRequest) {
        let (raw_bytes, missing) = (sealed.raw_bytes, sealed.missing.clone());
        let file = CompleteFile { version: VERSION, plan: self.plan.clone(), raw_bytes, missing, request };
        self.write(COMPLETE, file).await;
    }

    /// Nothing of it counts.
    pub(super) async fn begin_anew(&mut self) {
        (self.notes, self.complete, self.unsaved) = (Notes::default(), None, false);
        let paths = [COMPLETE, NOTES].map(|name| self.directory.join(name));
        let removed = tokio::task::spawn_blocking(move || {
            for path in paths {
                match fs::remove_file(&path) {
                    Err(err) if err.kind() != io::ErrorKind::NotFound => complain(&path, &err),
                    _ => {}
                }
            }
        });
        // Cancelled only with the runtime.
        drop(removed.await);
    }

    fn begun(&self, kind: ObjectKind) -> Option<&Begun> {
        match kind {
            ObjectKind::Log => self.notes.log.as_ref(),
            ObjectKind::Times => self.notes.times.as_ref(),
        }
    }

    fn begun_mut(&mut self, kind: ObjectKind) -> &mut Option<Begun> {
        match kind {
            ObjectKind::Log => &mut self.notes.log,
            ObjectKind::Times => &mut self.notes.times,
        }
    }

    async fn write<T: Serialize + Send + 'static>(&self, name: &'static str, content: T) {
        let directory = self.directory.clone();
        let written = tokio::task::spawn_blocking(move || {
            if let Err(err) = write(&directory, name, &content) {
                complain(&directory.join(name), &err);
            }
        });
        drop(written.await);
    }
}

fn complain(path: &Path, err: &io::Error) {
    tracing::warn!(path = %path.display(), error = err as &dyn std::error::Error, "failed to note how far an upload is; after a crash more of it is repeated");
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return None,
        Err(err) => {
            complain(path, &err);
            return None;
        }
    };
    serde_json::from_slice(&text).map_err(|err| complain(path, &err.into())).ok()
}

/// All of it or nothing, whatever happens.
fn write<T: Serialize>(directory: &Path, name: &str, content: &T) -> io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    File::open(directory)?.sync_all()
}
