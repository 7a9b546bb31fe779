//! A log that is in the object store although the ledger does not know: the ledger's volume was lost, or its row was made anew.
//!
//! Inputs: a row that is about to be called lost. Output: what its manifest says, if that is about this very log and its object
//! is there. A notice must never take the place of a log.

use futures::TryStreamExt;
use jobmeter_protocol::{LogContent, LogManifest};

use super::{Logs, manifest_key, times_key};
use crate::objects::ObjectError;
use crate::store::logs::LogRow;

/// Of a manifest; ours are smaller.
const MAX_MANIFEST: usize = 1024 * 1024;

pub(super) enum Found {
    Nothing,
    /// All of it, as its manifest says.
    Stored {
        object_bytes: u64,
        times_bytes: Option<u64>,
        content: Box<LogContent>,
    },
    /// There is something under its key that a notice must not replace.
    Something {
        what: String,
    },
}

enum Manifest {
    None,
    Read(Box<LogManifest>),
    NotOurs,
}

impl Logs {
    pub(super) async fn in_the_store(&self, row: &LogRow) -> Result<Found, ObjectError> {
        let manifest = match self.manifest(&row.key).await {
            // Whoever may not list a bucket is not told what is not there.
            Err(ObjectError::Refused { .. }) => return Ok(something("the store does not say what is under its key")),
            manifest => manifest?,
        };
        let manifest = match manifest {
            Manifest::NotOurs => return Ok(something("the manifest beside it cannot be read")),
            Manifest::Read(manifest) if manifest.entry.log != row.log => {
                return Ok(something(format!("the log of pod {} is under its key", manifest.entry.log.pod_uid)));
            }
            Manifest::Read(manifest) => Some(manifest.entry),
            Manifest::None => None,
        };
        let head = self.0.objects.head(&row.key).await?;
        let Some(content) = manifest.as_ref().and_then(|entry| entry.content.clone()) else {
            // A manifest without content is that of an earlier notice.
            let is_notice = manifest.is_some();
            return Ok(match head {
                Some(head) if !is_notice => something(format!("{} bytes that arrived are under its key", head.bytes)),
                _ => Found::Nothing,
            });
        };
        let object_bytes = manifest.map(|entry| entry.object_bytes).unwrap_or_default();
        match head {
            Some(head) if head.bytes == object_bytes => {
                let times_bytes = self.0.objects.head(&times_key(&row.key)).await?.map(|head| head.bytes);
                Ok(Found::Stored { object_bytes, times_bytes, content: Box::new(content) })
            }
            Some(head) => Ok(something(format!("{} bytes of it are under its key", head.bytes))),
            None => Ok(Found::Nothing),
        }
    }

    async fn manifest(&self, key: &str) -> Result<Manifest, ObjectError> {
        let chunks = match self.0.objects.get(&manifest_key(key), None).await {
            Ok(chunks) => chunks,
            Err(ObjectError::NotFound { .. }) => return Ok(Manifest::None),
            Err(err) => return Err(err),
        };
        let read = chunks.try_fold(Vec::new(), async |mut text, chunk| {
            if text.len() + chunk.len() <= MAX_MANIFEST {
                text.extend_from_slice(&chunk);
            }
            Ok(text)
        });
        let manifest = serde_json::from_slice(&read.await?);
        Ok(manifest.map_or(Manifest::NotOurs, |manifest| Manifest::Read(Box::new(manifest))))
    }
}

fn something(what: impl Into<String>) -> Found {
    Found::Something { what: what.into() }
}
