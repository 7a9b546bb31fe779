//! One post: sent once, and what the answer means.

use std::io::Read;
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, SendBody};

use super::Ended;
use super::body::{Body, ReadError};
use super::secret::SecretUrl;

const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte in either direction; a coordinator answers a report when it is on its disk.
const SILENCE: Duration = Duration::from_secs(60);
/// From here on the server is asked whether it wants the body before it is sent.
const ASK_FIRST_BYTES: u64 = 1 << 20;
/// Of the server's sentence.
const ANSWER_BYTES: u64 = 4096;

#[derive(Debug)]
pub(super) struct Client(Agent);

/// Why a body is not there, and whether the same call may succeed later.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{url} refused it: {status}{sentence}")]
    Refused { url: SecretUrl, status: StatusCode, sentence: Sentence },
    #[error("{url} cannot take it now: {status}{sentence}")]
    Busy { url: SecretUrl, status: StatusCode, sentence: Sentence, retry_after: Option<Duration> },
    #[error("{url} cannot be reached: {why}")]
    Unreachable { url: SecretUrl, why: String },
}

/// What the server said, ready to follow the status.
#[derive(Debug)]
pub(super) struct Sentence(String);

impl Failure {
    pub(super) fn ended(&self) -> Ended {
        match self {
            Self::Read(_) | Self::Refused { .. } => Ended::Refused,
            Self::Busy { .. } | Self::Unreachable { .. } => Ended::Unavailable,
        }
    }
}

impl Client {
    pub(super) fn new() -> Self {
        let config = Agent::config_builder()
            // The coordinator is in the same cluster, and a URL is a secret.
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .input_buffer_size(16 << 10)
            .output_buffer_size(64 << 10)
            .user_agent(concat!("jobmeter-sidecar/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }

    pub(super) fn post(&self, url: &SecretUrl, content_type: &str, body: &mut Body) -> Result<(), Failure> {
        let sent = {
            let mut opened = body.reader()?;
            let mut request = self.0.post(url.reveal()).header(header::CONTENT_TYPE, content_type);
            if let Some(length) = opened.length {
                request = request.header(header::CONTENT_LENGTH, length);
            }
            if opened.length.is_none_or(|length| length > ASK_FIRST_BYTES) {
                request = request.header(header::EXPECT, "100-continue");
            }
            request.send(SendBody::from_reader(&mut opened.reader))
        };
        match sent {
            Ok(answer) => judge(url, answer),
            Err(error) => match body.failed() {
                Some(error) => Err(error.into()),
                None => Err(Failure::Unreachable { url: url.clone(), why: without_url(&error) }),
            },
        }
    }
}

fn judge(url: &SecretUrl, mut answer: Response<ureq::Body>) -> Result<(), Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let (url, sentence) = (url.clone(), Sentence::read(&mut answer.body_mut().as_reader()));
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(Failure::Busy { url, status, sentence, retry_after: retry_after.map(Duration::from_secs) });
    }
    Err(Failure::Refused { url, status, sentence })
}

/// The coordinator's own form; others just write a sentence.
#[derive(serde::Deserialize)]
struct ErrorBody {
    error: String,
    #[serde(default)]
    hint: String,
}

impl Sentence {
    /// An answer that breaks off is as good as its beginning.
    fn read(reader: &mut dyn Read) -> Self {
        let mut bytes = Vec::new();
        reader.take(ANSWER_BYTES).read_to_end(&mut bytes).unwrap_or_default();
        let text = match serde_json::from_slice(&bytes) {
            Ok(ErrorBody { error, hint }) if hint.is_empty() => error,
            Ok(ErrorBody { error, hint }) => format!("{error}; {hint}"),
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        Self(text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }
}

impl std::fmt::Display for Sentence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// The library's own words may hold the URL.
fn without_url(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "its name is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Timeout(which) => format!("no answer in time ({which})"),
        _ => "the connection broke, or what came is not HTTP".to_owned(),
    }
}
