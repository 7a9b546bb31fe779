//! The double behind HTTP: a coordinator at one address, a store at another.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode, header::ETAG},
    response::{IntoResponse, Response},
    routing::{post, put},
};
use jobmeter_agent::uplink::{HttpUplink, HttpUplinkOptions};
use jobmeter_protocol::logs::{CompleteReply, CompleteRequest, MultipartRequest, TargetsRequest, TicketReply, TicketRequest};
use tokio::net::TcpListener;

use super::double::{Double, Fault, Place, Step};

#[derive(Clone)]
struct Served {
    double: Arc<Double>,
    store: String,
}

pub(crate) const TOKEN: &str = "token-of-the-agent";

/// Returns the way to both.
pub(crate) async fn serve(double: &Arc<Double>) -> (HttpUplink, tempfile::NamedTempFile) {
    let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let coordinator = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix/", coordinator.local_addr().unwrap());
    let served = Served { double: Arc::clone(double), store: format!("http://{}/bucket", store.local_addr().unwrap()) };
    let calls = Router::new()
        .route("/tickets", post(ticket))
        .route("/multipart", post(multipart))
        .route("/targets", post(targets))
        .route("/complete", post(complete))
        .route("/data/{*key}", put(put_proxied))
        .layer(DefaultBodyLimit::disable())
        .with_state(served.clone());
    let calls = Router::new().nest("/prefix/v1/logs", calls);
    let puts = Router::new().route("/bucket/{*key}", put(put_direct)).layer(DefaultBodyLimit::disable()).with_state(served);
    tokio::spawn(async move { axum::serve(coordinator, calls).await.unwrap() });
    tokio::spawn(async move { axum::serve(store, puts).await.unwrap() });
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), TOKEN).unwrap();
    let token_file = Some(token.path().to_owned());
    let options = HttpUplinkOptions { url, token_file, ca_file: None, timeout: Duration::from_secs(5) };
    (HttpUplink::new(options).unwrap(), token)
}

async fn ticket(State(served): State<Served>, headers: HeaderMap, Json(request): Json<TicketRequest>) -> Response {
    let fault = served.begin(Step::Ticket, &headers).await;
    if let Some(Fault::Later(seconds)) = fault {
        return Json(TicketReply::Later { why: "asked to".into(), seconds }).into_response();
    }
    let reply = fault.as_ref().is_none_or(happens).then(|| served.double.ticket(&request));
    answer(fault, reply.map(Json))
}

async fn multipart(State(served): State<Served>, headers: HeaderMap, Json(request): Json<MultipartRequest>) -> Response {
    let fault = served.begin(Step::Multipart, &headers).await;
    let reply = fault.as_ref().is_none_or(happens).then(|| served.double.multipart(&request));
    answer(fault, reply.map(Json))
}

async fn targets(State(served): State<Served>, headers: HeaderMap, Json(request): Json<TargetsRequest>) -> Response {
    let fault = served.begin(Step::Targets, &headers).await;
    let reply = fault.as_ref().is_none_or(happens).then(|| served.double.targets(&request, &served.store));
    answer(fault, reply.map(Json))
}

async fn complete(State(served): State<Served>, headers: HeaderMap, Json(request): Json<CompleteRequest>) -> Response {
    let fault = served.begin(Step::Complete, &headers).await;
    if let Some(Fault::Later(seconds)) = fault {
        return Json(CompleteReply::Later { why: "asked to".into(), seconds }).into_response();
    }
    let reply = fault.as_ref().is_none_or(happens).then(|| served.double.complete(&request));
    answer(fault, reply.map(Json))
}

async fn put_direct(State(served): State<Served>, Query(place): Query<Place>, headers: HeaderMap, body: Bytes) -> Response {
    assert!(!headers.contains_key("authorization"), "the agent's token is not for the store");
    served.put(Step::PutDirect, &place, &headers, &body).await
}

async fn put_proxied(State(served): State<Served>, Query(place): Query<Place>, headers: HeaderMap, body: Bytes) -> Response {
    served.put(Step::PutProxied, &place, &headers, &body).await
}

impl Served {
    async fn begin(&self, step: Step, headers: &HeaderMap) -> Option<Fault> {
        if step != Step::PutDirect {
            assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
        }
        let fault = self.double.fault(step);
        match fault {
            Some(Fault::Cut) => cut(),
            Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        fault
    }

    async fn put(&self, step: Step, place: &Place, headers: &HeaderMap, body: &[u8]) -> Response {
        assert_eq!(headers["content-md5"], place.md5, "headers are sent as they are");
        self.double.enter();
        let fault = self.begin(step, headers).await;
        // Long enough for another part to come at the same time.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.double.leave();
        if matches!(fault, Some(Fault::Forgotten)) {
            self.double.forget_uploads();
        }
        let damaged = matches!(fault, Some(Fault::Damaged));
        let done = fault.as_ref().is_none_or(happens).then(|| self.double.put(step, place, body, damaged));
        match (fault, done) {
            (Some(Fault::NoEtag), _) => StatusCode::OK.into_response(),
            (_, Some(None)) => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchUpload</Code></Error>").into_response(),
            (fault, done) => answer(fault, done.flatten().map(|etag| [(ETAG, etag)])),
        }
    }
}

impl Double {
    fn enter(&self) {
        let mut state = self.state();
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
    }

    fn leave(&self) {
        self.state().under_way -= 1;
    }
}

fn happens(fault: &Fault) -> bool {
    !matches!(fault, Fault::Cut | Fault::Status(_) | Fault::Busy(_) | Fault::Later(_))
}

fn answer(fault: Option<Fault>, reply: Option<impl IntoResponse>) -> Response {
    match (fault, reply) {
        (Some(Fault::CutAfter), _) => cut(),
        (Some(Fault::Status(status)), _) => {
            (StatusCode::from_u16(status).unwrap(), "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
                .into_response()
        }
        (Some(Fault::Busy(after)), _) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", after.as_secs().to_string())]).into_response()
        }
        (_, Some(reply)) => reply.into_response(),
        (fault, None) => panic!("{fault:?} has no answer here"),
    }
}

/// Ends the task of the connection, and so the connection, without a word.
fn cut() -> ! {
    std::panic::resume_unwind(Box::new(()))
}
