//! IBM Cloud's way: an API key is exchanged for a token that lives an hour, and each request bears it.
//!
//! Inputs: the API key, the token endpoint. Outputs: the header of every request. A token is used for four fifths of its
//! life; it is fetched by one caller while the others wait.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::auth::{Params, ResolveAuthScheme};
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::{AuthSchemeId, AuthSchemeOption, AuthSchemeOptionsFuture};
use jobmeter_daemon::token::Secret;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::objects::ObjectError;
use crate::objects::secret::{Access, Settings};

const GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";
const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(15);
/// An answer of a token endpoint is some kilobytes.
const MAX_ANSWER: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Tokens {
    http: reqwest::Client,
    endpoint: String,
    api_key: Secret,
    current: RwLock<Option<Token>>,
    /// Held while a token is fetched.
    fetching: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    good_until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

/// As IBM tells what is wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: String,
    #[serde(rename = "errorMessage")]
    message: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token endpoint {endpoint} refuses: {why}")]
    Refused { endpoint: String, why: String },
    #[error("failed to get a token from {endpoint}")]
    Failed {
        endpoint: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the token endpoint {endpoint} answered {why}")]
    Answer { endpoint: String, why: String },
}

impl Tokens {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let Access::Ibm { api_key, auth_endpoint, .. } = &settings.access else {
            return Err("there is no API key".to_owned());
        };
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT).timeout(TOTAL);
        if let Some(pem) = &settings.ca_bundle {
            let bundle = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
            let bundle = bundle.map_err(|err| format!("caBundle in the object store's Secret is no PEM: {err}"))?;
            http = bundle.into_iter().fold(http, reqwest::ClientBuilder::add_root_certificate);
        }
        Ok(Self {
            http: http.build().map_err(|err| format!("failed to make an HTTP client: {err}"))?,
            endpoint: auth_endpoint.clone(),
            api_key: api_key.clone(),
            current: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// Returns when there is a token that is good.
    pub(super) async fn ready(&self) -> Result<(), TokenError> {
        if self.usable() {
            return Ok(());
        }
        let _fetching = self.fetching.lock().await;
        // Somebody else fetched it meanwhile.
        if self.usable() {
            return Ok(());
        }
        let token = self.fetch().await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(())
    }

    /// The store refused it: the next call gets another.
    pub(super) fn forget(&self) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn usable(&self) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().is_some_and(|token| Instant::now() < token.good_until)
    }

    fn text(&self) -> Option<Secret> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|token| token.text.clone())
    }

    async fn fetch(&self) -> Result<Token, TokenError> {
        let endpoint = || self.endpoint.clone();
        let failed = |source: reqwest::Error| TokenError::Failed { endpoint: endpoint(), source: source.without_url() };
        let asked = Instant::now();
        let form = format!("grant_type={}&apikey={}", encoded(GRANT), encoded(self.api_key.expose()));
        let request = self.http.post(&self.endpoint).header("content-type", "application/x-www-form-urlencoded");
        let mut answer = request.header("accept", "application/json").body(form).send().await.map_err(failed)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(TokenError::Answer { endpoint: endpoint(), why: "more than a token needs".to_owned() });
            }
        }
        if status.is_client_error() && status.as_u16() != 429 {
            let Refusal { code, message } = serde_json::from_slice(&body).unwrap_or_default();
            let why = format!("{status} {code} {message}").replace(self.api_key.expose(), "…");
            return Err(TokenError::Refused { endpoint: endpoint(), why: why.trim().to_owned() });
        }
        if !status.is_success() {
            return Err(TokenError::Answer { endpoint: endpoint(), why: status.to_string() });
        }
        // The parser's own words could quote the token.
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| TokenError::Answer { endpoint: endpoint(), why: "something that is no token".to_owned() })?;
        let life = Duration::from_secs(answer.expires_in).mul_f64(0.8);
        Ok(Token { text: Secret::new(&answer.access_token), good_until: asked + life })
    }
}

impl TokenError {
    pub(super) fn into_error(self, action: &'static str, key: &str) -> ObjectError {
        let key = key.to_owned();
        match self {
            Self::Refused { .. } => ObjectError::Refused { action, key, why: self.to_string() },
            Self::Failed { .. } | Self::Answer { .. } => ObjectError::Failed { action, key, source: Box::new(self) },
        }
    }
}

/// Everything but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Puts the token into each request.
#[derive(Debug)]
pub(super) struct Bearer {
    tokens: Arc<Tokens>,
    instance: String,
}

impl Bearer {
    pub(super) fn new(tokens: Arc<Tokens>, instance: &str) -> Self {
        Self { tokens, instance: instance.to_owned() }
    }
}

impl Intercept for Bearer {
    fn name(&self) -> &'static str {
        "ibm-iam"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let token = self.tokens.text().ok_or("there is no token")?;
        let headers = context.request_mut().headers_mut();
        headers.try_insert("authorization", format!("Bearer {}", token.expose()))?;
        headers.try_insert("ibm-service-instance-id", self.instance.clone())?;
        Ok(())
    }
}

/// The token is in a header of its own; the SDK is not to sign.
#[derive(Debug)]
pub(super) struct NoSignature;

impl ResolveAuthScheme for NoSignature {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _params: &'a Params,
        _config: &'a ConfigBag,
        _components: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        AuthSchemeOptionsFuture::ready(Ok(vec![AuthSchemeOption::from(AuthSchemeId::from("noAuth"))]))
    }
}
