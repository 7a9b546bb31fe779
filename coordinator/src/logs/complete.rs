//! The end of an upload: the store has it, the manifest is beside it, the ledger knows. In this order, so that whatever the
//! ledger says is true; all of it may be repeated.

use jiff::Timestamp;
use jobmeter_protocol::LogContent;
use jobmeter_protocol::logs::{CompleteReply, CompleteRequest, MAX_INLINE_TIMES};

use super::{LogError, Logs, compression, times_key};
use crate::objects::ObjectError;
use crate::store::logs::LogChange;
use crate::store::{Applied, Change};

/// Seconds.
const LATER: u32 = 15;
const MAX_HOLES: usize = 1_000;
const MAX_SENTENCE: usize = 4_096;

impl Logs {
    pub(crate) async fn complete(&self, request: &CompleteRequest, now: Timestamp) -> Result<CompleteReply, LogError> {
        let _no_notice = self.0.ends.read().await;
        let row = self.row(request.version, &request.node, &request.log).await?;
        check(&request.content, &row.key)?;
        if row.is_stored() && row.raw_bytes == Some(request.raw_bytes) && row.content.as_ref() == Some(&request.content) {
            return Ok(CompleteReply::Done);
        }
        let times = request.times_object.as_ref().map(|object| (times_key(&row.key), object));
        for (key, object) in [(row.key.clone(), &request.object)].into_iter().chain(times) {
            match self.noted("complete", self.0.objects.complete(&key, object).await) {
                Ok(()) => {}
                Err(err @ (ObjectError::NotFound { .. } | ObjectError::Mismatch { .. })) => {
                    return Ok(CompleteReply::Again { why: err.to_string() });
                }
                Err(err) => return Ok(CompleteReply::Later { why: err.to_string(), seconds: LATER }),
            }
        }
        let object_bytes = request.object.bytes;
        let after = row.with(object_bytes, request.content.clone(), now);
        match self.put_manifest(&after).await {
            Ok(()) => {}
            Err(LogError::Object(err)) => return Ok(CompleteReply::Later { why: err.to_string(), seconds: LATER }),
            Err(err) => return Err(err),
        }
        let stored = LogChange::Stored {
            object_bytes,
            raw_bytes: request.raw_bytes,
            times_bytes: request.times_object.as_ref().map(|object| object.bytes),
            content: Box::new(request.content.clone()),
        };
        let change = Change::Log { log: request.log.clone(), change: Box::new(stored) };
        Ok(match self.0.store.apply(vec![change], now).await?.pop() {
            Some(Applied::Log(_)) => CompleteReply::Done,
            Some(Applied::Discarded) => CompleteReply::Done,
            other => CompleteReply::Later { why: format!("the ledger did not take it: {other:?}"), seconds: LATER },
        })
    }
}

fn check(content: &LogContent, key: &str) -> Result<(), LogError> {
    let invalid = |subject, why: &str| Err(LogError::Invalid { subject, why: why.to_owned() });
    let hexadecimal = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if content.sha256.len() != 64 || !hexadecimal(&content.sha256) {
        return invalid("content.sha256", "is not 64 hexadecimal digits");
    }
    if content.times.as_ref().is_some_and(|times| times.len() > MAX_INLINE_TIMES) {
        return invalid("content.times", "are too long to be part of the request: put them as an object of their own");
    }
    if content.missing.len() > MAX_HOLES || content.missing.iter().any(|missing| missing.why.len() > MAX_SENTENCE) {
        return invalid("content.missing", "has more than 1000 entries, or one of more than 4096 bytes");
    }
    if content.compression != compression(key) {
        return invalid("content.compression", "is not that of the ticket");
    }
    Ok(())
}
