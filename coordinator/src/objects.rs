//! Where logs and archives are kept: a directory, an S3-compatible store, or IBM Cloud Object Storage.
//!
//! Inputs: keys and bytes. Outputs: the same, later. Which store it is, is decided by what the configuration and the mounted
//! Secret hold, and may change while the process runs. Nothing here knows what a log is.

use axum::body::Bytes;
use futures::stream::BoxStream;
use jobmeter_protocol::logs::{Piece, Target, UploadedObject};

/// Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    _private: (),
}

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

/// Bytes `first..=last`; to the end where `last` is absent.
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
    /// Credentials, permissions, a bucket that is not there: it stays so until somebody acts.
    #[error("the object store refuses {action} {key}: {why}")]
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
    /// A small object at once.
    pub async fn put(&self, _key: &str, _attributes: &Attributes, _bytes: Bytes) -> Result<(), ObjectError> {
        unimplemented!("the room is being built")
    }

    /// Begins an object of several parts.
    pub async fn begin(&self, _key: &str, _attributes: &Attributes) -> Result<String, ObjectError> {
        unimplemented!("the room is being built")
    }

    /// URLs for the pieces, good for an hour. `None`: this store has no such URLs; the bytes go through [`Self::put_piece`].
    pub async fn targets(
        &self,
        _key: &str,
        _attributes: &Attributes,
        _multipart: Option<&str>,
        _pieces: &[Piece],
    ) -> Result<Option<Vec<Target>>, ObjectError> {
        unimplemented!("the room is being built")
    }

    /// One piece, streamed: never more than a few chunks in memory. Length and MD5 are checked. Returns its ETag.
    pub async fn put_piece(
        &self,
        _key: &str,
        _attributes: &Attributes,
        _multipart: Option<&str>,
        _piece: &Piece,
        _body: ByteStream,
    ) -> Result<String, ObjectError> {
        unimplemented!("the room is being built")
    }

    /// Puts the parts together where there are parts, and verifies that the object is there with its length. A repetition
    /// after it succeeded succeeds again.
    pub async fn complete(&self, _key: &str, _object: &UploadedObject) -> Result<(), ObjectError> {
        unimplemented!("the room is being built")
    }

    pub async fn head(&self, _key: &str) -> Result<Option<Head>, ObjectError> {
        unimplemented!("the room is being built")
    }

    pub async fn get(&self, _key: &str, _range: Option<ByteRange>) -> Result<ByteStream, ObjectError> {
        unimplemented!("the room is being built")
    }

    /// An object that is not there is deleted.
    pub async fn delete(&self, _key: &str) -> Result<(), ObjectError> {
        unimplemented!("the room is being built")
    }

    /// For people: `s3://bucket/key`, or the path of the file.
    pub fn location(&self, _key: &str) -> String {
        unimplemented!("the room is being built")
    }

    /// PEM of the authorities that clients of [`Self::targets`] must trust.
    pub fn ca_pem(&self) -> Option<String> {
        unimplemented!("the room is being built")
    }

    /// Only the directory has a retention of ours; a store has lifecycle rules.
    pub fn is_directory(&self) -> bool {
        unimplemented!("the room is being built")
    }

    /// Removes uploads of parts that were begun so long ago and never completed.
    pub async fn abort_stale(&self, _older_than: std::time::Duration) -> Result<u64, ObjectError> {
        unimplemented!("the room is being built")
    }
}
