//! The operator's token against a scripted API server: made once, read again, never overwritten.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobmeter_coordinator::auth::OperatorSecret;
use jobmeter_coordinator::execute::call::CallError;
use jobmeter_coordinator::execute::operator_token::{OperatorToken, OperatorTokenError};
use jobmeter_coordinator::leadership::Authority;
use jobmeter_daemon::admin::SourceBoard;
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/jobmeter/secrets";

#[derive(Clone, Default)]
struct Api(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    secret: Option<Value>,
    /// Somebody else's, made just before ours.
    raced: Option<Value>,
    forbidden: bool,
    writes: Vec<Method>,
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Value = serde_json::from_slice(&axum::body::to_bytes(body, 1 << 20).await.unwrap()).unwrap_or_default();
    let mut script = api.0.lock().unwrap();
    let one = parts.uri.path() == format!("{SECRETS}/jobmeter-operator");
    assert!(one || parts.uri.path() == SECRETS, "{}", parts.uri);
    if script.forbidden {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    if parts.method != Method::GET
        && let Some(raced) = script.raced.take()
    {
        script.secret = Some(raced);
    }
    let version = |secret: &Option<Value>| secret.as_ref().map(|secret| secret["metadata"]["resourceVersion"].clone());
    match (parts.method.clone(), one) {
        (Method::GET, true) => {
            return script.secret.clone().map_or_else(|| status(StatusCode::NOT_FOUND, "NotFound"), |s| Json(s).into_response());
        }
        (Method::POST, false) if script.secret.is_none() => {}
        (Method::POST, false) => return status(StatusCode::CONFLICT, "AlreadyExists"),
        (Method::PUT, true) if version(&script.secret) == version(&Some(body.clone())) => {}
        (Method::PUT, true) => return status(StatusCode::CONFLICT, "Conflict"),
        other => panic!("{other:?}"),
    }
    script.writes.push(parts.method);
    let mut secret = body;
    secret["metadata"]["resourceVersion"] = json!(script.writes.len().to_string());
    script.secret = Some(secret.clone());
    Json(secret).into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

fn secret(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "data": data,
        "metadata": {"name": "jobmeter-operator", "namespace": "jobmeter", "resourceVersion": "7", "labels": {"team": "ops"}}
    })
}

impl Api {
    fn task(&self) -> OperatorToken {
        OperatorToken {
            client: kube::Client::new(Router::new().fallback(answer).with_state(self.clone()), "jobmeter"),
            namespace: "jobmeter".to_owned(),
            secret: OperatorSecret::default(),
            authority: Authority::alone(),
            sources: SourceBoard::default(),
        }
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.lock().unwrap());
    }

    fn token(&self) -> String {
        let script = self.0.lock().unwrap();
        let encoded = script.secret.as_ref().unwrap()["data"]["token"].as_str().unwrap().to_owned();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    fn writes(&self) -> Vec<Method> {
        self.0.lock().unwrap().writes.clone()
    }
}

#[tokio::test]
async fn a_token_is_made_once_and_the_one_that_is_there_is_used() {
    let api = Api::default();
    let task = api.task();
    task.tend().await.unwrap();
    let token = api.token();
    assert!(token.len() == 43 && task.secret.admits(&token) && !task.secret.admits("guess"));
    task.tend().await.unwrap();
    let next_leader = api.task();
    next_leader.tend().await.unwrap();
    assert!(next_leader.secret.admits(&token));
    assert_eq!(api.writes(), [Method::POST]);
    // Whoever deletes it has a new one, and the old one is good no more.
    api.set(|script| script.secret = None);
    task.tend().await.unwrap();
    assert!(task.secret.admits(&api.token()) && !task.secret.admits(&token));
}

#[tokio::test]
async fn what_somebody_else_wrote_is_never_overwritten() {
    let api = Api::default();
    let theirs = STANDARD.encode("theirs\n");
    api.set(|script| script.raced = Some(secret(json!({"token": theirs}))));
    let task = api.task();
    let error = task.tend().await.unwrap_err();
    assert!(matches!(error, OperatorTokenError::Call(CallError::Conflict { action: "create", .. })), "{error}");
    task.tend().await.unwrap();
    assert!(task.secret.admits("theirs"));
    assert!(api.writes().is_empty());

    // One without a token gets it, and keeps what else is in it.
    api.set(|script| script.secret = Some(secret(json!({"note": STANDARD.encode("x"), "token": ""}))));
    let task = api.task();
    task.tend().await.unwrap();
    let written = api.0.lock().unwrap().secret.clone().unwrap();
    assert_eq!((&written["metadata"]["labels"]["team"], &written["data"]["note"]), (&json!("ops"), &json!(STANDARD.encode("x"))));
    assert!(task.secret.admits(&api.token()));
    assert_eq!(api.writes(), [Method::PUT]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_or_written_is_named_with_what_to_do() {
    let api = Api::default();
    api.set(|script| script.forbidden = true);
    let error = api.task().tend().await.unwrap_err().to_string();
    assert!(error.contains("may not read the Secret jobmeter/jobmeter-operator: apply the roles of"), "{error}");
    api.set(|script| {
        script.forbidden = false;
        let mut fixed = secret(json!({}));
        fixed["immutable"] = json!(true);
        script.secret = Some(fixed);
    });
    assert!(matches!(api.task().tend().await, Err(OperatorTokenError::Immutable { .. })));
    api.set(|script| script.secret = Some(secret(json!({"token": STANDARD.encode([0xff, 0xfe])}))));
    assert!(matches!(api.task().tend().await, Err(OperatorTokenError::NotText { .. })));
    assert!(api.writes().is_empty());
}
