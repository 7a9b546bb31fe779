//! The operator's token, from the cluster: whoever may read its Secret may start and cancel runs.

use http::HeaderValue;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

/// In the coordinator's namespace.
const SECRET: &str = "jobmeter-operator";
const KEY: &str = "token";

#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(
        "you may not read the operator's token, which starting and cancelling runs needs ({said}): ask for `get` on \
         `secrets/{SECRET}` in namespace {namespace}"
    )]
    Forbidden { namespace: String, said: String },
    #[error(
        "there is no Secret {SECRET} in namespace {namespace}, which holds the operator's token: was Jobmeter installed with node runs?"
    )]
    NoSecret { namespace: String },
    #[error("Secret {SECRET} in namespace {namespace} has no key `{KEY}` with a token that fits into an HTTP header")]
    NoToken { namespace: String },
    #[error("failed to read Secret {SECRET} in namespace {namespace}, which holds the operator's token")]
    Unreachable {
        namespace: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Value of the header, which no log shows.
pub(super) async fn token(client: &Client, namespace: &str) -> Result<HeaderValue, OperatorError> {
    let namespace = namespace.to_owned();
    let secret = match Api::<Secret>::namespaced(client.clone(), &namespace).get(SECRET).await {
        Ok(secret) => secret,
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
            let said = super::sentence(status.message.as_bytes());
            return Err(OperatorError::Forbidden { namespace, said });
        }
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(OperatorError::NoSecret { namespace }),
        Err(source) => return Err(OperatorError::Unreachable { namespace, source: Box::new(source) }),
    };
    let token = secret.data.as_ref().and_then(|data| data.get(KEY)).and_then(|token| std::str::from_utf8(&token.0).ok());
    let token = token.map(str::trim).filter(|token| !token.is_empty());
    let value = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    let mut value = value.ok_or(OperatorError::NoToken { namespace })?;
    value.set_sensitive(true);
    Ok(value)
}
