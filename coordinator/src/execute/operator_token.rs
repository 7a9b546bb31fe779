//! Makes the operator's token where there is none, and keeps it known. Only the leader does.
//!
//! Input: the Secret [`SECRET`]. Output: that Secret, made once; the token in memory ([`OperatorSecret`]), where requests are checked
//! against it. Whoever may read the Secret is an operator. Deleting it makes a new token; the old one is refused from the next
//! look on.

use std::error::Error;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_daemon::error::chain;
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_daemon::token;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use ring::rand::{SecureRandom, SystemRandom};
use tokio_util::sync::CancellationToken;

use super::call::{CallError, call};
use crate::auth::{Auth, OperatorSecret};
use crate::leadership::Authority;
use crate::world::PodSource;

/// Name of the Secret, in the coordinator's namespace.
pub const SECRET: &str = "jobmeter-operator";
/// Its key.
pub const KEY: &str = "token";
/// On the board of sources.
const SOURCE: &str = "operator-token";
const BYTES: usize = 32;
/// A token that was replaced is good for so long at most.
const CHECK: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_secs(1);

pub struct OperatorToken {
    pub client: kube::Client,
    pub namespace: String,
    pub secret: OperatorSecret,
    pub authority: Authority,
    pub sources: SourceBoard,
}

#[derive(Debug, thiserror::Error)]
pub enum OperatorTokenError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the key {KEY} of {object} is not text: delete {object}, and a new one is made")]
    NotText { object: String },
    #[error("{object} is immutable and has no {KEY}: delete it, and a new one is made")]
    Immutable { object: String },
    #[error("the system gave no random bytes")]
    Random,
    #[error("this coordinator does not lead any more")]
    NotLeading,
}

/// Nothing, where the token is of a file, or where there are no operators. To be called once, by who begins to lead.
pub fn start(auth: &Auth, pods: &PodSource, authority: Authority, sources: SourceBoard, supervisor: &mut Supervisor) {
    if let (PodSource::Kube(client), Some((namespace, secret))) = (pods, auth.operator_secret()) {
        let namespace = namespace.unwrap_or_else(|| client.default_namespace()).to_owned();
        let task = OperatorToken { client: client.clone(), namespace, secret: secret.clone(), authority, sources };
        supervisor.spawn(SOURCE, task.run(supervisor.token()));
    }
}

impl OperatorToken {
    pub async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let tended = tokio::select! {
                () = token.cancelled() => return Ok(()),
                tended = self.tend() => tended,
            };
            let wait = match tended {
                Ok(()) => {
                    self.sources.set_with_detail(SOURCE, SourceState::Active, format!("in {}", self.object()));
                    pause = FIRST_PAUSE;
                    CHECK
                }
                // Whoever owns the leadership ends this process.
                Err(OperatorTokenError::NotLeading) => CHECK,
                Err(err) => {
                    tracing::debug!(error = &err as &dyn Error, "the operator's token is not known");
                    self.sources.set(SOURCE, SourceState::Failed { error: chain(&err) });
                    self.secret.missing(chain(&err));
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

    /// One round: the token is known when it returns well.
    pub async fn tend(&self) -> Result<(), OperatorTokenError> {
        let found = call("read", self.object(), self.secrets().get_opt(SECRET)).await?;
        let known = found.as_ref().map(|secret| self.token_of(secret)).transpose()?.flatten();
        let token = match known {
            Some(token) => token,
            None => self.make(found).await?,
        };
        self.secret.set(token);
        Ok(())
    }

    /// `None`: it has none yet.
    fn token_of(&self, secret: &Secret) -> Result<Option<token::Secret>, OperatorTokenError> {
        let Some(ByteString(bytes)) = secret.data.as_ref().and_then(|data| data.get(KEY)) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| OperatorTokenError::NotText { object: self.object() })?;
        Ok(Some(text.trim()).filter(|text| !text.is_empty()).map(token::Secret::new))
    }

    async fn make(&self, found: Option<Secret>) -> Result<token::Secret, OperatorTokenError> {
        let mut random = [0; BYTES];
        SystemRandom::new().fill(&mut random).map_err(|_| OperatorTokenError::Random)?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let is_there = found.is_some();
        let mut secret = found.unwrap_or_default();
        if secret.immutable == Some(true) {
            return Err(OperatorTokenError::Immutable { object: self.object() });
        }
        secret.data.get_or_insert_default().insert(KEY.to_owned(), ByteString(token.clone().into_bytes()));
        let metadata = std::mem::take(&mut secret.metadata);
        let (name, namespace) = (Some(SECRET.to_owned()), Some(self.namespace.clone()));
        secret.metadata = ObjectMeta { name, namespace, managed_fields: None, ..metadata };
        let (secrets, parameters) = (self.secrets(), PostParams::default());
        if !self.authority.holds() {
            return Err(OperatorTokenError::NotLeading);
        }
        if is_there {
            // With the version that was read: somebody else's token is not overwritten.
            call("update", self.object(), secrets.replace(SECRET, &parameters, &secret)).await?;
        } else {
            call("create", self.object(), secrets.create(&parameters, &secret)).await?;
        }
        tracing::info!(secret = SECRET, namespace = self.namespace, "made the operator's token");
        Ok(token::Secret::new(&token))
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn object(&self) -> String {
        format!("the Secret {}/{SECRET}", self.namespace)
    }
}
