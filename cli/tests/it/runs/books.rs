//! The runs of the coordinator that answers what a test tells it, and what was posted to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, Run, RunDetail, RunQuery, StartRun};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::fake::Books;

#[derive(Default)]
pub(crate) struct RunBooks {
    pub(crate) definitions: Vec<DefinitionStatus>,
    /// By ID: the answers to `GET /v1/runs/{id}`, one after the other; the last one stays.
    pub(crate) runs: BTreeMap<String, Vec<Answer>>,
    pub(crate) results: BTreeMap<String, Vec<NodeResult>>,
    pub(crate) operator: &'static str,
    pub(crate) secret: OperatorSecret,
    pub(crate) posted: Mutex<Vec<Posted>>,
    pub(crate) asked: Mutex<BTreeMap<String, usize>>,
}

#[derive(Clone)]
pub(crate) enum Answer {
    Run(Box<RunDetail>),
    Refused(u16),
}

#[derive(Clone, Copy, Default)]
pub(crate) enum OperatorSecret {
    #[default]
    Missing,
    Forbidden,
    Token(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Posted {
    pub(crate) path: String,
    pub(crate) start: Option<StartRun>,
}

pub(crate) fn router() -> Router<Arc<Books>> {
    Router::new()
        .route("/v1/runs", get(list).post(start))
        .route("/v1/runs/{run}", get(one))
        .route("/v1/runs/{run}/results", get(results))
        .route("/v1/runs/{run}/{act}", post(act))
        .route("/v1/run-definitions", get(definitions))
}

/// Of the API server.
pub(crate) async fn secret(State(books): State<Arc<Books>>) -> Response {
    let refused = |code: StatusCode, reason: &str| {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("the API server says {reason}"), "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
    };
    match books.runs.secret {
        OperatorSecret::Missing => refused(StatusCode::NOT_FOUND, "NotFound"),
        OperatorSecret::Forbidden => refused(StatusCode::FORBIDDEN, "Forbidden"),
        OperatorSecret::Token(token) => {
            let data = BTreeMap::from([("token".to_owned(), ByteString(token.into()))]);
            Json(Secret { data: Some(data), ..Secret::default() }).into_response()
        }
    }
}

impl RunBooks {
    fn newest(&self) -> impl Iterator<Item = &Run> {
        let last = |answers: &'_ Vec<Answer>| answers.len() - 1;
        self.runs.values().rev().filter_map(move |answers| match &answers[last(answers)] {
            Answer::Run(detail) => Some(&detail.run),
            Answer::Refused(_) => None,
        })
    }

    /// Whoever may do something is known by the token, in the header that passes the API server's proxy.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let token = headers.get("x-jobmeter-authorization").and_then(|value| value.to_str().ok());
        if token == Some(&format!("Bearer {}", self.operator)) {
            return None;
        }
        Some((StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "error": "no valid token was given" }))).into_response())
    }

    fn no_run(&self, run: &str) -> Response {
        let body = serde_json::json!({ "error": "there is no run of this ID", "subject": run });
        (StatusCode::NOT_FOUND, Json(body)).into_response()
    }
}

async fn list(State(books): State<Arc<Books>>, Query(query): Query<RunQuery>) -> Response {
    let matching = |run: &&Run| {
        query.definition.as_ref().is_none_or(|name| *name == run.definition)
            && query.state.is_none_or(|state| state == run.state)
            && query.after.as_ref().is_none_or(|after| run.id < *after)
    };
    let limit = query.limit.map_or(200, |limit| usize::try_from(limit).unwrap());
    let mut items: Vec<Run> = books.runs.newest().filter(matching).take(limit + 1).cloned().collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|run| run.id.clone());
    Json(Page { items, next }).into_response()
}

async fn one(State(books): State<Arc<Books>>, Path(run): Path<String>) -> Response {
    let Some(answers) = books.runs.runs.get(&run) else { return books.runs.no_run(&run) };
    let mut asked = books.runs.asked.lock().unwrap();
    let before = asked.entry(run).or_default();
    let answer = &answers[(*before).min(answers.len() - 1)];
    *before += 1;
    match answer {
        Answer::Run(detail) => Json(detail).into_response(),
        Answer::Refused(code) => StatusCode::from_u16(*code).unwrap().into_response(),
    }
}

async fn results(State(books): State<Arc<Books>>, Path(run): Path<String>) -> Response {
    match books.runs.results.get(&run) {
        Some(results) => Json(results).into_response(),
        None => books.runs.no_run(&run),
    }
}

async fn definitions(State(books): State<Arc<Books>>) -> Json<Vec<DefinitionStatus>> {
    Json(books.runs.definitions.clone())
}

async fn start(State(books): State<Arc<Books>>, headers: HeaderMap, Json(start): Json<StartRun>) -> Response {
    if let Some(refusal) = books.runs.refusal(&headers) {
        return refusal;
    }
    let found = books.runs.newest().find(|run| run.definition == start.definition).cloned();
    let name = start.definition.clone();
    books.runs.posted.lock().unwrap().push(Posted { path: "/v1/runs".into(), start: Some(start) });
    match found {
        Some(run) => (StatusCode::CREATED, Json(run)).into_response(),
        None => {
            let body = serde_json::json!({ "error": "there is no definition of this name", "subject": name, "hint": "there are: disk-check" });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn act(
    State(books): State<Arc<Books>>,
    headers: HeaderMap,
    uri: Uri,
    Path((run, act)): Path<(String, String)>,
) -> Response {
    if let Some(refusal) = books.runs.refusal(&headers) {
        return refusal;
    }
    let path = uri.path().split_once("/proxy").map_or(uri.path(), |(_, path)| path).to_owned();
    books.runs.posted.lock().unwrap().push(Posted { path, start: None });
    let Some(found) = books.runs.newest().find(|found| found.id == run).cloned() else { return books.runs.no_run(&run) };
    match act.as_str() {
        "cancel" => (StatusCode::ACCEPTED, Json(found)).into_response(),
        "retry" => (StatusCode::CREATED, Json(found)).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
