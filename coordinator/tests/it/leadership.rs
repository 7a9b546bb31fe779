//! Who leads, against an API server that has one Lease; and what a follower passes on to the leader.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use jobmeter_coordinator::api::follower::Follower;
use jobmeter_coordinator::config::leadership::LeadershipConfig;
use jobmeter_coordinator::execute::lease::LeaseObject;
use jobmeter_coordinator::leadership::{self, Authority, Candidate, Leader, Leadership, LeadershipMetrics, Standing};
use jobmeter_coordinator::start::replica::{self, Replica};
use jobmeter_coordinator::start::{Base, prepare};
use jobmeter_coordinator::store::{Address, Place};
use jobmeter_coordinator::{CoordinatorConfig, PodSource};
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_daemon::exit::Code;
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::example;
use jobmeter_decide::leadership::Timing;
use jobmeter_protocol::Quality;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::harness::{api, apply, eventually, pod, uid};
use crate::postgres::Server;

const GRACE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Answers,
    Silent,
    Forbids,
}

/// One Lease, and nothing in any list.
#[derive(Clone)]
struct LeaseApi(Arc<Mutex<(Mood, u64, Option<Value>)>>);

impl LeaseApi {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Mood::Answers, 0, None))))
    }

    fn set(&self, mood: Mood) {
        self.0.lock().unwrap().0 = mood;
    }

    fn spec(&self) -> Value {
        self.0.lock().unwrap().2.as_ref().unwrap()["spec"].clone()
    }

    fn client(&self) -> kube::Client {
        drop(rustls::crypto::ring::default_provider().install_default());
        kube::Client::new(Router::new().fallback(lease).with_state(self.clone()), "jobmeter")
    }

    fn write(&self, mut lease: Value) -> Response {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        lease["metadata"]["resourceVersion"] = json!(state.1.to_string());
        state.2 = Some(lease.clone());
        Json(lease).into_response()
    }
}

async fn lease(State(api): State<LeaseApi>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !parts.uri.path().contains("/leases") {
        let watches = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        if watches {
            std::future::pending::<()>().await;
        }
        return Json(json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}))
            .into_response();
    }
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let (mood, _, now) = api.0.lock().unwrap().clone();
    match mood {
        Mood::Silent => return std::future::pending().await,
        Mood::Forbids => return status(403, "Forbidden"),
        Mood::Answers => {}
    }
    match (parts.method, now) {
        (Method::GET, Some(lease)) => Json(lease).into_response(),
        (Method::POST, None) => api.write(serde_json::from_slice(&body).unwrap()),
        (Method::POST, Some(_)) => status(409, "AlreadyExists"),
        (Method::PUT, Some(now)) => {
            let lease: Value = serde_json::from_slice(&body).unwrap();
            let same = lease["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"];
            if same { api.write(lease) } else { status(409, "Conflict") }
        }
        _ => status(404, "NotFound"),
    }
}

fn status(code: u16, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code});
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

fn stand(api: &LeaseApi, name: &str, supervisor: &mut Supervisor) -> Leadership {
    let address = Some(format!("http://{name}:8080"));
    let lease = LeaseObject::new(api.client(), "jobmeter", "jobmeter-coordinator", format!("{name}_1"), address);
    let metrics = LeadershipMetrics::register(&prometheus::Registry::new()).unwrap();
    let sources = SourceBoard::default();
    let (timing, predecessors, stands) = (Timing::default(), None, true);
    leadership::start(Candidate { lease, timing, floor: 0, predecessors, stands, metrics, sources }, supervisor)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_gets_no_answer_may_not_write_from_its_deadline_on_and_the_process_ends() {
    let api = LeaseApi::new();
    let mut supervisor = Supervisor::without_signals(GRACE);
    let leadership = stand(&api, "a", &mut supervisor);
    let authority = leadership.authority().await;
    assert_eq!((authority.holds(), authority.epoch()), (true, 1));
    // Renewed, for longer than a Lease lasts.
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(authority.holds());
    api.set(Mood::Silent);
    let begun = Instant::now();
    assert_eq!(supervisor.run().await, Code::TaskDied);
    assert!(!authority.holds());
    assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(leadership.standing().borrow().to_string().contains("it could not be renewed within 10 s"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_within_a_period_and_one_that_is_not_when_it_is_over() {
    let api = LeaseApi::new();
    let (mut first, mut second) = (Supervisor::without_signals(GRACE), Supervisor::without_signals(GRACE));
    let a = stand(&api, "a", &mut first);
    a.authority().await;
    let b = stand(&api, "b", &mut second);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let leader = Leader { holder: "a_1".to_owned(), address: Some("http://a:8080".to_owned()) };
    assert_eq!(b.standing().borrow().leader(), Some(&leader));
    first.token().cancel();
    assert_eq!(first.run().await, Code::Done);
    let given_back = Instant::now();
    a.release(0).await;
    let authority = b.authority().await;
    assert!(given_back.elapsed() < Duration::from_millis(2_500), "{:?}", given_back.elapsed());
    assert_eq!((authority.epoch(), api.spec()["leaseTransitions"].as_u64()), (2, Some(2)));

    // Killed: it gives nothing back.
    let mut third = Supervisor::without_signals(GRACE);
    let c = stand(&api, "c", &mut third);
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(second);
    let killed = Instant::now();
    assert_eq!(c.authority().await.epoch(), 3);
    let took = killed.elapsed();
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(18), "{took:?}");
    assert!(!authority.holds());
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_leases_it_says_what_to_grant_and_goes_on_when_it_was_granted() {
    let api = LeaseApi::new();
    api.set(Mood::Forbids);
    let mut supervisor = Supervisor::without_signals(GRACE);
    let leadership = stand(&api, "a", &mut supervisor);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let said = leadership.standing().borrow().to_string();
    for part in ["may not read the Lease jobmeter-coordinator", "namespace jobmeter", "get, create and update of leases"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    api.set(Mood::Answers);
    assert!(leadership.authority().await.holds());
}

/// A whole replica with a file of its own.
async fn replica(api: &LeaseApi) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<Code>, tempfile::TempDir) {
    replica_on(api, None).await
}

async fn replica_on(
    api: &LeaseApi,
    store: Option<Place>,
) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<Code>, tempfile::TempDir) {
    let files = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seconds = Duration::from_secs;
    let timing = Timing { lease_duration: seconds(3), renew_deadline: seconds(2), retry_period: Duration::from_millis(200) };
    let leadership = LeadershipConfig {
        lease: "jobmeter-coordinator".to_owned(),
        namespace: None,
        pod_uid: None,
        pod: Some(format!("pod-{}", address.port())),
        address: Some(format!("http://{address}")),
        timing,
    };
    let config = CoordinatorConfig { store, ..CoordinatorConfig::standalone(&files.path().join("data")) };
    let supervisor = Supervisor::without_signals(Duration::from_secs(5));
    let token = supervisor.token();
    let replica = Replica { config, leadership, client: api.client(), base: Base::default(), listener };
    let run = tokio::spawn(async move { replica::run(replica, supervisor).await.unwrap() });
    (address, token, run, files)
}

#[tokio::test]
async fn with_a_file_the_second_replica_waits_for_the_lease_before_it_opens_it_and_asks_the_first_meanwhile() {
    let api = LeaseApi::new();
    let http = reqwest::Client::new();
    let get = async |at: SocketAddr, path: &str| {
        let answer = http.get(format!("http://{at}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (first, stop_first, first_run, _first_files) = replica(&api).await;
    eventually("the first one leads", async || (get(first, "/readyz").await.0 == 200).then_some(())).await;
    let (second, stop_second, second_run, second_files) = replica(&api).await;
    let waits = format!("waiting for the Lease held by pod-{}_", first.port());
    eventually("the second one follows", async || get(second, "/readyz").await.1.contains(&waits).then_some(())).await;
    assert_eq!(get(second, "/readyz").await.0, 503);
    assert_eq!(get(second, "/livez").await.0, 200);
    assert!(get(second, "/metrics").await.1.contains("jobmeter_leader 0"));
    assert!(get(second, "/status").await.1.contains("leadership"));
    assert_eq!(get(second, "/v1/records").await, get(first, "/v1/records").await);
    assert!(!second_files.path().join("data/jobmeter.db").exists());

    stop_first.cancel();
    assert_eq!(first_run.await.unwrap(), Code::Done);
    eventually("the second one leads", async || (get(second, "/readyz").await.0 == 200).then_some(())).await;
    assert!(second_files.path().join("data/jobmeter.db").exists());
    assert!(get(second, "/metrics").await.1.contains("jobmeter_leader 1"));
    stop_second.cancel();
    assert_eq!(second_run.await.unwrap(), Code::Done);
    assert_eq!(api.spec()["holderIdentity"], "");
}

#[tokio::test]
async fn a_replica_whose_database_is_away_waits_for_it_and_leaves_the_lease_to_others() {
    let started = || Server::start().map(|server| (server.database(), server)).inspect(|(_, server)| server.stop());
    let Some((url, server)) = tokio::task::spawn_blocking(started).await.unwrap() else { return };
    let api = LeaseApi::new();
    let (at, stop, run, _files) = replica_on(&api, Some(Place::Postgres(Address::url(&url).unwrap()))).await;
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{at}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    eventually("it says why", async || get("/readyz").await.1.contains("waiting for the database: failed").then_some(())).await;
    let (status, told) = get("/v1/records").await;
    assert!(status == 503 && told.contains("no coordinator leads now"), "{status} {told}");
    assert!(!run.is_finished() && api.0.lock().unwrap().2.is_none());
    let run_again = move || {
        server.run();
        server
    };
    let server = tokio::task::spawn_blocking(run_again).await.unwrap();
    eventually("it leads", async || get("/metrics").await.1.contains("jobmeter_leader 1").then_some(())).await;
    eventually("it is ready", async || (get("/readyz").await.0 == 200).then_some(())).await;
    stop.cancel();
    assert_eq!(run.await.unwrap(), Code::Done);
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test]
async fn a_follower_that_begins_to_lead_waits_for_the_agents_as_one_that_has_just_started() {
    let files = tempfile::tempdir().unwrap();
    let mut config = CoordinatorConfig::standalone(&files.path().join("data"));
    config.deadlines.agent_silent = Duration::from_secs(3);
    let mut supervisor = Supervisor::without_signals(GRACE);
    let prepared = prepare(config, Base::default()).unwrap();
    let store = prepared.opening().leading(0).unwrap();
    apply(&store, vec![api(pod(1, "sort"), &[example::owner("batch/v1", "Job", "sort")])]).await;
    let replica = prepared.open(store, None, None, &mut supervisor).unwrap();
    // It follows, and no agent says anything to it.
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    let (_pods, events) = mpsc::channel(1);
    let handle = replica.lead(Authority::alone(), PodSource::Local(events), &mut supervisor).unwrap();
    let quality = async || handle.record(&uid(1)).await.unwrap().unwrap().quality;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(quality().await, Quality::Provisional, "no agent had the time to bring its evidence");
    eventually("it to be closed", async || matches!(quality().await, Quality::Partial { .. }).then_some(())).await;
    supervisor.token().cancel();
    supervisor.run().await;
}

async fn echo(headers: HeaderMap, method: Method, request: Request) -> Response {
    let seen = |name: &str| headers.get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned());
    let seen = ["authorization", "x-jobmeter-authorization", "x-hop", "content-length", "x-jobmeter-passed-on-by"].map(seen);
    let path = request.uri().path_and_query().unwrap().to_string();
    let told = format!("{method} {path} {}", seen.join("|"));
    (StatusCode::ACCEPTED, [("x-told", told), ("keep-alive", "timeout=1".to_owned())], request.into_body()).into_response()
}

async fn listen(router: Router, token: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, router, ServeOptions::default(), token.clone()));
    address
}

#[tokio::test]
async fn a_follower_passes_everything_on_as_it_comes_and_says_so_when_nobody_leads() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (leaders, token) = (CancellationToken::new(), CancellationToken::new());
    let leader = listen(Router::new().fallback(echo), &leaders).await;
    let following = |leader: Option<SocketAddr>| Standing::Following {
        leader: leader.map(|at| Leader { holder: "a_1".to_owned(), address: Some(format!("http://{at}")) }),
        trouble: None,
    };
    let (standing, view) = watch::channel(following(Some(leader)));
    let follower = listen(Follower::new(view, "b_1", token.clone()).unwrap().router(), &token).await;
    let (http, url) = (reqwest::Client::new(), format!("http://{follower}/v1/logs/data/u/main/0?kind=log&part=1"));

    let body: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    let request = http.put(&url).bearer_auth("one").header("x-jobmeter-authorization", "Bearer two");
    let request = request.header("connection", "x-hop").header("x-hop", "1");
    let answer = request.body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["x-told"], "PUT /v1/logs/data/u/main/0?kind=log&part=1 Bearer one|Bearer two||8000000|b_1");
    assert!(!answer.headers().contains_key("keep-alive"));
    assert_eq!(answer.bytes().await.unwrap(), body);

    // What a pod of a run posts, by whichever replica its URL led it to.
    let report = format!("http://{follower}/report/node-a/202611211930/token/file?name=a%20b.txt");
    let answer = http.post(report).body("0123").send().await.unwrap();
    assert_eq!(answer.headers()["x-told"], "POST /report/node-a/202611211930/token/file?name=a%20b.txt |||4|b_1");
    assert_eq!(answer.text().await.unwrap(), "0123");

    // Nothing but the API of the leader is reached, whatever the path says.
    for path in ["/metrics", "/v1/../metrics", "/v1/%2e%2E/status", "/report/../metrics", "/reports/%2E%2e/status"] {
        let mut plain = TcpStream::connect(follower).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        plain.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("x-told"), "{path}: {answer}");
    }

    // Piece by piece: the answer's first bytes are here before the request's last ones were sent.
    let (mut pieces, body) = futures::channel::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    pieces.try_send(Ok("one")).unwrap();
    let mut answer = http.post(&url).body(reqwest::Body::wrap_stream(body)).send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "one");
    pieces.try_send(Ok("two")).unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "two");
    // Another leads: what hangs is cut off, and does not look whole.
    standing.send_replace(following(None));
    assert!(answer.chunk().await.is_err());

    let refused = async |request: reqwest::RequestBuilder, why: &str| {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let error: Value = answer.json().await.unwrap();
        assert!(error["error"].as_str().unwrap().contains(why), "{error}");
    };
    refused(http.get(&url), "no coordinator leads now").await;
    standing.send_replace(following(Some(leader)));
    refused(http.get(&url).header("x-jobmeter-passed-on-by", "c_1"), "does not lead any more").await;
    leaders.cancel();
    eventually("the leader is away", async || TcpStream::connect(leader).await.err()).await;
    refused(http.post(&url).body("x"), "the coordinator that leads did not answer").await;
    token.cancel();
}
