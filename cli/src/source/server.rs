//! A coordinator asked over HTTP(S).

use std::path::PathBuf;
use std::time::Duration;

use jobmeter_coordinator::api::error::ErrorBody;
use jobmeter_coordinator::auth::AUTHORIZATION;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::SourceArgs;
use super::logs::{LogAnswer, receive};
use super::paths::Path;

/// A page of 1,000 records over a slow line takes a while; a coordinator that says nothing at all does not come back.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Server {
    base: Url,
    token: Option<String>,
    client: Client,
    /// For what may be silent for hours: a log that is followed.
    patient: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("failed to read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the token is not one: it holds characters that no HTTP header may have")]
    Token,
    #[error("failed to set up HTTP{}", if *.with_ca { " with the certificates of --ca-file" } else { "" })]
    Client {
        with_ca: bool,
        #[source]
        source: reqwest::Error,
    },
    #[error("no answer; is it running, and is this its address?")]
    Unreachable(#[source] reqwest::Error),
    #[error("it does not let us in ({status}): give a valid token with --token-file or JOBMETER_TOKEN{}", colon(.said))]
    Refused { status: StatusCode, said: String },
    #[error(
        "it does not let us do that ({status}): give the operator's token with --token-file or JOBMETER_TOKEN; it is the key `token` of \
         Secret jobmeter-operator in the coordinator's namespace{}",
        colon(.said)
    )]
    NoOperator { status: StatusCode, said: String },
    #[error("it answered {status}{}", colon(.said))]
    Status { status: StatusCode, said: String },
    #[error("its answer is not what a coordinator of this version says; is this the address of a coordinator?")]
    Garbled(#[source] serde_json::Error),
}

impl Server {
    pub(super) fn new(base: Url, args: &SourceArgs) -> Result<Self, ServerError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|source| ServerError::File { path: path.clone(), source });
        let token = match &args.token_file {
            Some(path) => Some(String::from_utf8(read(path)?).map_err(|_| ServerError::Token)?),
            None => std::env::var("JOBMETER_TOKEN").ok(),
        };
        let authority = args.ca_file.as_ref().map(read).transpose()?;
        Self::build(base, token, authority.as_deref())
    }

    pub(super) fn with_token(base: Url, token: Option<String>) -> Result<Self, ServerError> {
        Self::build(base, token, None)
    }

    fn build(base: Url, token: Option<String>, authority: Option<&[u8]>) -> Result<Self, ServerError> {
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        if token.as_deref().is_some_and(|token| token.contains(|c: char| !c.is_ascii_graphic())) {
            return Err(ServerError::Token);
        }
        let failed = |source| ServerError::Client { with_ca: authority.is_some(), source };
        let client = |read_timeout: Option<Duration>| {
            let mut builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_keepalive(READ_TIMEOUT);
            if let Some(timeout) = read_timeout {
                builder = builder.read_timeout(timeout);
            }
            if let Some(pem) = authority {
                builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(failed)?);
            }
            builder.build().map_err(failed)
        };
        Ok(Self { base, token, client: client(Some(READ_TIMEOUT))?, patient: client(None)? })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, ServerError> {
        let response = self.send(self.client.get(path.under(&self.base))).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(ServerError::Unreachable)?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(ServerError::Garbled),
            _ => Err(refused(status, &body)),
        }
    }

    /// Something is to be done. Not sent twice: where no answer came, it may be done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &Path, body: Vec<u8>) -> Result<T, ServerError> {
        let mut request = self.client.post(path.under(&self.base)).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self.send(request).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(ServerError::Unreachable)?;
        match status {
            status if status.is_success() => serde_json::from_slice(&body).map_err(ServerError::Garbled),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ServerError::NoOperator { status, said: sentence(&body) }),
            _ => Err(refused(status, &body)),
        }
    }

    /// An answer that is read as it comes.
    pub(super) async fn log(&self, path: &Path, follow: bool) -> Result<LogAnswer, ServerError> {
        let client = if follow { &self.patient } else { &self.client };
        let response = self.send(client.get(path.under(&self.base))).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let chunks = futures::stream::try_unfold(response, async |mut response: reqwest::Response| {
            let chunk = response.chunk().await.map_err(std::io::Error::other)?;
            Ok(chunk.map(|chunk| (chunk, response)))
        });
        let refusal = match receive(status, &headers, Box::pin(chunks)).await {
            Ok(text) => return Ok(LogAnswer::Here(text)),
            Err(refusal) => refusal,
        };
        refusal.of_the_log().map_err(|refusal| refused(status, &refusal.said))
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<reqwest::Response, ServerError> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await.map_err(ServerError::Unreachable)
    }
}

fn refused(status: StatusCode, body: &[u8]) -> ServerError {
    let said = sentence(body);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ServerError::Refused { status, said },
        _ => ServerError::Status { status, said },
    }
}

/// What the other side said of its refusal: the parts of a coordinator's error, or the beginning of a text.
pub(crate) fn sentence(body: &[u8]) -> String {
    const ENOUGH: usize = 300;
    let text = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error, subject, hint }) => {
            let subject = subject.map(|subject| format!("{subject}: ")).unwrap_or_default();
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{subject}{error}{hint}")
        }
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    text.chars().take(ENOUGH).collect()
}

fn colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}
