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
use futures::{StreamExt, stream};
use jobmeter_protocol::{Job, LivePod, LogEntry, Page, PoolDetail, Record};
use serde::Serialize;

use crate::runs::books::{self, RunBooks};

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) records: Vec<Record>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) live: Vec<LivePod>,
    pub(crate) logs: Vec<LogEntry>,
    pub(crate) pools: Vec<PoolDetail>,
    pub(crate) runs: RunBooks,
    /// Answer to `GET /status`.
    pub(crate) status: serde_json::Value,
    /// What an API server has, by path.
    pub(crate) objects: BTreeMap<&'static str, serde_json::Value>,
    /// Answers to `GET /v1/logs/{namespace}/{pod}`, by `pod/container/attempt`, one after the other; the last one stays.
    pub(crate) texts: BTreeMap<String, Vec<Text>>,
    /// At most so many items a page, whatever is asked for.
    pub(crate) page: usize,
    pub(crate) token: Option<&'static str>,
    pub(crate) asked: Mutex<Vec<BTreeMap<String, String>>>,
}

/// What the coordinator has of one log.
#[derive(Clone)]
pub(crate) enum Text {
    /// Chunks, and the state in the header.
    Here(&'static [&'static str], Option<&'static str>),
    /// So many MiB, made while they are sent.
    Large(usize),
    /// A chunk, and then the connection is cut.
    CutAfter(&'static str),
    /// A chunk, and then silence.
    SilentAfter(&'static str),
    /// A status, with a sentence.
    Refused(u16, &'static str),
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
            .route("/v1/pools", get(pools))
            .route("/v1/pools/{name}", get(pool))
            .route("/status", get(status))
            .route("/v1/logs", get(logs))
            .route("/v1/logs/{namespace}/{pod}", get(text))
            .merge(books::router())
            .with_state(Arc::clone(&books));
        // The same through an API server's service proxy, and that server's own refusals.
        let router = Router::new()
            .nest("/api/v1/namespaces/jobmeter/services/jobmeter-coordinator:http/proxy", router.clone())
            .route("/api/v1/namespaces/jobmeter/services/{service}/proxy/{*path}", get(refusal).post(refusal))
            .merge(
                Router::new()
                    .route("/apis/{*path}", get(object).post(object))
                    .route("/api/v1/pods", get(object))
                    .route("/api/v1/namespaces/jobmeter/secrets/jobmeter-operator", get(books::secret))
                    .with_state(Arc::clone(&books)),
            )
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

async fn object(State(books): State<Arc<Books>>, uri: axum::http::Uri) -> Response {
    match books.objects.get(uri.path()) {
        Some(object) => Json(object.clone()).into_response(),
        None => not_found().into_response(),
    }
}

fn not_found() -> (StatusCode, Json<serde_json::Value>) {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "it is not there", "reason": "NotFound", "code": 404,
    });
    (StatusCode::NOT_FOUND, Json(status))
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
        is("namespace", &record.identity.namespace)
            && is("job", &record.identity.job.name)
            && asked.get("pod").is_none_or(|pod| [&record.identity.pod, &record.identity.pod_uid].contains(&pod))
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

async fn pools(State(books): State<Arc<Books>>) -> Response {
    Json(books.pools.iter().map(|detail| &detail.pool).collect::<Vec<_>>()).into_response()
}

async fn pool(State(books): State<Arc<Books>>, Path(name): Path<String>, Query(asked): Asked) -> Response {
    let limit = asked["limit"].parse().unwrap();
    books.asked.lock().unwrap().push(asked);
    let Some(mut detail) = books.pools.iter().find(|detail| detail.pool.name == name).cloned() else {
        let body = serde_json::json!({ "error": "there is no such pool", "subject": name });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    detail.members.truncate(limit);
    detail.waiting.truncate(limit);
    Json(detail).into_response()
}

async fn status(State(books): State<Arc<Books>>) -> Response {
    Json(books.status.clone()).into_response()
}

async fn logs(State(books): State<Arc<Books>>, headers: HeaderMap, Query(asked): Asked) -> Response {
    let matching = |entry: &&LogEntry| {
        let is = |key: &str, values: &[&str]| asked.get(key).is_none_or(|wanted| values.contains(&wanted.as_str()));
        let job = entry.log.pod.rsplit_once('-').map_or("", |(job, _)| job);
        is("namespace", &[&entry.log.namespace]) && is("pod", &[&entry.log.pod, &entry.log.pod_uid]) && is("job", &[job])
    };
    let items: Vec<LogEntry> = books.logs.iter().filter(matching).cloned().collect();
    books.answer(&headers, asked, items)
}

async fn text(State(books): State<Arc<Books>>, Path((_, pod)): Path<(String, String)>, Query(asked): Asked) -> Response {
    let word = |key: &str| asked.get(key).cloned().unwrap_or_default();
    let key = format!("{pod}/{}/{}", word("container"), word("attempt"));
    let earlier = books.asked.lock().unwrap().iter().filter(|before| before.get("log") == Some(&key)).count();
    books.asked.lock().unwrap().push(asked.into_iter().chain([("log".to_owned(), key.clone())]).collect());
    let Some(texts) = books.texts.get(&key) else {
        return (StatusCode::NOT_FOUND, Json(serde_json::json!({ "error": format!("no log {key}") }))).into_response();
    };
    texts[earlier.min(texts.len() - 1)].clone().into_response()
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        let chunk = |text: &'static str| Ok::<_, std::io::Error>(axum::body::Bytes::from_static(text.as_bytes()));
        let streamed = |body: axum::body::Body| body.into_response();
        match self {
            Self::Refused(status, said) => {
                let body = Json(serde_json::json!({ "error": said }));
                (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], body).into_response()
            }
            Self::Here(chunks, state) => {
                let mut response = streamed(axum::body::Body::from_stream(stream::iter(chunks.iter().copied().map(chunk))));
                if let Some(state) = state {
                    response.headers_mut().insert("x-jobmeter-log-state", state.parse().unwrap());
                }
                response
            }
            Self::Large(mib) => {
                let block: &'static [u8] = Box::leak(vec![b'x'; 1 << 20].into_boxed_slice());
                let blocks = stream::iter(0..mib).map(move |_| Ok::<_, std::io::Error>(axum::body::Bytes::from_static(block)));
                streamed(axum::body::Body::from_stream(blocks))
            }
            Self::CutAfter(text) => {
                let cut = stream::once(async {
                    // What was sent before the cut arrives before it.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    Err(std::io::Error::other("cut"))
                });
                streamed(axum::body::Body::from_stream(stream::iter([chunk(text)]).chain(cut)))
            }
            Self::SilentAfter(text) => {
                streamed(axum::body::Body::from_stream(stream::iter([chunk(text)]).chain(stream::pending())))
            }
        }
    }
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
