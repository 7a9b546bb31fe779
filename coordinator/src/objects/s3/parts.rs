//! Objects that go in parts: begun, put together, and given up when nobody completes them.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use jiff::Timestamp;
use jobmeter_protocol::logs::UploadedObject;
use md5::{Digest, Md5};

use super::super::checked::hex;
use super::errors::Why;
use super::{CallError, S3, mismatch, verify};
use crate::objects::{Attributes, ObjectError};

impl S3 {
    pub(in super::super) async fn begin(&self, key: &str, attributes: &Attributes) -> Result<String, ObjectError> {
        let request = self.clients.quick.create_multipart_upload().bucket(&self.bucket).key(self.full(key));
        let request = request.content_type(attributes.content_type);
        let request = request.set_content_encoding(attributes.content_encoding.map(str::to_owned));
        let begun = self.call("begin", key, || request.clone().send()).await?;
        begun.upload_id.filter(|id| !id.is_empty()).ok_or_else(|| ObjectError::Failed {
            action: "begin",
            key: key.to_owned(),
            source: "the store gave the upload no name".into(),
        })
    }

    /// A failure counts only where the object is not what it should be: an answer may have been lost, and a store that does
    /// not know an upload any more may have completed it.
    pub(super) async fn put_together(&self, key: &str, upload: &str, object: &UploadedObject) -> Result<(), ObjectError> {
        let parts = object.parts.iter().map(|part| {
            let number = i32::try_from(part.number).unwrap_or(i32::MAX);
            CompletedPart::builder().part_number(number).e_tag(&part.etag).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let request = self.clients.patient.complete_multipart_upload().bucket(&self.bucket).key(self.full(key));
        let request = request.upload_id(upload).multipart_upload(parts);
        let outcome = self.call("put together", key, || unless_unknown(request.clone().send())).await;
        let found = self.look(key).await?;
        let expected = etag_of_parts(object);
        let is_whole = found.as_ref().is_some_and(|found| found.bytes == object.bytes);
        let etag = found.as_ref().and_then(|found| found.etag.as_deref()).filter(|etag| comparable(etag));
        match (outcome, expected, etag) {
            (_, Some(expected), Some(etag)) if is_whole && etag.trim_matches('"') == expected => Ok(()),
            (Ok(()), Some(_), Some(_)) if is_whole => Err(mismatch(key, "its ETag is of other parts".to_owned())),
            (Ok(()), ..) => verify(key, object, found),
            (Err(err), ..) => Err(err),
        }
    }

    pub(super) async fn abort_before(&self, before: Timestamp) -> Result<u64, ObjectError> {
        const ACTION: &str = "look for old uploads in";
        // Without a prefix they may be anybody's in this bucket; a lifecycle rule removes them (docs/logs.md).
        if self.prefix.is_empty() {
            return Ok(0);
        }
        let mut aborted = 0;
        let mut next: Option<(Option<String>, Option<String>)> = Some((None, None));
        while let Some((key_marker, upload_marker)) = next.take() {
            let request = self.clients.quick.list_multipart_uploads().bucket(&self.bucket);
            let request = request.prefix(&self.prefix);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(upload_marker);
            let list = || {
                let page = request.clone().send();
                async {
                    match page.await {
                        // Its uploads are its own business.
                        Err(err) if err.code() == Some("NotImplemented") => Ok(None),
                        page => page.map(Some),
                    }
                }
            };
            let Some(page) = self.call(ACTION, &self.bucket, list).await? else { break };
            for upload in page.uploads() {
                let begun = upload.initiated().map(aws_sdk_s3::primitives::DateTime::secs);
                if let (Some(key), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), begun)
                    && begun < before.as_second()
                {
                    self.abort(key, id).await?;
                    aborted += 1;
                }
            }
            if page.is_truncated() == Some(true) && page.next_key_marker().is_some() {
                next = Some((page.next_key_marker, page.next_upload_id_marker));
            }
        }
        Ok(aborted)
    }

    /// `key` with the prefix.
    async fn abort(&self, key: &str, id: &str) -> Result<(), ObjectError> {
        let request = self.clients.quick.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(id);
        self.call("give up an upload of", key, || unless_unknown(request.clone().send())).await
    }
}

/// An upload that the store does not know was completed before, or given up: what is there decides.
async fn unless_unknown<T, E>(call: impl Future<Output = Result<T, CallError<E>>>) -> Result<(), CallError<E>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match call.await {
        Ok(_) => Ok(()),
        Err(err) if Why::of(&err).is_unknown_upload() => Ok(()),
        Err(err) => Err(err),
    }
}

/// As most stores compute it: the MD5 of the parts' MD5s, and their number.
fn etag_of_parts(object: &UploadedObject) -> Option<String> {
    let mut digest = Md5::new();
    for part in &object.parts {
        digest.update(from_hex(part.etag.trim_matches('"'))?);
    }
    Some(format!("{}-{}", hex(&digest.finalize()), object.parts.len()))
}

/// Whether it has the form that [`etag_of_parts`] gives; other stores have other forms.
fn comparable(etag: &str) -> bool {
    let (digest, count) = etag.trim_matches('"').split_once('-').unwrap_or_default();
    from_hex(digest).is_some() && count.parse::<u32>().is_ok()
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use jobmeter_protocol::logs::UploadedPart;

    use super::*;

    #[test]
    fn the_etag_of_parts_is_the_one_that_stores_give() {
        // `printf hello | md5sum`, `printf world | md5sum`, and the MD5 of both digests one after the other.
        let part = |number, etag: &str| UploadedPart { number, bytes: 5, etag: etag.to_owned() };
        let parts = vec![part(1, "\"5d41402abc4b2a76b9719d911017c592\""), part(2, "7d793037a0760186574b0282f2f435e7")];
        let object = UploadedObject { bytes: 10, multipart: Some("u".into()), parts };
        let etag = etag_of_parts(&object).unwrap();
        assert!(comparable(&etag) && comparable(&format!("\"{etag}\"")), "{etag}");
        assert_eq!(etag, "065947336a2f2a95ba8899f3675c3be6-2");
        assert!(!comparable("5d41402abc4b2a76b9719d911017c592") && !comparable("x-2"));
        assert_eq!(etag_of_parts(&UploadedObject { parts: vec![part(1, "opaque")], ..object }), None);
    }
}
