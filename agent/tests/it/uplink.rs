//! The HTTP uplink against a server that follows a script.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as Segment, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use jobmeter_agent::{
    PodEvent, Remedy, Uplink, UplinkError,
    uplink::{HttpUplink, HttpUplinkOptions},
};
use jobmeter_decide::example;
use jobmeter_protocol::{
    ApiPod, ContainerExit, ContainerKind, ExitStatus, Heartbeat, HeartbeatReply, ReportBatch, ReportReply, Verdict,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::agent::{Agent, config};

/// One answer to `POST /v1/reports`; without one left every report is accepted.
enum Answer {
    Status(StatusCode),
    Later(u64),
    Garbage,
    Verdicts(Vec<Verdict>),
}

#[derive(Default)]
struct Server {
    script: Mutex<VecDeque<Answer>>,
    batches: Mutex<Vec<ReportBatch>>,
    tokens: Mutex<Vec<String>>,
    nodes: Mutex<Vec<String>>,
}

async fn reports(State(server): State<Arc<Server>>, headers: HeaderMap, Json(batch): Json<ReportBatch>) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    server.tokens.lock().unwrap().push(token.to_owned());
    let accepted = batch.reports.iter().map(|_| Verdict::Accepted).collect();
    server.batches.lock().unwrap().push(batch);
    let answer = server.script.lock().unwrap().pop_front();
    match answer.unwrap_or(Answer::Verdicts(accepted)) {
        Answer::Status(status) => (status, "no reason").into_response(),
        Answer::Later(seconds) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())]).into_response(),
        Answer::Garbage => "{\"verdicts\": 7}".into_response(),
        Answer::Verdicts(verdicts) => Json(ReportReply { verdicts }).into_response(),
    }
}

async fn heartbeat(State(server): State<Arc<Server>>, Segment(node): Segment<String>, Json(_): Json<Heartbeat>) -> Response {
    server.nodes.lock().unwrap().push(node);
    Json(HeartbeatReply::default()).into_response()
}

async fn serve(script: impl IntoIterator<Item = Answer>) -> (Arc<Server>, SocketAddr) {
    let server = Arc::new(Server { script: Mutex::new(script.into_iter().collect()), ..Server::default() });
    let router = Router::new()
        .route("/v1/reports", post(reports))
        .route("/v1/nodes/{node}/heartbeat", post(heartbeat))
        .with_state(Arc::clone(&server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (server, address)
}

fn uplink(address: SocketAddr, token_file: Option<&Path>) -> HttpUplink {
    let options = HttpUplinkOptions {
        url: format!("http://{address}"),
        token_file: token_file.map(Path::to_owned),
        ca_file: None,
        timeout: Duration::from_secs(5),
    };
    HttpUplink::new(options).unwrap()
}

fn batch() -> ReportBatch {
    ReportBatch { version: 1, node: "node-a".into(), reports: vec![example::evidence()] }
}

#[tokio::test]
async fn each_status_means_what_http_says() {
    let (_server, address) = serve([
        Answer::Status(StatusCode::UNAUTHORIZED),
        Answer::Status(StatusCode::PAYLOAD_TOO_LARGE),
        Answer::Status(StatusCode::BAD_REQUEST),
        Answer::Status(StatusCode::SERVICE_UNAVAILABLE),
        Answer::Later(7),
        Answer::Garbage,
    ])
    .await;
    let uplink = uplink(address, None);
    let mut remedies = Vec::new();
    for _ in 0..6 {
        remedies.push(uplink.report(batch()).await.unwrap_err().remedy());
    }
    let later = Remedy::Later(None);
    let seven = Remedy::Later(Some(Duration::from_secs(7)));
    assert_eq!(remedies, [later, Remedy::Smaller, later, later, seven, later]);
    assert_eq!(uplink.report(batch()).await.unwrap().verdicts, [Verdict::Accepted]);
}

#[tokio::test]
async fn a_rotated_token_is_used_at_once_and_a_missing_one_is_an_error_of_its_own() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("token");
    let (server, address) = serve([]).await;
    let uplink = uplink(address, Some(&file));
    assert!(matches!(uplink.report(batch()).await, Err(UplinkError::Token(_))));
    for token in ["first\n", "second-and-longer\n"] {
        fs::write(&file, token).unwrap();
        uplink.report(batch()).await.unwrap();
    }
    assert_eq!(*server.tokens.lock().unwrap(), ["Bearer first", "Bearer second-and-longer"]);
}

#[tokio::test]
async fn nobody_at_the_address_is_told_with_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = uplink(address, None).report(batch()).await.unwrap_err();
    assert_eq!((error.cause(), error.to_string().as_str()), ("unreachable", "failed to reach the coordinator"));
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_heartbeat_names_its_node_in_the_path_whatever_its_name() {
    let (server, address) = serve([]).await;
    let agent = {
        let state = TempDir::new().unwrap();
        let mut config = config(state.path());
        config.node = "node a/b".into();
        Agent::start(config, Arc::new(uplink(address, None)))
    };
    let seen = async {
        while server.nodes.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
    assert_eq!(server.nodes.lock().unwrap()[0], "node a/b");
    agent.stop().await;
}

/// A pod that ran once, as an executor without cgroups tells it.
async fn run_pod(agent: &Agent, uid: &str) {
    let now = jiff::Timestamp::now();
    agent.say(PodEvent::Applied(ApiPod { uid: uid.into(), ..example::api_pod() })).await;
    agent
        .say(PodEvent::Exited(ContainerExit {
            pod_uid: uid.into(),
            container_id: "aa".into(),
            name: "main".into(),
            kind: ContainerKind::Main,
            attempt: 0,
            started: now,
            ended: now,
            exit: ExitStatus { code: Some(0), signal: None },
            user_ns: 1,
            system_ns: 1,
            max_rss_bytes: 1,
        }))
        .await;
    agent.handle.pod_final(uid).await.unwrap();
}

fn counted(agent: &Agent, name: &str, label: &str) -> f64 {
    let families = agent.handle.registry().gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let labelled = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|pair| pair.value() == label);
    family.get_metric().iter().find(labelled).map_or(0.0, |metric| metric.get_counter().get_value())
}

#[tokio::test]
async fn reports_are_sent_until_they_are_answered_and_not_once_more() {
    let rejected = Answer::Verdicts(vec![Verdict::Rejected { why: "it never existed".into() }]);
    let (server, address) = serve([
        Answer::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Answer::Status(StatusCode::UNAUTHORIZED),
        Answer::Garbage,
        Answer::Verdicts(Vec::new()),
        rejected,
    ])
    .await;
    let state = TempDir::new().unwrap();
    let agent = Agent::start(config(state.path()), Arc::new(uplink(address, None)));
    run_pod(&agent, "pod-1").await;
    let settled = async {
        while counted(&agent, "jobmeter_agent_pods_closed_total", "rejected") < 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("rejected in the end");
    assert_eq!(server.batches.lock().unwrap().len(), 5);
    for (cause, times) in [("busy", 1.0), ("unauthorized", 1.0), ("answer", 2.0)] {
        let failures = counted(&agent, "jobmeter_agent_uplink_failures_total", cause);
        assert!((failures - times).abs() < f64::EPSILON, "{cause}: {failures}");
    }
    run_pod(&agent, "pod-2").await;
    agent.stop().await;
    let batches = server.batches.lock().unwrap();
    let uids: Vec<_> = batches[5..].iter().flat_map(|batch| &batch.reports).map(|report| report.pod_uid.as_str()).collect();
    assert_eq!(uids, ["pod-2"], "the rejected one is not tried again");
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_destroys_no_evidence() {
    let refusals = [400, 405, 409, 415, 422].map(|status| Answer::Status(StatusCode::from_u16(status).unwrap()));
    let (server, address) = serve(refusals).await;
    let state = TempDir::new().unwrap();
    let agent = Agent::start(config(state.path()), Arc::new(uplink(address, None)));
    run_pod(&agent, "pod-1").await;
    let settled = async {
        while counted(&agent, "jobmeter_agent_pods_closed_total", "acknowledged") < 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), settled).await.expect("it is sent until it is taken");
    assert!(counted(&agent, "jobmeter_agent_reports_total", "rejected").abs() < f64::EPSILON);
    let failures = counted(&agent, "jobmeter_agent_uplink_failures_total", "refused");
    assert!((failures - 5.0).abs() < f64::EPSILON, "{failures}");
    assert_eq!(server.batches.lock().unwrap().len(), 6);
    agent.stop().await;
}

#[tokio::test]
async fn one_report_that_cannot_be_taken_does_not_hold_up_the_others() {
    // The first batch of two is too large, then the first half of it.
    let refuse = || Answer::Status(StatusCode::PAYLOAD_TOO_LARGE);
    let state = TempDir::new().unwrap();
    let (server, address) = serve([Answer::Status(StatusCode::SERVICE_UNAVAILABLE), refuse(), refuse()]).await;
    let agent = Agent::start(config(state.path()), Arc::new(uplink(address, None)));
    run_pod(&agent, "pod-1").await;
    run_pod(&agent, "pod-2").await;
    let settled = async {
        while counted(&agent, "jobmeter_agent_pods_closed_total", "acknowledged") < 1.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("the other one arrives");
    assert!((counted(&agent, "jobmeter_agent_reports_total", "rejected") - 1.0).abs() < f64::EPSILON);
    assert!(server.batches.lock().unwrap().len() >= 3);
    agent.stop().await;
}
