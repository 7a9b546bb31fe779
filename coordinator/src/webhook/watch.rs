//! Every replica's eye on the Secret: what it holds is served at once.
//!
//! Through the API, because the kubelet brings a mounted Secret a minute later. Inputs: a watch of that one Secret. Outputs: the
//! certificate that is served, a line at `/status`, a metric. A Secret that is gone or broken takes nothing away: what was
//! served before is served on.

use std::error::Error;

use futures::StreamExt;
use jiff::Timestamp;
use jobmeter_daemon::admin::{Gate, SourceBoard, SourceState};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio_util::sync::CancellationToken;

use super::metrics::WebhookMetrics;
use super::served::Served;
use super::{Names, WEBHOOK, material};

/// The API server ends a watch after this many seconds; so long a path that died silently goes unnoticed.
const WATCH_SECONDS: u32 = 90;

pub(super) struct CertificateWatch {
    pub(super) client: kube::Client,
    pub(super) names: Names,
    pub(super) served: Served,
    pub(super) sources: SourceBoard,
    pub(super) ready: Gate,
    pub(super) metrics: WebhookMetrics,
}

impl CertificateWatch {
    pub(super) async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.names.namespace);
        let one = watcher::Config::default().fields(&format!("metadata.name={}", self.names.secret)).timeout(WATCH_SECONDS);
        let mut events = std::pin::pin!(watcher(secrets, one).default_backoff());
        let mut serves = None;
        let mut listed = false;
        loop {
            // Cancel-safe: at shutdown what the stream holds is not needed any more.
            let event = tokio::select! {
                () = token.cancelled() => return Ok(()),
                event = events.next() => event,
            };
            let trouble = match event {
                Some(Ok(watcher::Event::Init)) => {
                    listed = false;
                    continue;
                }
                Some(Ok(watcher::Event::InitApply(secret) | watcher::Event::Apply(secret))) => {
                    listed = true;
                    self.take(&secret, &mut serves)
                }
                Some(Ok(watcher::Event::InitDone)) if listed => None,
                Some(Ok(watcher::Event::InitDone | watcher::Event::Delete(_))) => {
                    Some(format!("{} is not there; the coordinator that leads makes it", self.secret()))
                }
                Some(Err(err)) => Some(self.watch_failed(&err)),
                None => anyhow::bail!("the watch of {} ended", self.secret()),
            };
            self.show(serves, trouble);
            // From here on it is known whether reviews can be answered, and everything else works without.
            self.ready.ready();
        }
    }

    /// What is wrong with it.
    fn take(&self, secret: &Secret, serves: &mut Option<Timestamp>) -> Option<String> {
        match material::read(secret, &self.names) {
            Ok(material) => {
                self.served.swap(material.key);
                self.metrics.serves_until(material.leaf.until);
                *serves = Some(material.leaf.until);
                None
            }
            Err(err) => Some(format!("{}: {err}; the coordinator that leads makes a new one", self.secret())),
        }
    }

    fn show(&self, serves: Option<Timestamp>, trouble: Option<String>) {
        let certificate = serves.map(|until| format!("serves {} with a certificate until {until}", self.names.host()));
        match (certificate, trouble) {
            (Some(certificate), None) => self.sources.set_with_detail(WEBHOOK, SourceState::Active, certificate),
            (Some(certificate), Some(error)) => {
                self.sources.set_with_detail(WEBHOOK, SourceState::Failed { error }, format!("still {certificate}"));
            }
            (None, Some(error)) => {
                let detail = "pods that name a pool cannot be created until this is mended";
                self.sources.set_with_detail(WEBHOOK, SourceState::Failed { error }, detail);
            }
            (None, None) => {}
        }
    }

    fn watch_failed(&self, err: &watcher::Error) -> String {
        let secret = self.secret();
        tracing::debug!(error = err as &dyn Error, secret, "watch failed");
        let status = match err {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
            _ => None,
        };
        match status {
            Some(status) if status.is_forbidden() => {
                format!("{secret} may not be watched: apply the Role of manifests/base again ({})", status.message)
            }
            _ => format!("failed to watch {secret}, trying again: {err}"),
        }
    }

    fn secret(&self) -> String {
        format!("the Secret {}/{}", self.names.namespace, self.names.secret)
    }
}
