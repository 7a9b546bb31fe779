//! Makes and renews the webhook's certificates, and tells the API server whom to trust. Only the leader does.
//!
//! Inputs: the Secret, the `MutatingWebhookConfiguration`, the time; what to do is [`jobmeter_decide::certificates`]. Outputs: the
//! Secret, written against the version that was read, so that of two writers one sees the other's; `caBundle` of the
//! configuration's webhooks that call our Service.
//!
//! A new authority is written to `caBundle`, beside the one before it, *before* the Secret: whoever serves the first leaf of it is
//! trusted already. If the second write fails, the next round writes what the Secret then holds.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_daemon::error::chain;
use jobmeter_decide::certificates::{Found, Step, Why, decide};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::call::{CallError, call};
use crate::leadership::Authority;
use crate::webhook::issue::{self, IssueError};
use crate::webhook::material::{self, MaterialError};
use crate::webhook::{MANIFESTS, Names};

const CERTIFICATES: &str = "certificates";
/// Somebody may have applied the configuration again, or deleted the Secret: until it is seen, no pod of a pool can be created.
const CHECK: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Of our Secret, as the API server knows it; one that somebody made before keeps its own.
const TLS_TYPE: &str = "kubernetes.io/tls";

pub struct Certificates {
    pub client: kube::Client,
    pub names: Names,
    pub authority: Authority,
    pub sources: SourceBoard,
}

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{object} is not there, so no pod is held for its pool: apply {MANIFESTS} again, or set webhook.enabled: false")]
    NoConfiguration { object: String },
    #[error("{object} has no webhook that calls the Service {service}: apply {MANIFESTS} again, or correct webhook.service")]
    NotOurs { object: String, service: String },
    #[error("{object} is immutable: delete it, and a new one is made")]
    Immutable { object: String },
    #[error("this coordinator does not lead any more")]
    NotLeading,
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error("failed to write the patch of {object}")]
    Patch {
        object: String,
        #[source]
        source: serde_json::Error,
    },
}

impl Certificates {
    pub async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let tended = tokio::select! {
                () = token.cancelled() => return Ok(()),
                tended = self.tend(Timestamp::now()) => tended,
            };
            let wait = match tended {
                Ok(until) => {
                    self.sources.set_with_detail(
                        CERTIFICATES,
                        SourceState::Active,
                        format!("good until they are renewed at {until}"),
                    );
                    pause = FIRST_PAUSE;
                    CHECK
                }
                // Whoever owns the leadership ends this process.
                Err(CertificateError::NotLeading) => CHECK,
                Err(err) => {
                    tracing::debug!(error = &err as &dyn Error, "certificates were not tended");
                    self.sources.set(CERTIFICATES, SourceState::Failed { error: chain(&err) });
                    let wait = pause;
                    pause = (pause * 2).min(CHECK);
                    wait
                }
            };
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One round. When the next renewal is due.
    pub async fn tend(&self, now: Timestamp) -> Result<Timestamp, CertificateError> {
        let secrets = self.secrets();
        let secret = call("read", self.secret(), secrets.get_opt(&self.names.secret)).await?;
        let found = material::found(secret.as_ref(), &self.names);
        let made = match (decide(&found, now), &secret) {
            (Step::Keep { until }, Some(secret)) => {
                self.trust(&material::read(secret, &self.names)?.authorities).await?;
                return Ok(until);
            }
            (Step::Leaf { why }, Some(secret)) => {
                let authorities = material::read(secret, &self.names)?.authorities;
                self.make("certificate", &why, authorities, material::authority_key(secret)?, Some(secret), now)?
            }
            (Step::Authority { why } | Step::Leaf { why }, secret) => {
                let authority = issue::authority(now)?;
                let authorities = material::authorities_with(&authority.certificate, secret.as_ref(), now);
                self.make("authority and certificate", &why, authorities, authority.key, secret.as_ref(), now)?
            }
            // Nothing was found and is kept: not a decision that is ever made.
            (Step::Keep { until }, None) => return Ok(until),
        };
        let material = material::read(&made, &self.names)?;
        let trusted = self.trust(&material.authorities).await;
        // What is served now is trusted; what nobody trusts must not take its place. Where nothing is, a Secret is a beginning.
        if trusted.is_ok() || !matches!(found, Found::Pair { .. }) {
            self.write(made).await?;
        }
        trusted.map(|()| material.leaf.renewal())
    }

    fn make(
        &self,
        what: &'static str,
        why: &Why,
        authorities: String,
        authority_key: String,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<Secret, CertificateError> {
        let known = secret.cloned().unwrap_or_default();
        if known.immutable == Some(true) {
            return Err(CertificateError::Immutable { object: self.secret() });
        }
        tracing::info!(secret = self.names.secret, %why, what, "made anew for the webhook");
        let leaf = issue::leaf(&authority_key, &self.names, now)?;
        let metadata = ObjectMeta {
            name: Some(self.names.secret.clone()),
            namespace: Some(self.names.namespace.clone()),
            managed_fields: None,
            ..known.metadata
        };
        let type_ = known.type_.or_else(|| Some(TLS_TYPE.to_owned()));
        Ok(Secret { metadata, type_, data: Some(material::fields(leaf, authorities, authority_key)), ..Secret::default() })
    }

    async fn write(&self, secret: Secret) -> Result<(), CertificateError> {
        let (secrets, parameters) = (self.secrets(), PostParams::default());
        if !self.authority.holds() {
            return Err(CertificateError::NotLeading);
        }
        if secret.metadata.resource_version.is_some() {
            let replace = secrets.replace(&self.names.secret, &parameters, &secret);
            call("update", self.secret(), replace).await?;
        } else {
            call("create", self.secret(), secrets.create(&parameters, &secret)).await?;
        }
        Ok(())
    }

    /// `authorities` are in `caBundle` of every webhook of ours when it returns well.
    async fn trust(&self, authorities: &str) -> Result<(), CertificateError> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let object = || format!("the MutatingWebhookConfiguration {}", self.names.configuration);
        let read = configurations.get_opt(&self.names.configuration);
        let configuration = call("read", object(), read).await?;
        let configuration = configuration.ok_or_else(|| CertificateError::NoConfiguration { object: object() })?;
        let bundle = ByteString(authorities.as_bytes().to_vec());
        let (mut ours, mut operations) = (0, Vec::new());
        for (index, webhook) in configuration.webhooks.iter().flatten().enumerate() {
            let service = webhook.client_config.service.as_ref();
            if !service.is_some_and(|service| service.name == self.names.service && service.namespace == self.names.namespace) {
                continue;
            }
            ours += 1;
            if webhook.client_config.ca_bundle.as_ref() != Some(&bundle) {
                // A list that was changed in the meantime is not patched in the wrong place.
                operations.push(json!({ "op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook.name }));
                operations
                    .push(json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle }));
            }
        }
        if ours == 0 {
            let service = format!("{}/{}", self.names.namespace, self.names.service);
            return Err(CertificateError::NotOurs { object: object(), service });
        }
        if operations.is_empty() {
            return Ok(());
        }
        let operations = serde_json::from_value(Value::Array(operations));
        let patch = Patch::<()>::Json(operations.map_err(|source| CertificateError::Patch { object: object(), source })?);
        if !self.authority.holds() {
            return Err(CertificateError::NotLeading);
        }
        let parameters = PatchParams::default();
        let patched = configurations.patch(&self.names.configuration, &parameters, &patch);
        call("patch", object(), patched).await?;
        tracing::info!(
            configuration = self.names.configuration,
            webhooks = ours,
            "the API server trusts the webhook's authority"
        );
        Ok(())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.names.namespace)
    }

    fn secret(&self) -> String {
        format!("the Secret {}/{}", self.names.namespace, self.names.secret)
    }
}
