//! Where logs and archives are kept: a directory, an S3-compatible store, or IBM Cloud Object Storage.
//!
//! Inputs: keys and bytes. Outputs: the same, later. Which store it is, is decided by what the configuration and the mounted
//! Secret hold ([`choice`]), and may change while the process runs. Nothing here knows what a log is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::stream::BoxStream;
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_protocol::logs::{Piece, Target, UploadedObject};

use crate::config::objects::ObjectsConfig;
use checked::Checked;
use choice::{Backend, Choice};

mod checked;
mod choice;
mod directory;
mod s3;
mod secret;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects(Arc<Choice>);

/// What an object is, for whoever downloads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub content_type: &'static str,
    pub content_encoding: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub bytes: u64,
}

/// Bytes `first..=last`; to the end where `last` is absent. What is beyond the end of an object is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    pub first: u64,
    pub last: Option<u64>,
}

pub type ByteStream = BoxStream<'static, Result<Bytes, ObjectError>>;

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("there is no object {key}")]
    NotFound { key: String },
    /// What is configured is no store: it stays so until somebody acts.
    #[error("there is no usable object store: {why}")]
    Unusable { why: String },
    /// Credentials, permissions, a bucket that is not there: it stays so until somebody acts.
    #[error("the object store refuses to {action} {key}: {why}")]
    Refused { action: &'static str, key: String, why: String },
    /// May be better later.
    #[error("failed to {action} {key}")]
    Failed {
        action: &'static str,
        key: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was put is not what arrived.
    #[error("{key} is not as it was put: {why}")]
    Mismatch { key: String, why: String },
    #[error("the disk of the object directory is full: {key}")]
    Full { key: String },
}

impl Objects {
    /// Reaches for nothing yet: a store that is away is told by each call, never at the start.
    pub fn new(config: ObjectsConfig, sources: SourceBoard) -> Self {
        Self::looking_every(config, sources, None)
    }

    /// With another period between looks at the Secret, for tests.
    pub fn looking_every(config: ObjectsConfig, sources: SourceBoard, period: Option<Duration>) -> Self {
        let choice = Choice::new(config, sources, period);
        // What is wrong with the configuration is on the board from the start.
        drop(choice.current());
        Self(Arc::new(choice))
    }

    /// A small object at once.
    pub async fn put(&self, key: &str, attributes: &Attributes, bytes: Bytes) -> Result<(), ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.put(key, bytes).await,
            Backend::S3(store) => store.put(key, attributes, bytes).await,
        }
    }

    /// Begins an object of several parts.
    pub async fn begin(&self, key: &str, attributes: &Attributes) -> Result<String, ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.begin(key).await,
            Backend::S3(store) => store.begin(key, attributes).await,
        }
    }

    /// URLs for the pieces, good for an hour. `None`: this store has no such URLs; the bytes go through [`Self::put_piece`].
    pub async fn targets(
        &self,
        key: &str,
        attributes: &Attributes,
        multipart: Option<&str>,
        pieces: &[Piece],
    ) -> Result<Option<Vec<Target>>, ObjectError> {
        match &*self.backend()? {
            Backend::Directory(_) => Ok(None),
            Backend::S3(store) => store.targets(key, attributes, multipart, pieces).await,
        }
    }

    /// One piece, streamed: never more than a few chunks in memory. Length and MD5 are checked. Returns its ETag.
    pub async fn put_piece(
        &self,
        key: &str,
        attributes: &Attributes,
        multipart: Option<&str>,
        piece: &Piece,
        body: ByteStream,
    ) -> Result<String, ObjectError> {
        let body = Checked::new(key, piece, body)?;
        match &*self.backend()? {
            Backend::Directory(directory) => directory.put_piece(key, multipart, piece, body).await,
            Backend::S3(store) => store.put_piece(key, attributes, multipart, piece, body).await,
        }
    }

    /// Puts the parts together where there are parts, and verifies that the object is there with its length. A repetition
    /// after it succeeded succeeds again.
    pub async fn complete(&self, key: &str, object: &UploadedObject) -> Result<(), ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.complete(key, object).await,
            Backend::S3(store) => store.complete(key, object).await,
        }
    }

    pub async fn head(&self, key: &str) -> Result<Option<Head>, ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.head(key).await,
            Backend::S3(store) => store.head(key).await,
        }
    }

    pub async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<ByteStream, ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.get(key, range).await,
            Backend::S3(store) => store.get(key, range).await,
        }
    }

    /// An object that is not there is deleted.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.delete(key).await,
            Backend::S3(store) => store.delete(key).await,
        }
    }

    /// For people: `s3://bucket/key`, or the path of the file.
    pub fn location(&self, key: &str) -> String {
        match self.0.current().as_deref() {
            Ok(Backend::Directory(directory)) => directory.location(key),
            Ok(Backend::S3(store)) => store.location(key),
            Err(_) => key.to_owned(),
        }
    }

    /// PEM of the authorities that clients of [`Self::targets`] must trust.
    pub fn ca_pem(&self) -> Option<String> {
        match self.0.current().as_deref() {
            Ok(Backend::S3(store)) => store.ca_pem(),
            Ok(Backend::Directory(_)) | Err(_) => None,
        }
    }

    /// Only the directory has a retention of ours; a store has lifecycle rules.
    pub fn is_directory(&self) -> bool {
        matches!(self.0.current().as_deref(), Ok(Backend::Directory(_)))
    }

    /// Removes uploads of parts that were begun so long ago and never completed.
    pub async fn abort_stale(&self, older_than: Duration) -> Result<u64, ObjectError> {
        match &*self.backend()? {
            Backend::Directory(directory) => directory.abort_stale(older_than).await,
            Backend::S3(store) => store.abort_stale(older_than).await,
        }
    }

    fn backend(&self) -> Result<Arc<Backend>, ObjectError> {
        self.0.current().map_err(|why| ObjectError::Unusable { why })
    }
}
