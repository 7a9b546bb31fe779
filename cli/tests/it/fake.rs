//! A coordinator that answers what a test tells it, page by page, and remembers what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jobmeter_protocol::{Job, LivePod, Page, Record};
use serde::Serialize;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) records: Vec<Record>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) live: Vec<LivePod>,
    /// At most so many items a page, whatever is asked for.
    pub(crate) page: usize,
    pub(crate) token: Option<&'static str>,
    pub(crate) asked: Mutex<Vec<BTreeMap<String, String>>>,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) books: Arc<Books>,
    // Dropped with the test: the server ends with it.
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub(crate) fn start(books: Books) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let books = Arc::new(books);
        let router = Router::new()
            .route("/v1/records", get(records))
            .route("/v1/jobs", get(jobs))
            .route("/v1/live", get(live))
            .with_state(Arc::clone(&books));
        // The same through an API server's service proxy, and that server's own refusals.
        let router = Router::new()
            .nest("/api/v1/namespaces/jobmeter/services/jobmeter-coordinator:http/proxy", router.clone())
            .route("/api/v1/namespaces/jobmeter/services/{service}/proxy/{*path}", get(refusal))
            .merge(router);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, books, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.books.asked.lock().unwrap().clone()
    }
}

async fn refusal(Path((service, _)): Path<(String, String)>) -> Response {
    let (code, reason) = match service.as_str() {
        "forbidden:http" => (StatusCode::FORBIDDEN, "Forbidden"),
        "asleep:http" => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        _ => (StatusCode::NOT_FOUND, "NotFound"),
    };
    let message = format!("the API server says {reason}");
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status)).into_response()
}

type Asked = Query<BTreeMap<String, String>>;

async fn records(State(books): State<Arc<Books>>, headers: HeaderMap, Query(asked): Asked) -> Response {
    let matching = |record: &&Record| {
        let is = |key: &str, value: &str| asked.get(key).is_none_or(|wanted| wanted == value);
        is("namespace", &record.identity.namespace) && is("job", &record.identity.job.name) && is("pod", &record.identity.pod)
    };
    let items: Vec<Record> = books.records.iter().filter(matching).cloned().collect();
    books.answer(&headers, asked, items)
}

async fn jobs(State(books): State<Arc<Books>>, headers: HeaderMap, Query(asked): Asked) -> Response {
    let matching = |job: &&Job| asked.get("job").is_none_or(|wanted| *wanted == job.owner.name);
    let items: Vec<Job> = books.jobs.iter().filter(matching).cloned().collect();
    books.answer(&headers, asked, items)
}

async fn live(State(books): State<Arc<Books>>) -> Json<Vec<LivePod>> {
    Json(books.live.clone())
}

impl Books {
    fn answer<T: Serialize + Clone>(&self, headers: &HeaderMap, asked: BTreeMap<String, String>, items: Vec<T>) -> Response {
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        if let Some(token) = self.token
            && bearer != Some(format!("Bearer {token}").as_str())
        {
            return (StatusCode::UNAUTHORIZED, Json(serde_json::json!({ "error": "no valid token" }))).into_response();
        }
        if asked.get("selector").is_some_and(|selector| selector == "refused") {
            return (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": "the selector is not one" }))).into_response();
        }
        let from: usize = asked.get("after").map_or(0, |after| after.parse().unwrap());
        let limit = asked.get("limit").map_or(200, |limit| limit.parse().unwrap());
        let size = if self.page == 0 { limit } else { self.page.min(limit) };
        let to = (from + size).min(items.len());
        let next = (to < items.len()).then(|| to.to_string());
        self.asked.lock().unwrap().push(asked);
        Json(Page { items: items[from..to].to_vec(), next }).into_response()
    }
}
