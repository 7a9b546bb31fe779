//! Logs from wherever the answers come: which there are, and the bytes of one as they arrive.
//!
//! In: a pod, and what of its log. Out: a stream that holds one chunk at a time, or why there is none.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, StatusCode, header};
use jobmeter_protocol::{LogEntry, LogQuery, LogRead, Page};

use super::paths::Path;
use super::server::sentence;
use super::{Kind, Remote, Source, SourceError};

const NOTICE: &str = "x-jobmeter-log-notice";
/// Word of [`jobmeter_protocol::LogState::as_str`], or `live`.
const STATE: &str = "x-jobmeter-log-state";
/// More of a refusal is never shown.
const REFUSAL: usize = 16 * 1024;

pub type LogBytes = BoxStream<'static, io::Result<Bytes>>;

pub enum LogAnswer {
    Here(LogText),
    /// It is on its way: ask again, after so long where it was said.
    NotYet {
        said: String,
        after: Option<Duration>,
    },
    /// There is none, or not any more.
    Nothing {
        said: String,
    },
}

pub struct LogText {
    pub state: Option<String>,
    /// What was asked for and could not be done.
    pub notice: Option<String>,
    pub bytes: LogBytes,
}

/// An answer that is no log.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) said: Vec<u8>,
    after: Option<Duration>,
}

impl Source {
    pub async fn logs(&self, query: &LogQuery) -> Result<Page<LogEntry>, SourceError> {
        match &self.kind {
            Kind::Local(local) => local.logs(query).await.map_err(|source| self.local_error(source)),
            Kind::Remote(remote) => self.get(remote, &Path::logs(query)).await,
        }
    }

    pub async fn read_log(&self, namespace: &str, pod: &str, read: &LogRead) -> Result<LogAnswer, SourceError> {
        let name = || self.name.clone();
        let path = Path::log(namespace, pod, read);
        match &self.kind {
            Kind::Local(local) => local.read_log(namespace, pod, read).await.map_err(|source| self.local_error(source)),
            Kind::Remote(remote) => match remote {
                Remote::Server(server) => {
                    server.log(&path, read.follow).await.map_err(|source| SourceError::Server { name: name(), source })
                }
                Remote::Proxy(proxy) => proxy
                    .log(&path, read.follow)
                    .await
                    .map_err(|source| SourceError::Proxy { name: name(), source: Box::new(source) }),
            },
        }
    }
}

/// What a coordinator answered, with its body still on the way.
pub(super) async fn receive(status: StatusCode, headers: &HeaderMap, bytes: LogBytes) -> Result<LogText, Refusal> {
    let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if status.is_success() {
        return Ok(LogText { state: word(STATE), notice: word(NOTICE), bytes });
    }
    let after = word(header::RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    Err(Refusal { status, said: beginning(bytes).await, after })
}

impl Refusal {
    /// What it says of the log, if it is about the log at all.
    pub(super) fn of_the_log(self) -> Result<LogAnswer, Self> {
        let said = sentence(&self.said);
        match self.status {
            StatusCode::CONFLICT => Ok(LogAnswer::NotYet { said, after: self.after }),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(LogAnswer::Nothing { said }),
            _ => Err(self),
        }
    }
}

/// As much as came: a refusal that broke off is still one.
async fn beginning(mut bytes: LogBytes) -> Vec<u8> {
    let mut said = Vec::new();
    while let Some(Ok(chunk)) = bytes.next().await {
        said.extend_from_slice(&chunk);
        if said.len() >= REFUSAL {
            break;
        }
    }
    said
}
