//! URLs that carry one piece each, signed in advance. Length and MD5 are part of the signature: such a URL takes exactly the
//! bytes it was made for.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::logs::{Piece, Target};

use super::S3;
use super::errors::Why;
use crate::objects::{Attributes, ObjectError};

const ACTION: &str = "sign a URL for";
const VALID: Duration = Duration::from_secs(3600);

impl S3 {
    /// `None` where only bearer tokens count, and while the store's clock, far from ours, is not known.
    pub(in super::super) async fn targets(
        &self,
        key: &str,
        attributes: &Attributes,
        multipart: Option<&str>,
        pieces: &[Piece],
    ) -> Result<Option<Vec<Target>>, ObjectError> {
        if self.clients.is_ibm() || !self.knows_the_time(key).await? {
            return Ok(None);
        }
        let mut targets = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let begin = self.clients.clock.at(SystemTime::now());
            let config = PresigningConfig::builder().start_time(begin).expires_in(VALID).build();
            let config = config.map_err(|source| failed(key, Box::new(source)))?;
            targets.push(target(&self.sign(key, attributes, multipart, piece, config).await?));
        }
        Ok(Some(targets))
    }

    async fn sign(
        &self,
        key: &str,
        attributes: &Attributes,
        multipart: Option<&str>,
        piece: &Piece,
        config: PresigningConfig,
    ) -> Result<PresignedRequest, ObjectError> {
        let length = i64::try_from(piece.bytes).unwrap_or(i64::MAX);
        let client: &Client = &self.clients.quick;
        match multipart {
            None => {
                let request = client.put_object().bucket(&self.bucket).key(self.full(key)).content_length(length);
                let request = request.content_md5(&piece.md5).content_type(attributes.content_type);
                let request = request.set_content_encoding(attributes.content_encoding.map(str::to_owned));
                request.presigned(config).await.map_err(|err| Why::of(&err).into_later(ACTION, key))
            }
            Some(upload) => {
                let request = client.upload_part().bucket(&self.bucket).key(self.full(key)).upload_id(upload);
                let request = request.part_number(i32::try_from(piece.number).unwrap_or(i32::MAX)).content_length(length);
                let request = request.content_md5(&piece.md5);
                request.presigned(config).await.map_err(|err| Why::of(&err).into_later(ACTION, key))
            }
        }
    }

    /// Any answer of the store tells its time; the first URL must not be made before there was one. `false`: it says only
    /// that ours is wrong.
    async fn knows_the_time(&self, key: &str) -> Result<bool, ObjectError> {
        if self.clients.clock.is_known() {
            return Ok(true);
        }
        match self.clients.quick.head_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(true),
            Err(err) => match Why::of(&err) {
                why if why.is_skew() => Ok(self.clients.clock.is_known()),
                why if why.status == 404 => {
                    let why = format!("the bucket {} is not there", self.bucket);
                    Err(ObjectError::Refused { action: ACTION, key: key.to_owned(), why })
                }
                // Whoever may only put objects is told 403 here.
                why if why.status == 403 => Ok(true),
                why => Err(why.into_error(ACTION, key)),
            },
        }
    }
}

fn target(request: &PresignedRequest) -> Target {
    let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let valid = SignedDuration::try_from(VALID).unwrap_or(SignedDuration::ZERO);
    let expires = Timestamp::now().checked_add(valid).unwrap_or(Timestamp::MAX);
    Target { url: request.uri().to_owned(), headers: headers.collect(), expires }
}

fn failed(key: &str, source: Box<dyn std::error::Error + Send + Sync>) -> ObjectError {
    ObjectError::Failed { action: ACTION, key: key.to_owned(), source }
}
