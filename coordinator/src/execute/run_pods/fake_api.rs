//! An API server of a test: each answer is scripted, each call is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(super) struct FakeApi(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// `METHOD path?query`, or without the query → status and body. A status of 0 never answers.
    answers: HashMap<String, (u16, Answered)>,
    calls: Vec<(String, Value)>,
}

#[derive(Clone)]
enum Answered {
    Json(Value),
    Text(String),
    /// The request's own, as it would be stored.
    Echo,
}

impl FakeApi {
    pub(super) fn client(&self) -> kube::Client {
        kube::Client::new(Router::new().fallback(answer).with_state(self.clone()), "default")
    }

    pub(super) fn on(&self, call: &str, code: u16, body: Value) {
        self.0.lock().unwrap().answers.insert(call.to_owned(), (code, Answered::Json(body)));
    }

    pub(super) fn text(&self, call: &str, body: &str) {
        self.0.lock().unwrap().answers.insert(call.to_owned(), (200, Answered::Text(body.to_owned())));
    }

    /// Whatever is posted there is stored.
    pub(super) fn store(&self, call: &str) {
        self.0.lock().unwrap().answers.insert(call.to_owned(), (201, Answered::Echo));
    }

    pub(super) fn refuse(&self, call: &str, code: u16, reason: &str, message: &str) {
        self.on(call, code, status(code, reason, message));
    }

    pub(super) fn silent(&self, call: &str) {
        self.on(call, 0, Value::Null);
    }

    /// Bodies of the calls of that method and path, with any query.
    pub(super) fn bodies(&self, call: &str) -> Vec<Value> {
        let script = self.0.lock().unwrap();
        let of = |(done, _): &&(String, Value)| done.split('?').next() == Some(call);
        script.calls.iter().filter(of).map(|(_, body)| body.clone()).collect()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.iter().map(|(call, _)| call.clone()).collect()
    }
}

async fn answer(State(api): State<FakeApi>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let (whole, path) = (format!("{} {}", parts.method, parts.uri), format!("{} {}", parts.method, parts.uri.path()));
    let found = {
        let mut script = api.0.lock().unwrap();
        script.calls.push((whole.clone(), body.clone()));
        script.answers.get(&whole).or_else(|| script.answers.get(&path)).cloned()
    };
    let not_found = || (404, Answered::Json(status(404, "NotFound", &format!("{path} not found"))));
    match found.unwrap_or_else(not_found) {
        (0, _) => std::future::pending().await,
        (_, Answered::Text(text)) => Body::from(text).into_response(),
        (code, Answered::Json(body)) => (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response(),
        (code, Answered::Echo) => {
            let mut stored = body;
            stored["metadata"]["uid"] = json!("uid-of-it");
            stored["metadata"]["creationTimestamp"] = json!("2026-11-21T19:30:01Z");
            (StatusCode::from_u16(code).unwrap(), axum::Json(stored)).into_response()
        }
    }
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code
    })
}
