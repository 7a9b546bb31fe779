//! A coordinator asked through the API server's service proxy: no port to open, the cluster's own access rules.

use std::time::Duration;

use futures::TryStreamExt;
use http::Request;
use jobmeter_coordinator::auth::AUTHORIZATION;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::logs::{LogAnswer, receive};
use super::operator::{self, OperatorError};
use super::paths::Path;
use super::{CoordinatorService, SourceArgs};

const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer; a page of a thousand large records has a tenth of it.
const MOST: usize = 256 << 20;
/// What the API server's access rules call a GET and a POST through the proxy.
const GET: &str = "get";
const CREATE: &str = "create";

pub(super) struct Proxy {
    client: Client,
    /// For what may be silent for hours: a log that is followed.
    patient: Client,
    /// Path of the service's proxy. The address in front of it belongs to the client.
    base: Url,
    service: CoordinatorService,
    pub(super) context_namespace: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error("failed to find a cluster: there is no usable kubeconfig, and this is not a pod with a ServiceAccount")]
    Infer(#[from] kube::config::InferConfigError),
    #[error("failed to set up the connection to the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("failed to write the address of the service proxy")]
    Address(#[source] http::Error),
    #[error("the cluster has no service {0}: is Jobmeter installed there? Another name goes with --coordinator")]
    NoService(CoordinatorService),
    #[error(
        "you may not use the service proxy of {service} ({said}): ask for `{verb}` on `services/proxy` in its namespace, or use --server"
    )]
    Forbidden { service: CoordinatorService, said: String, verb: &'static str },
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error("the service {service} has no coordinator behind it that is ready ({said})")]
    NotReady { service: CoordinatorService, said: String },
    #[error("it answered {code}: {said}")]
    Status { code: u16, said: String },
    #[error("the API server gave no answer")]
    Unreachable(#[source] Box<kube::Error>),
    #[error("its answer is not what a coordinator of this version says; is {service} a coordinator?")]
    Garbled {
        service: CoordinatorService,
        #[source]
        source: serde_json::Error,
    },
}

impl Proxy {
    pub(super) async fn new(service: CoordinatorService, args: &SourceArgs) -> Result<Self, ProxyError> {
        let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match (&args.kubeconfig, &args.context) {
            (Some(path), _) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            (None, Some(_)) => Config::from_kubeconfig(&options).await?,
            (None, None) => Config::infer().await?,
        };
        // kube's own defaults wait for ever and try again for minutes: a person at a terminal wants to know.
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        config.default_retry = false;
        let context_namespace = config.default_namespace.clone();
        let CoordinatorService { namespace, name, port } = &service;
        let base = format!("http://api.invalid/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy");
        // The parts were checked when the service was parsed, so the address holds; a failure would be of ours.
        let base = base.parse().map_err(|_| ProxyError::NoService(service.clone()))?;
        let client = |config| Client::try_from(config).map_err(|error| ProxyError::Client(Box::new(error)));
        let mut patient = config.clone();
        patient.read_timeout = None;
        Ok(Self { client: client(config)?, patient: client(patient)?, base, service, context_namespace })
    }

    /// For questions to the API server itself.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Of the coordinator.
    pub(super) fn namespace(&self) -> &str {
        &self.service.namespace
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, ProxyError> {
        let request = Request::get(self.target(path)).body(kube::client::Body::empty()).map_err(ProxyError::Address)?;
        self.ask(request, GET).await
    }

    /// Something is to be done, as the operator. Not sent twice: where no answer came, it may be done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &Path, body: Vec<u8>) -> Result<T, ProxyError> {
        let token = operator::token(&self.client, &self.service.namespace).await?;
        let request = Request::post(self.target(path))
            .header(http::header::CONTENT_TYPE, "application/json")
            // The API server takes `Authorization` for itself.
            .header(AUTHORIZATION, token)
            .body(body.into())
            .map_err(ProxyError::Address)?;
        self.ask(request, CREATE).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: Request<kube::client::Body>, verb: &'static str) -> Result<T, ProxyError> {
        let (parts, body) = self.client.send(request).await.map_err(|error| self.explain(error, verb))?.into_parts();
        let body = axum::body::to_bytes(axum::body::Body::new(body), MOST).await;
        let body = body.map_err(|error| ProxyError::Unreachable(Box::new(kube::Error::Service(error.into()))))?;
        if !parts.status.is_success() {
            return Err(self.refused(parts.status.as_u16(), &body, verb));
        }
        serde_json::from_slice(&body).map_err(|source| ProxyError::Garbled { service: self.service.clone(), source })
    }

    /// An answer that is read as it comes.
    pub(super) async fn log(&self, path: &Path, follow: bool) -> Result<LogAnswer, ProxyError> {
        let client = if follow { &self.patient } else { &self.client };
        let request = Request::get(self.target(path)).body(kube::client::Body::empty()).map_err(ProxyError::Address)?;
        let (parts, body) = client.send(request).await.map_err(|error| self.explain(error, GET))?.into_parts();
        let chunks = axum::body::Body::new(body).into_data_stream().map_err(std::io::Error::other);
        let refusal = match receive(parts.status, &parts.headers, Box::pin(chunks)).await {
            Ok(text) => return Ok(LogAnswer::Here(text)),
            Err(refusal) => refusal,
        };
        if let Some(status) = of_the_api_server(&refusal.said) {
            return Err(self.explain(kube::Error::Api(status), GET));
        }
        refusal.of_the_log().map_err(|refusal| self.refused(refusal.status.as_u16(), &refusal.said, GET))
    }

    fn refused(&self, code: u16, body: &[u8], verb: &'static str) -> ProxyError {
        match of_the_api_server(body) {
            Some(status) => self.explain(kube::Error::Api(status), verb),
            None => ProxyError::Status { code, said: super::server::sentence(body) },
        }
    }

    fn target(&self, path: &Path) -> String {
        let url = path.under(&self.base);
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    fn explain(&self, error: kube::Error, verb: &'static str) -> ProxyError {
        let kube::Error::Api(status) = error else {
            return ProxyError::Unreachable(Box::new(error));
        };
        let (service, said) = (self.service.clone(), super::server::sentence(status.message.as_bytes()));
        match status.code {
            // A 404 of the API server's is about the service; one of the coordinator's own is not.
            404 if status.reason == "NotFound" => ProxyError::NoService(service),
            401 | 403 => ProxyError::Forbidden { service, said, verb },
            502..=504 => ProxyError::NotReady { service, said },
            code => ProxyError::Status { code, said },
        }
    }
}

/// What the API server refuses is a Status with a code; what the coordinator refuses is JSON of its own, which reads as one without.
fn of_the_api_server(body: &[u8]) -> Option<Box<kube::core::Status>> {
    serde_json::from_slice::<kube::core::Status>(body).ok().filter(|status| status.code != 0).map(kube::core::Status::boxed)
}
