//! As much of an API server as the webhook's certificate needs: one Secret with versions and a watch, one
//! `MutatingWebhookConfiguration`, `/version`.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

#[derive(Clone)]
pub(super) struct Api {
    state: Arc<Mutex<Cluster>>,
    changes: broadcast::Sender<Value>,
}

struct Cluster {
    secret: Option<Value>,
    configuration: Option<Value>,
    version: u64,
    /// Of Kubernetes; absent: the call fails.
    minor: Option<&'static str>,
    forbidden: bool,
    writes: Vec<String>,
}

const SECRETS: &str = "/api/v1/namespaces/jobmeter/secrets";
const SECRET: &str = "/api/v1/namespaces/jobmeter/secrets/jobmeter-webhook-tls";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/jobmeter-pool";

impl Api {
    /// With what `manifests/base` applies.
    pub(super) fn new() -> Self {
        let webhook = |name: &str, service: &str| {
            json!({
                "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"name": service, "namespace": "jobmeter", "path": "/pool", "port": 443}}
            })
        };
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "jobmeter-pool", "resourceVersion": "1"},
            "webhooks": [
                webhook("someone.else.io", "another"),
                webhook("pods.pool.jobmeter.io", "jobmeter-coordinator"),
                webhook("jobs.pool.jobmeter.io", "jobmeter-coordinator"),
            ]
        });
        let cluster = Cluster {
            secret: None,
            configuration: Some(configuration),
            version: 1,
            minor: Some("36"),
            forbidden: false,
            writes: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(cluster)), changes: broadcast::channel(64).0 }
    }

    pub(super) fn client(&self) -> kube::Client {
        kube::Client::new(Router::new().fallback(answer).with_state(self.clone()), "jobmeter")
    }

    pub(super) fn is(&self, minor: Option<&'static str>) {
        self.state.lock().unwrap().minor = minor;
    }

    pub(super) fn forbid(&self, forbidden: bool) {
        self.state.lock().unwrap().forbidden = forbidden;
    }

    pub(super) fn remove_configuration(&self) {
        self.state.lock().unwrap().configuration = None;
    }

    pub(super) fn put(&self, secret: &Secret) {
        self.store(&mut self.state.lock().unwrap(), serde_json::to_value(secret).unwrap());
    }

    pub(super) fn secret(&self) -> Option<Secret> {
        self.state.lock().unwrap().secret.clone().map(|secret| serde_json::from_value(secret).unwrap())
    }

    pub(super) fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    /// What the API server trusts when it calls the `n`th webhook.
    pub(super) fn bundle(&self, n: usize) -> Option<String> {
        let state = self.state.lock().unwrap();
        let bundle = &state.configuration.as_ref()?["webhooks"][n]["clientConfig"]["caBundle"];
        let bundle: k8s_openapi::ByteString = serde_json::from_value(bundle.clone()).ok()?;
        // `null` is read as no bytes.
        Some(String::from_utf8(bundle.0).unwrap()).filter(|bundle| !bundle.is_empty())
    }

    fn store(&self, state: &mut Cluster, mut secret: Value) -> Value {
        state.version += 1;
        secret["apiVersion"] = json!("v1");
        secret["kind"] = json!("Secret");
        secret["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.secret = Some(secret.clone());
        // Without anybody who watches.
        drop(self.changes.send(json!({"type": "MODIFIED", "object": secret})));
        secret
    }

    fn watch(&self) -> Response {
        let changes = self.changes.subscribe();
        let known = self.state.lock().unwrap().secret.clone().map(|object| json!({"type": "MODIFIED", "object": object}));
        let changes = tokio_stream::iter(known).chain(BroadcastStream::new(changes).filter_map(Result::ok));
        Body::from_stream(changes.map(|change| Ok::<_, std::convert::Infallible>(format!("{change}\n")))).into_response()
    }
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let body: Value = serde_json::from_slice(&axum::body::to_bytes(body, 1 << 20).await.unwrap()).unwrap_or_default();
    if path == SECRETS && parts.method == Method::GET {
        assert!(
            query.contains("fieldSelector=metadata.name%3Djobmeter-webhook-tls"),
            "only the one Secret may be asked for: {query}"
        );
    }
    if query.contains("watch=true") {
        return api.watch();
    }
    let mut state = api.state.lock().unwrap();
    if path == "/version" {
        return match state.minor {
            Some(minor) => Json(version(minor)).into_response(),
            None => status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        };
    }
    if state.forbidden {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    if parts.method != Method::GET {
        state.writes.push(format!("{} {path}", parts.method));
    }
    match (path, &parts.method) {
        (SECRETS, &Method::GET) => {
            let items: Vec<Value> = state.secret.iter().cloned().collect();
            Json(json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
                .into_response()
        }
        (SECRET, &Method::GET) => found(state.secret.clone()),
        (SECRETS, &Method::POST) if state.secret.is_some() => status(StatusCode::CONFLICT, "AlreadyExists"),
        (SECRETS, &Method::POST) => Json(api.store(&mut state, body)).into_response(),
        (SECRET, &Method::PUT) => {
            let known = state.secret.as_ref().map(|secret| secret["metadata"]["resourceVersion"].clone());
            if known.as_ref() != Some(&body["metadata"]["resourceVersion"]) {
                return status(StatusCode::CONFLICT, "Conflict");
            }
            Json(api.store(&mut state, body)).into_response()
        }
        (CONFIGURATION, &Method::GET) => found(state.configuration.clone()),
        (CONFIGURATION, &Method::PATCH) => {
            let patch: json_patch::Patch = serde_json::from_value(body).unwrap();
            let configuration = state.configuration.as_mut().unwrap();
            json_patch::patch(configuration, &patch).unwrap();
            Json(configuration.clone()).into_response()
        }
        _ => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn version(minor: &str) -> Value {
    json!({
        "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.0"), "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": ""
    })
}

fn found(object: Option<Value>) -> Response {
    object.map_or_else(|| status(StatusCode::NOT_FOUND, "NotFound"), |object| Json(object).into_response())
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("the scripted server says {reason}"), "reason": reason, "code": code.as_u16()
    });
    (code, Json(body)).into_response()
}
