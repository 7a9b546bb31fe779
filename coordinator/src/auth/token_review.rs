//! Asks the API server whose token it is (`TokenReview`), and on which node its pod runs.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};

use super::cache::{Cache, key};
use super::{Agent, AuthError, ServiceAccount};

/// kube itself waits for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// Since Kubernetes 1.30 by default; before that only the pod's name is in the token.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

pub(crate) struct TokenReviewer {
    client: kube::Client,
    audience: String,
    agents: ServiceAccount,
    cache: Cache,
}

impl TokenReviewer {
    pub(super) fn new(client: kube::Client, audience: String, agents: ServiceAccount) -> Self {
        Self { client, audience, agents, cache: Cache::default() }
    }

    pub(super) async fn review(&self, token: &str) -> Result<Agent, AuthError> {
        let key = key(token);
        if let Some(verdict) = self.cache.get(&key) {
            return verdict;
        }
        let verdict = match tokio::time::timeout(PATIENCE, self.ask(token)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(AuthError::Unavailable { why: "the API server did not answer in time".to_owned() }),
        };
        self.cache.put(key, verdict.clone());
        verdict
    }

    async fn ask(&self, token: &str) -> Result<Agent, AuthError> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(unavailable)?;
        let status = answer.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            // The API server's word for it does not repeat the token.
            let why = status.error.unwrap_or_else(|| "the API server does not know it".to_owned());
            return Err(AuthError::Invalid { why });
        }
        // A server that does not know audiences answers `authenticated` for any token, and names none.
        if !status.audiences.unwrap_or_default().contains(&self.audience) {
            return Err(AuthError::Invalid { why: format!("it is not for audience {}", self.audience) });
        }
        let user = status.user.unwrap_or_default();
        let name = user.username.clone().unwrap_or_default();
        if name != format!("system:serviceaccount:{}:{}", self.agents.namespace, self.agents.name) {
            return Err(AuthError::NotAnAgent { who: name });
        }
        Ok(Agent { node: Some(self.node(&user).await?) })
    }

    async fn node(&self, user: &UserInfo) -> Result<String, AuthError> {
        let none = BTreeMap::new();
        let extra = user.extra.as_ref().unwrap_or(&none);
        let claim = |name: &str| extra.get(name).and_then(|values| values.first()).filter(|value| !value.is_empty());
        if let Some(node) = claim(NODE_NAME) {
            return Ok(node.clone());
        }
        let Some(pod) = claim(POD_NAME) else { return Err(AuthError::NotBound) };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.agents.namespace);
        let pod = pods.get_opt(pod).await.map_err(unavailable)?;
        pod.and_then(|pod| pod.spec).and_then(|spec| spec.node_name).ok_or(AuthError::NotBound)
    }
}

fn unavailable(err: kube::Error) -> AuthError {
    tracing::warn!(error = &err as &dyn std::error::Error, "token review failed");
    AuthError::Unavailable { why: "the API server could not be asked".to_owned() }
}
