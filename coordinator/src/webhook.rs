//! The admission webhook: puts the pool's gate onto pods that name a pool, or, where there are no gates, suspends their Jobs.
//!
//! ```text
//! API server ─▶ server (TLS, 8443) ─▶ review ─▶ JSON patch          every replica
//!                  ▲ served ◀─ watch ◀─ Secret ◀─ execute::certificates   only the leader writes
//! ```
//! Inputs: admission reviews of pods and Jobs with the pool's label; the Secret with the certificate. Outputs: patches, refusals
//! with a sentence, and nothing else: a review changes nothing here, so a dry run is like any other.
//!
//! It holds back, and it never lets go: whether a pod may start is the pool's business, and a pool that nobody knows is said to
//! be missing there.

pub mod gating;
pub mod issue;
pub mod material;
mod metrics;
pub mod review;
pub mod served;
mod server;
mod watch;

use std::io;
use std::net::SocketAddr;

use jobmeter_daemon::admin::{Gate, SourceBoard, SourceState};
use jobmeter_daemon::supervise::Supervisor;

use crate::config::webhook::WebhookConfig;
use crate::execute::certificates::Certificates;
use crate::leadership::Authority;

pub use metrics::WebhookMetrics;

/// What an administrator applies.
pub(crate) const MANIFESTS: &str = "manifests/base";
/// On the board of sources: whether reviews are answered.
const WEBHOOK: &str = "webhook";

/// Where the webhook is found, and where its certificate is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The coordinator's own.
    pub namespace: String,
    pub service: String,
    pub secret: String,
    /// Of the `MutatingWebhookConfiguration`.
    pub configuration: String,
}

pub struct Serving {
    pub config: WebhookConfig,
    pub client: kube::Client,
    pub gating: gating::Chosen,
    pub sources: SourceBoard,
    /// Opens once it was asked for the certificate: without one, records are kept all the same.
    pub ready: Gate,
    pub metrics: WebhookMetrics,
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("failed to listen on {listen} for admission reviews (webhook.listen)")]
    Listen {
        listen: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("failed to set up TLS for admission reviews")]
    Tls(#[source] rustls::Error),
}

impl Names {
    /// Where nobody said which namespace is ours, it is that of the ServiceAccount.
    pub fn of(config: &WebhookConfig, client: &kube::Client) -> Self {
        let namespace = config.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
        Self {
            namespace: namespace.to_owned(),
            service: config.service.clone(),
            secret: config.secret.clone(),
            configuration: config.configuration.clone(),
        }
    }

    /// As the API server calls it.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// What every replica does: answers reviews, with the certificate that the Secret has. To be called within a tokio runtime.
pub fn start(serving: Serving, supervisor: &mut Supervisor) -> Result<SocketAddr, WebhookError> {
    let listen = serving.config.listen;
    let refused = |source| WebhookError::Listen { listen, source };
    let listener = std::net::TcpListener::bind(listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;

    let served = served::Served::default();
    let acceptor = server::acceptor(served.clone()).map_err(WebhookError::Tls)?;
    let reviews = server::Reviews { gating: serving.gating, metrics: serving.metrics.clone() };
    supervisor.spawn("webhook", server::run(listener, acceptor, reviews, supervisor.token()));
    let watch = watch::CertificateWatch {
        names: Names::of(&serving.config, &serving.client),
        client: serving.client,
        served,
        sources: serving.sources,
        ready: serving.ready,
        metrics: serving.metrics,
    };
    supervisor.spawn("webhook-certificate", watch.run(supervisor.token()));
    Ok(address)
}

/// What only the leader does: makes and renews the certificates, and tells the API server whom to trust.
pub fn lead(
    config: &WebhookConfig,
    client: kube::Client,
    authority: Authority,
    sources: SourceBoard,
    supervisor: &mut Supervisor,
) {
    let certificates = Certificates { names: Names::of(config, &client), client, authority, sources };
    supervisor.spawn("certificates", certificates.run(supervisor.token()));
}

/// For `/status`, where it is not wanted.
pub fn disabled(sources: &SourceBoard) {
    sources.set(WEBHOOK, SourceState::Disabled);
}
