//! Objects in a bucket: any store that speaks S3, with access keys or (IBM) with bearer tokens.
//!
//! Inputs: keys, bytes, the settings of one version of the Secret. Outputs: the same bytes later, and presigned URLs. The
//! SDK's checksums are sent only where S3 demands them, bodies go as they are (no `aws-chunked`), and integrity is by
//! `Content-MD5` and length: this is what all stores understand.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::SdkBody;
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use futures::stream::{empty, try_unfold};
use jiff::Timestamp;
use jobmeter_protocol::logs::{Piece, UploadedObject};
use md5::{Digest, Md5};

use super::checked::Checked;
use super::secret::Settings;
use super::{Attributes, ByteRange, ByteStream, Head, ObjectError};
use body::Sized;
use client::Clients;
use errors::Why;

mod body;
mod client;
mod clock;
mod errors;
mod iam;
mod parts;
mod presign;

#[derive(Debug)]
pub(super) struct S3 {
    clients: Clients,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    ca_bundle: Option<String>,
    description: String,
}

/// What the store has under a key.
struct Found {
    bytes: u64,
    etag: Option<String>,
}

/// What the SDK answers when a call failed.
type CallError<E> = SdkError<E, aws_sdk_s3::config::http::HttpResponse>;

impl S3 {
    pub(super) fn new(settings: Settings, prefix: String) -> Result<Self, String> {
        let prefix = if prefix.is_empty() { prefix } else { format!("{prefix}/") };
        let endpoint = settings.endpoint.as_deref().unwrap_or("Amazon S3");
        let how = if settings.is_ibm() { "IBM IAM" } else { "access keys" };
        let description = format!("s3://{}/{prefix} at {endpoint} ({how})", settings.bucket);
        Ok(Self {
            clients: Clients::new(&settings)?,
            bucket: settings.bucket,
            prefix,
            ca_bundle: settings.ca_bundle,
            description,
        })
    }

    pub(super) fn describe(&self) -> String {
        self.description.clone()
    }

    pub(super) fn location(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.full(key))
    }

    pub(super) fn ca_pem(&self) -> Option<String> {
        self.ca_bundle.clone()
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) async fn put(&self, key: &str, attributes: &Attributes, bytes: Bytes) -> Result<(), ObjectError> {
        let md5 = STANDARD.encode(Md5::digest(&bytes));
        let put = || {
            let request = self.clients.patient.put_object().bucket(&self.bucket).key(self.full(key)).content_md5(&md5);
            let request = request.content_type(attributes.content_type).body(bytes.clone().into());
            request.set_content_encoding(attributes.content_encoding.map(str::to_owned)).send()
        };
        self.call("put", key, put).await.map(drop)
    }

    pub(super) async fn put_piece(
        &self,
        key: &str,
        attributes: &Attributes,
        multipart: Option<&str>,
        piece: &Piece,
        body: Checked,
    ) -> Result<String, ObjectError> {
        const ACTION: &str = "put a piece of";
        self.clients.ready(ACTION, key).await?;
        let wrong = body.wrong.clone();
        let body = SdkBody::from_body_1_x(Sized::new(body.stream, piece.bytes)).into();
        let length = i64::try_from(piece.bytes).unwrap_or(i64::MAX);
        let client = &self.clients.patient;
        let sent = match multipart {
            None => {
                let request = client.put_object().bucket(&self.bucket).key(self.full(key)).content_length(length);
                let request = request.content_md5(&piece.md5).content_type(attributes.content_type);
                let request = request.set_content_encoding(attributes.content_encoding.map(str::to_owned));
                request.body(body).send().await.map(|put| put.e_tag).map_err(|err| Why::of(&err))
            }
            Some(upload) => {
                let request = client.upload_part().bucket(&self.bucket).key(self.full(key)).upload_id(upload);
                let request = request.part_number(i32::try_from(piece.number).unwrap_or(i32::MAX)).content_length(length);
                let request = request.content_md5(&piece.md5).body(body);
                request.send().await.map(|put| put.e_tag).map_err(|err| Why::of(&err))
            }
        };
        match sent {
            Ok(etag) => Ok(etag.unwrap_or_default()),
            // The store saw only a transfer that broke off.
            Err(_) if wrong.get().is_some() => {
                Err(ObjectError::Mismatch { key: key.to_owned(), why: wrong.get().cloned().unwrap_or_default() })
            }
            Err(why) => {
                // The body is gone, so this call cannot be repeated here; its caller's repetition gets a new token.
                let expired = self.clients.token_was_refused(why.status);
                Err(if expired { why.into_later(ACTION, key) } else { why.into_error(ACTION, key) })
            }
        }
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Head>, ObjectError> {
        Ok(self.look(key).await?.map(|found| Head { bytes: found.bytes }))
    }

    async fn look(&self, key: &str) -> Result<Option<Found>, ObjectError> {
        let request = self.clients.quick.head_object().bucket(&self.bucket).key(self.full(key));
        match self.call("look at", key, || request.clone().send()).await {
            Ok(head) => {
                let bytes = head.content_length.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0);
                Ok(Some(Found { bytes, etag: head.e_tag }))
            }
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(err) => Err(err),
        }
    }

    pub(super) async fn get(&self, key: &str, range: Option<ByteRange>) -> Result<ByteStream, ObjectError> {
        const ACTION: &str = "read";
        let range = range.map(|range| match range.last {
            Some(last) => format!("bytes={}-{last}", range.first),
            None => format!("bytes={}-", range.first),
        });
        let request = self.clients.patient.get_object().bucket(&self.bucket).key(self.full(key)).set_range(range);
        let get = || {
            let got = request.clone().send();
            async {
                match got.await {
                    // Beyond the end of the object there is nothing.
                    Err(err) if err.code() == Some("InvalidRange") => Ok(None),
                    got => got.map(Some),
                }
            }
        };
        let Some(object) = self.call(ACTION, key, get).await? else { return Ok(empty().boxed()) };
        let key = key.to_owned();
        Ok(try_unfold(object.body, move |mut body| {
            let key = key.clone();
            async move {
                match body.next().await {
                    None => Ok(None),
                    Some(Ok(chunk)) => Ok(Some((chunk, body))),
                    Some(Err(err)) => Err(ObjectError::Failed { action: ACTION, key, source: Box::new(err) }),
                }
            }
        })
        .boxed())
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let request = self.clients.quick.delete_object().bucket(&self.bucket).key(self.full(key));
        match self.call("delete", key, || request.clone().send()).await {
            Ok(_) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(err) => Err(err),
        }
    }

    pub(super) async fn complete(&self, key: &str, object: &UploadedObject) -> Result<(), ObjectError> {
        match &object.multipart {
            Some(upload) => self.put_together(key, upload, object).await,
            None => verify(key, object, self.look(key).await?),
        }
    }

    pub(super) async fn abort_stale(&self, older_than: Duration) -> Result<u64, ObjectError> {
        let age = jiff::SignedDuration::try_from(older_than).unwrap_or(jiff::SignedDuration::MAX);
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        self.abort_before(before).await
    }

    /// One call; once more with a new token where the token was refused.
    async fn call<T, E, F>(&self, action: &'static str, key: &str, make: impl Fn() -> F) -> Result<T, ObjectError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, CallError<E>>>,
    {
        self.clients.ready(action, key).await?;
        let why = match make().await {
            Ok(done) => return Ok(done),
            Err(err) => Why::of(&err),
        };
        if !self.clients.token_was_refused(why.status) {
            return Err(why.into_error(action, key));
        }
        self.clients.ready(action, key).await?;
        make().await.map_err(|err| Why::of(&err).into_error(action, key))
    }
}

fn verify(key: &str, object: &UploadedObject, found: Option<Found>) -> Result<(), ObjectError> {
    match found {
        Some(found) if found.bytes == object.bytes => Ok(()),
        Some(found) => Err(mismatch(key, format!("{} bytes where {} were put", found.bytes, object.bytes))),
        None => Err(mismatch(key, "it is not there".to_owned())),
    }
}

fn mismatch(key: &str, why: String) -> ObjectError {
    ObjectError::Mismatch { key: key.to_owned(), why }
}
