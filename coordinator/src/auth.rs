//! Who may report, who may read, and who may start and cancel runs.
//!
//! Inputs: the headers of a request. Outputs: the node that the sender may speak for, or a refusal that says what is wrong
//! without telling any secret. Tokens are never logged and never kept: the cache knows them by their hash.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use jobmeter_daemon::token::{TokenFile, bearer};

mod cache;
mod mint;
mod operator;
mod token_review;

pub use mint::MintError;
use operator::OperatorAuth;
pub use operator::{OperatorSecret, Operators};

pub(crate) use token_review::TokenReviewer;

/// The API server's service proxy strips `Authorization`; what comes through it uses this one.
pub const AUTHORIZATION: HeaderName = HeaderName::from_static("x-jobmeter-authorization");

/// Who may report over HTTP.
#[derive(Clone, Debug)]
pub enum Writers {
    /// Nobody: the agent is in this process.
    InProcess,
    /// Whoever has the token of this file.
    Token(Arc<TokenFile>),
    /// Agents in the cluster, by their ServiceAccount's token, bound to this audience and to their node.
    TokenReview { audience: String, agents: ServiceAccount },
}

#[derive(Clone, Debug)]
pub enum Readers {
    Open,
    Token(Arc<TokenFile>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAccount {
    pub namespace: String,
    pub name: String,
}

/// A sender that was found to be an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The one node it may speak for; any where the token is not bound to one (standalone).
    pub node: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("no token was given")]
    NoToken,
    #[error("the token is not valid: {why}")]
    Invalid { why: String },
    #[error("{who} is not an agent of this cluster")]
    NotAnAgent { who: String },
    #[error("the token is not bound to a node")]
    NotBound,
    #[error("the token is bound to node {bound}, not to {node}")]
    OtherNode { bound: String, node: String },
    #[error("this coordinator takes no reports over HTTP")]
    Closed,
    #[error("this coordinator has no operator's token, so nobody may start, cancel or retry runs")]
    NoOperators,
    #[error("the token could not be checked: {why}")]
    Unavailable { why: String },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form namespace:name")]
pub struct ServiceAccountError {
    text: String,
}

#[derive(Clone)]
pub struct Auth {
    writers: WriterAuth,
    readers: Readers,
    operators: OperatorAuth,
}

#[derive(Clone)]
enum WriterAuth {
    Closed,
    Token(Arc<TokenFile>),
    Review(Arc<TokenReviewer>),
}

impl Auth {
    /// `None` where `writers` needs the API server and there is none.
    pub(crate) fn new(writers: &Writers, readers: Readers, client: Option<&kube::Client>) -> Option<Self> {
        let writers = match writers {
            Writers::InProcess => WriterAuth::Closed,
            Writers::Token(file) => WriterAuth::Token(file.clone()),
            Writers::TokenReview { audience, agents } => {
                WriterAuth::Review(Arc::new(TokenReviewer::new(client?.clone(), audience.clone(), agents.clone())))
            }
        };
        Some(Self { writers, readers, operators: OperatorAuth::Nobody })
    }

    pub(crate) fn with_operators(self, operators: &Operators) -> Self {
        Self { operators: OperatorAuth::of(operators), ..self }
    }

    pub async fn agent(&self, headers: &HeaderMap) -> Result<Agent, AuthError> {
        match &self.writers {
            WriterAuth::Closed => Err(AuthError::Closed),
            WriterAuth::Token(file) => same(file, token(headers)?).map(|()| Agent { node: None }),
            WriterAuth::Review(reviewer) => reviewer.review(token(headers)?).await,
        }
    }

    pub fn reader(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        match &self.readers {
            Readers::Open => Ok(()),
            Readers::Token(file) => same(file, token(headers)?),
        }
    }

    /// Who may start, cancel and retry runs; nobody who only may read.
    pub fn operator(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        self.operators.check(|| token(headers))
    }

    /// Where the token of the cluster's Secret is put, and the namespace that was named for it. `None`: there is no such Secret.
    pub fn operator_secret(&self) -> Option<(Option<&str>, &OperatorSecret)> {
        match &self.operators {
            OperatorAuth::Cluster { namespace, secret } => Some((namespace.as_deref(), secret)),
            OperatorAuth::Nobody | OperatorAuth::Token(_) => None,
        }
    }
}

impl Agent {
    pub fn speaks_for(&self, node: &str) -> Result<(), AuthError> {
        match &self.node {
            Some(bound) if bound != node => Err(AuthError::OtherNode { bound: bound.clone(), node: node.to_owned() }),
            _ => Ok(()),
        }
    }
}

impl Writers {
    /// The token of this file; a random one is made if the file is not there.
    pub fn minted(path: &Path) -> Result<Self, MintError> {
        mint::ensure(path)?;
        Ok(Self::Token(Arc::new(TokenFile::new(path))))
    }
}

impl Readers {
    pub fn token(path: impl Into<PathBuf>) -> Self {
        Self::Token(Arc::new(TokenFile::new(path)))
    }
}

impl FromStr for ServiceAccount {
    type Err = ServiceAccountError;

    fn from_str(text: &str) -> Result<Self, ServiceAccountError> {
        match text.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains(':') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(ServiceAccountError { text: text.to_owned() }),
        }
    }
}

fn token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let ours = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::trim);
    let ours = ours.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    ours.map(|(_, token)| token.trim()).filter(|token| !token.is_empty()).or_else(|| bearer(headers)).ok_or(AuthError::NoToken)
}

fn same(file: &TokenFile, presented: &str) -> Result<(), AuthError> {
    let secret = file.current().map_err(|err| AuthError::Unavailable { why: err.to_string() })?;
    if secret.matches(presented) { Ok(()) } else { Err(invalid()) }
}

fn invalid() -> AuthError {
    AuthError::Invalid { why: "it is not the one of this coordinator".to_owned() }
}
