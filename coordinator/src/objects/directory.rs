//! Objects as files below a directory. A file appears whole, under its name, and durable, or not at all.
//!
//! ```text
//! <root>/<prefix>/<key>                     an object
//! <root>/.uploads/<uuid>                    an object that is being written
//! <root>/.uploads/<uuid>/key                the object that an upload of parts is for
//! <root>/.uploads/<uuid>/<number>.<md5>     a part that arrived whole
//! ```

use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use futures::StreamExt;
use futures::stream::{empty, try_unfold};
use jobmeter_protocol::logs::{Piece, UploadedObject};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::checked::{Checked, hex, md5_of};
use super::{ByteRange, ByteStream, Head, ObjectError};
use place::{Place, blocking, failed};

mod parts;
mod place;

/// Of a read from a file.
const CHUNK: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Directory(Place);

impl Directory {
    pub(super) fn new(root: PathBuf, prefix: &str) -> Self {
        Self(Place::new(root, prefix))
    }

    pub(super) fn root(&self) -> &Path {
        self.0.root()
    }

    pub(super) fn location(&self, key: &str) -> String {
        self.0.object(key).map_or_else(|_| key.to_owned(), |path| path.display().to_string())
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let (place, key) = (self.0.clone(), key.to_owned());
        blocking(move || {
            let path = place.object(&key)?;
            let mut fresh = place.fresh(bytes.len() as u64).map_err(failed("put", &key))?;
            fresh.write_all(&bytes).map_err(failed("put", &key))?;
            place.publish(fresh, &path).map_err(failed("put", &key))
        })
        .await
    }

    pub(super) async fn begin(&self, key: &str) -> Result<String, ObjectError> {
        let (place, key) = (self.0.clone(), key.to_owned());
        blocking(move || parts::begin(&place, &key)).await
    }

    pub(super) async fn put_piece(
        &self,
        key: &str,
        multipart: Option<&str>,
        piece: &Piece,
        mut body: Checked,
    ) -> Result<String, ObjectError> {
        let etag = hex(&md5_of(key, piece)?);
        let place = self.0.clone();
        let path = match multipart {
            None => place.object(key)?,
            Some(upload) => parts::path(&place, key, upload, piece.number, &etag)?,
        };
        let action = "put a piece of";
        let fresh = blocking({
            let (place, key, bytes) = (place.clone(), key.to_owned(), piece.bytes);
            move || place.fresh(bytes).map_err(failed(action, &key))
        })
        .await?;
        let (file, fresh) = fresh.split();
        let mut file = File::from_std(file);
        while let Some(chunk) = body.stream.next().await {
            file.write_all(&chunk?).await.map_err(failed(action, key))?;
        }
        file.flush().await.map_err(failed(action, key))?;
        let fresh = fresh.join(file.into_std().await);
        let key = key.to_owned();
        blocking(move || place.publish(fresh, &path).map_err(failed(action, &key))).await?;
        Ok(etag)
    }

    pub(super) async fn complete(&self, key: &str, object: &UploadedObject) -> Result<(), ObjectError> {
        if object.multipart.is_some() {
            let (place, key, object) = (self.0.clone(), key.to_owned(), object.clone());
            blocking(move || parts::complete(&place, &key, &object)).await?;
        }
        match self.head(key).await? {
            Some(head) if head.bytes == object.bytes => Ok(()),
            Some(head) => Err(mismatch(key, format!("{} bytes where {} were put", head.bytes, object.bytes))),
            None => Err(mismatch(key, "it is not there".to_owned())),
        }
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Head>, ObjectError> {
        match fs::metadata(self.0.object(key)?).await {
            Ok(file) if file.is_file() => Ok(Some(Head { bytes: file.len() })),
            Ok(_) => Ok(None),
            Err(err) if absent(&err) => Ok(None),
            Err(err) => Err(failed("look at", key)(err)),
        }
    }

    pub(super) async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<ByteStream, ObjectError> {
        let mut file = match File::open(self.0.object(key)?).await {
            Ok(file) => file,
            Err(err) if absent(&err) => return Err(ObjectError::NotFound { key: key.to_owned() }),
            Err(err) => return Err(failed("read", key)(err)),
        };
        let length = file.metadata().await.map_err(failed("read", key))?;
        if !length.is_file() {
            return Err(ObjectError::NotFound { key: key.to_owned() });
        }
        let ByteRange { first, last } = range.unwrap_or(ByteRange { first: 0, last: None });
        let end = last.map_or(length.len(), |last| last.saturating_add(1).min(length.len()));
        if first >= end {
            return Ok(empty().boxed());
        }
        file.seek(SeekFrom::Start(first)).await.map_err(failed("read", key))?;
        let key = key.to_owned();
        Ok(try_unfold((file, end - first), move |(mut file, left)| {
            let key = key.clone();
            async move {
                if left == 0 {
                    return Ok(None);
                }
                let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
                let read = file.read(&mut chunk).await.map_err(failed("read", &key))?;
                if read == 0 {
                    return Err(mismatch(&key, format!("it ends {left} bytes early")));
                }
                chunk.truncate(read);
                Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
            }
        })
        .boxed())
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let (place, key) = (self.0.clone(), key.to_owned());
        blocking(move || {
            let path = place.object(&key)?;
            place.remove(&path).map_err(failed("delete", &key))
        })
        .await
    }

    pub(super) async fn abort_stale(&self, older_than: std::time::Duration) -> Result<u64, ObjectError> {
        let place = self.0.clone();
        blocking(move || parts::abort_stale(&place, older_than)).await
    }
}

fn absent(err: &std::io::Error) -> bool {
    matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn mismatch(key: &str, why: String) -> ObjectError {
    ObjectError::Mismatch { key: key.to_owned(), why }
}
