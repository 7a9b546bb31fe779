//! A coordinator asked over HTTP(S).

use std::path::PathBuf;
use std::time::Duration;

use jobmeter_coordinator::api::error::ErrorBody;
use reqwest::{Certificate, Client, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::SourceArgs;
use super::paths::Path;

/// A page of 1,000 records over a slow line takes a while; a coordinator that says nothing at all does not come back.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Server {
    base: Url,
    token: Option<String>,
    client: Client,
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
        let mut builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
        if let Some(pem) = authority {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(failed)?);
        }
        Ok(Self { base, token, client: builder.build().map_err(failed)? })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, ServerError> {
        let mut request = self.client.get(path.under(&self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(ServerError::Unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(ServerError::Unreachable)?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(ServerError::Garbled),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ServerError::Refused { status, said: sentence(&body) }),
            _ => Err(ServerError::Status { status, said: sentence(&body) }),
        }
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
