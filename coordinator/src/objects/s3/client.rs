//! The SDK's clients for one version of the Secret. TLS is rustls on ring, with the system's authorities and those of the
//! Secret; nothing is read from the environment or from the SDK's own configuration files.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use super::clock::StoreClock;
use super::iam::{Bearer, NoSignature, Tokens};
use crate::objects::ObjectError;
use crate::objects::secret::{Access, Settings};

const CONNECT: Duration = Duration::from_secs(5);
/// Of a call that moves few bytes, all its attempts together.
const QUICK: Duration = Duration::from_secs(20);
/// Until the first byte of an answer, counted from the first byte of the request: a slow link needs its time for a part, and
/// some stores copy all parts before they answer its completion.
const PATIENT_READ: Duration = Duration::from_secs(180);
const READ: Duration = Duration::from_secs(10);
/// A body that has not moved for so long will not move.
const STALLED: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;

#[derive(Debug)]
pub(super) struct Clients {
    /// For calls that move few bytes.
    pub(super) quick: Client,
    /// For bodies, and for putting parts together.
    pub(super) patient: Client,
    pub(super) clock: StoreClock,
    tokens: Option<Arc<Tokens>>,
}

impl Clients {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let clock = StoreClock::default();
        let retry = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let retry = retry.with_initial_backoff(Duration::from_millis(200)).with_max_backoff(Duration::from_secs(2));
        let mut builder = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .force_path_style(settings.path_style)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALLED).build())
            .retry_config(retry)
            .http_client(http_client(settings)?)
            .interceptor(clock.clone());
        builder.set_endpoint_url(settings.endpoint.clone());
        let tokens = match &settings.access {
            Access::Keys { .. } => None,
            Access::Ibm { .. } => Some(Arc::new(Tokens::new(settings)?)),
        };
        let builder = match &settings.access {
            Access::Keys { id, secret, session } => {
                let session = session.as_ref().map(|session| session.expose().to_owned());
                builder.credentials_provider(Credentials::new(id.expose(), secret.expose(), session, None, "Secret"))
            }
            Access::Ibm { instance, .. } => {
                let builder = builder.allow_no_auth().auth_scheme_resolver(NoSignature);
                match &tokens {
                    Some(tokens) => builder.interceptor(Bearer::new(tokens.clone(), instance)),
                    None => builder,
                }
            }
        };
        let quick = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).operation_timeout(QUICK);
        let patient = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(PATIENT_READ);
        let client = |builder: Builder, timeouts: TimeoutConfig| Client::from_conf(builder.timeout_config(timeouts).build());
        Ok(Self { quick: client(builder.clone(), quick.build()), patient: client(builder, patient.build()), clock, tokens })
    }

    pub(super) fn is_ibm(&self) -> bool {
        self.tokens.is_some()
    }

    /// Sees to it that there is a token where one is needed.
    pub(super) async fn ready(&self, action: &'static str, key: &str) -> Result<(), ObjectError> {
        match &self.tokens {
            Some(tokens) => tokens.ready().await.map_err(|err| err.into_error(action, key)),
            None => Ok(()),
        }
    }

    /// Whether the call failed for its token, which is not used again then.
    pub(super) fn token_was_refused(&self, status: u16) -> bool {
        let refused = status == 401 && self.tokens.is_some();
        if let Some(tokens) = self.tokens.as_ref().filter(|_| refused) {
            tokens.forget();
        }
        refused
    }
}

fn http_client(settings: &Settings) -> Result<aws_sdk_s3::config::SharedHttpClient, String> {
    let mut trusted = TrustStore::empty().with_native_roots(true);
    if let Some(pem) = &settings.ca_bundle {
        check_bundle(pem)?;
        trusted.add_pem_certificate(pem.as_bytes());
    }
    let tls = TlsContext::builder().with_trust_store(trusted).build().map_err(|err| format!("failed to set up TLS: {err}"))?;
    let provider = Provider::Rustls(CryptoMode::Ring);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(tls).build_https())
}

/// The SDK would panic on the first call.
fn check_bundle(pem: &str) -> Result<(), String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates.as_deref() {
        Ok([]) => Err("caBundle in the object store's Secret has no certificate".to_owned()),
        Ok(certificates) => {
            let mut store = rustls::RootCertStore::empty();
            let added = certificates.iter().try_for_each(|certificate| store.add(certificate.clone()));
            added.map_err(|err| format!("caBundle in the object store's Secret has a certificate that cannot be used: {err}"))
        }
        Err(err) => Err(format!("caBundle in the object store's Secret is no PEM: {err}")),
    }
}
