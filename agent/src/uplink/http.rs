//! [`Uplink`] over HTTP: JSON, a bearer token from a file that is rotated under us, one pooled client.

use std::{path::PathBuf, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use jobmeter_daemon::token::{TokenError, TokenFile};
use jobmeter_protocol::{Heartbeat, HeartbeatReply, ReportBatch, ReportReply};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header::RETRY_AFTER};
use serde::{Serialize, de::DeserializeOwned};

use super::{Uplink, UplinkError, stores::Stores};

#[derive(Clone, Debug)]
pub struct HttpUplinkOptions {
    /// `http://coordinator.jobmeter:8080`; a path is kept.
    pub url: String,
    /// None: no authentication, for a coordinator on the loopback interface.
    pub token_file: Option<PathBuf>,
    /// PEM of the authority that signed the coordinator's certificate, beside the system's.
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpUplinkError {
    #[error("failed to understand the coordinator's address {url:?}: {why}")]
    Url { url: String, why: String },
    #[error("failed to read the certificate authority {}", path.display())]
    ReadAuthority {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to understand the certificate authority {}", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: reqwest::Error,
    },
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

pub struct HttpUplink {
    pub(super) client: Client,
    pub(super) base: Url,
    token: Option<TokenFile>,
    pub(super) stores: Stores,
}

/// Most of an error body that is kept for the log.
const BODY_SHOWN: usize = 512;

impl HttpUplink {
    pub fn new(options: HttpUplinkOptions) -> Result<Self, HttpUplinkError> {
        let mut base =
            Url::parse(&options.url).map_err(|err| HttpUplinkError::Url { url: options.url.clone(), why: err.to_string() })?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(HttpUplinkError::Url { url: options.url, why: "not an http or https address".to_owned() });
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        // The client panics without a process-wide provider; a second installation is refused and harmless.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut client = Client::builder().timeout(options.timeout).connect_timeout(options.timeout.min(CONNECT));
        if let Some(path) = options.ca_file {
            let pem = std::fs::read(&path).map_err(|source| HttpUplinkError::ReadAuthority { path: path.clone(), source })?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|source| HttpUplinkError::Authority { path, source })?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(HttpUplinkError::Client)?;
        Ok(Self { client, base, token: options.token_file.map(TokenFile::new), stores: Stores::default() })
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(&self, url: Result<Url, UplinkError>, body: &Q) -> Result<A, UplinkError> {
        self.answer(self.client.post(url?).json(body)).await
    }

    /// Only for requests to the coordinator itself: the token is for nobody else.
    pub(super) fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, TokenError> {
        match &self.token {
            Some(token) => Ok(request.bearer_auth(token.current()?.expose())),
            None => Ok(request),
        }
    }

    pub(super) async fn answer<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, UplinkError> {
        let request = self.authorized(request).map_err(|err| UplinkError::Token(Box::new(err)))?;
        let response = request.send().await.map_err(|err| UplinkError::Unreachable(Box::new(err.without_url())))?;
        let response = refuse(response).await?;
        response.json().await.map_err(|err| UplinkError::Answer(Box::new(err.without_url())))
    }

    pub(super) fn url(&self, segments: &[&str]) -> Result<Url, UplinkError> {
        let mut url = self.base.clone();
        // Refused only for addresses that cannot have a path, and ours was checked at start.
        let cannot = || UplinkError::Unreachable("address cannot have a path".into());
        url.path_segments_mut().map_err(|()| cannot())?.pop_if_empty().extend(segments);
        Ok(url)
    }
}

/// Nobody who is there takes longer to accept a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

impl Uplink for HttpUplink {
    fn report(&self, batch: ReportBatch) -> BoxFuture<'_, Result<ReportReply, UplinkError>> {
        async move { self.call(self.url(&["v1", "reports"]), &batch).await }.boxed()
    }

    fn heartbeat(&self, node: &str, beat: Heartbeat) -> BoxFuture<'_, Result<HeartbeatReply, UplinkError>> {
        let url = self.url(&["v1", "nodes", node, "heartbeat"]);
        async move { self.call(url, &beat).await }.boxed()
    }
}

async fn refuse(response: Response) -> Result<Response, UplinkError> {
    let status = response.status();
    let number = status.as_u16();
    match status {
        StatusCode::OK => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(UplinkError::Unauthorized { status: number }),
        StatusCode::PAYLOAD_TOO_LARGE => Err(UplinkError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(busy(&response)),
        // A route that is not there (yet) is a coordinator that is being replaced, not a bad report.
        StatusCode::NOT_FOUND => Err(busy(&response)),
        _ if status.is_server_error() => Err(busy(&response)),
        _ => Err(UplinkError::Refused { status: number, body: shown(response).await }),
    }
}

fn busy(response: &Response) -> UplinkError {
    UplinkError::Busy { status: response.status().as_u16(), retry_after: retry_after(response) }
}

/// In seconds; a date is not understood.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) async fn shown(response: Response) -> String {
    let body = response.text().await.unwrap_or_else(|err| format!("(unreadable body: {})", err.without_url()));
    body.chars().take(BODY_SHOWN).collect()
}
