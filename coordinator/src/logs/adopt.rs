//! A log that is in the object store although the ledger does not know: the ledger's volume was lost, or its row was made anew.
//!
//! Inputs: a row that is about to be called lost. Output: what its manifest says, if that is about this very log and its object
//! is there. A notice must never take the place of a log.

use futures::TryStreamExt;
use jobmeter_protocol::{LogContent, LogManifest};

use super::{Logs, manifest_key};
use crate::objects::ObjectError;
use crate::store::logs::LogRow;

/// Of a manifest; ours are smaller.
const MAX_MANIFEST: usize = 1024 * 1024;

pub(super) enum Found {
    Nothing,
    /// All of it, as its manifest says.
    Stored {
        object_bytes: u64,
        content: Box<LogContent>,
    },
    /// The key holds the log of another pod.
    Others {
        pod_uid: String,
    },
}

impl Logs {
    pub(super) async fn in_the_store(&self, row: &LogRow) -> Result<Found, ObjectError> {
        let Some(manifest) = self.manifest(&row.key).await? else { return Ok(Found::Nothing) };
        if manifest.entry.log != row.log {
            return Ok(Found::Others { pod_uid: manifest.entry.log.pod_uid });
        }
        let Some(content) = manifest.entry.content else { return Ok(Found::Nothing) };
        let head = self.0.objects.head(&row.key).await?;
        let whole = head.is_some_and(|head| head.bytes == manifest.entry.object_bytes);
        Ok(match whole {
            true => Found::Stored { object_bytes: manifest.entry.object_bytes, content: Box::new(content) },
            false => Found::Nothing,
        })
    }

    async fn manifest(&self, key: &str) -> Result<Option<LogManifest>, ObjectError> {
        let key = manifest_key(key);
        let chunks = match self.0.objects.get(&key, None).await {
            Ok(chunks) => chunks,
            Err(ObjectError::NotFound { .. }) => return Ok(None),
            Err(err) => return Err(err),
        };
        let read = chunks.try_fold(Vec::new(), async |mut text, chunk| {
            if text.len() + chunk.len() <= MAX_MANIFEST {
                text.extend_from_slice(&chunk);
            }
            Ok(text)
        });
        // What cannot be read is not one of ours.
        Ok(serde_json::from_slice(&read.await?).ok())
    }
}
