//! Runs over HTTP: what is read of them, who may ask for what, and what is told where it is not done.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobmeter_coordinator::api::error::ErrorBody;
use jobmeter_coordinator::auth::Operators;
use jobmeter_coordinator::runs::{Request, RunsDesk, RunsSnapshot};
use jobmeter_coordinator::start::{Base, prepare};
use jobmeter_coordinator::store::Store;
use jobmeter_coordinator::{CoordinatorConfig, CoordinatorHandle};
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::runs::{Command, Refusal};
use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, NodeRunState, Run, RunDetail, RunState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::fake_api::{FakeApi, JOBS, PODS};
use crate::harness::{Running, eventually, readers};
use crate::runs_store::{begun, node, of_node, of_result, result, run};

const OPERATOR: &str = "the-operators-token";
const READER: &str = "the-readers-token";
const RUN: &str = "202611211930";

/// A coordinator whose runs the test keeps.
struct Rig {
    handle: CoordinatorHandle,
    store: Store,
    address: SocketAddr,
    http: reqwest::Client,
    supervisor: Supervisor,
    files: TempDir,
}

impl Rig {
    async fn start(change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let files = tempfile::tempdir().unwrap();
        for (name, token) in [("operator", OPERATOR), ("reader", READER)] {
            std::fs::write(files.path().join(name), token).unwrap();
        }
        let mut config = CoordinatorConfig::standalone(&files.path().join("data"));
        config.operators = Operators::token(files.path().join("operator"));
        config.readers = readers(&files.path().join("reader"));
        change(&mut config);
        let mut supervisor = Supervisor::without_signals(Duration::from_secs(5));
        let prepared = prepare(config, Base::default()).unwrap();
        let store = prepared.opening().leading(0).unwrap();
        let opened = prepared.open(store.clone(), None, None, &mut supervisor).unwrap();
        let handle = opened.handle().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        supervisor.spawn("http", serve(listener, handle.router(), ServeOptions::default(), supervisor.token()));
        Self { handle, store, address, http: reqwest::Client::new(), supervisor, files }
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.http.request(method, format!("http://{}{path}", self.address)).body(body);
        let request =
            if token.is_empty() { request } else { request.header("X-Jobmeter-Authorization", format!("Bearer {token}")) };
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.ask(Method::GET, path, READER, "").await
    }

    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        self.ask(Method::POST, path, OPERATOR, body).await
    }

    async fn stop(self) {
        self.supervisor.token().cancel();
        self.supervisor.run().await;
        drop(self.files);
    }
}

async fn told(response: reqwest::Response) -> (u16, ErrorBody) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// Answers what is asked, by the script.
fn keep(mut desk: RunsDesk, answer: impl Fn(&Command) -> Result<Run, Refusal> + Send + 'static) -> tokio::task::JoinHandle<()> {
    desk.publish(RunsSnapshot { definitions: vec![definition("checks")], ..RunsSnapshot::default() });
    tokio::spawn(async move {
        while let Some(request) = desk.request().await {
            let Request::Command { what, answer: to } = request else { panic!("{request:?}") };
            to.send(answer(&what)).unwrap();
        }
    })
}

fn definition(name: &str) -> DefinitionStatus {
    let status = json!({
        "name": name, "source": "checks.yaml", "namespace": "checks", "pool": format!("run.{name}"), "schedule": "42 3 * * *",
        "suspended": false
    });
    serde_json::from_value(status).unwrap()
}

#[tokio::test]
async fn runs_are_read_from_the_store_before_anybody_keeps_them() {
    let rig = Rig::start(|_| {}).await;
    let changes = vec![
        begun(RUN, "checks"),
        begun("20261121193001", "burn-in"),
        of_node(RUN, node("node-b", NodeRunState::Failed)),
        of_node(RUN, node("node-a", NodeRunState::Succeeded)),
        of_result(RUN, result("node-a", 0.5)),
    ];
    rig.store.apply_runs(changes).await.unwrap();
    let page: Page<Run> = rig.get("/v1/runs?limit=1").await.json().await.unwrap();
    assert_eq!((page.items[0].definition.as_str(), page.next.as_deref()), ("burn-in", Some("20261121193001")));
    let page: Page<Run> = rig.get("/v1/runs?limit=1&after=20261121193001&state=running").await.json().await.unwrap();
    assert_eq!((page.items[0].id.as_str(), page.next), (RUN, None));
    let page: Page<Run> = rig.get("/v1/runs?definition=nobody").await.json().await.unwrap();
    assert_eq!(page.items, []);
    let detail: RunDetail = rig.get(&format!("/v1/runs/{RUN}")).await.json().await.unwrap();
    assert_eq!(detail.nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["node-a", "node-b"]);
    let results: Vec<NodeResult> = rig.get(&format!("/v1/runs/{RUN}/results")).await.json().await.unwrap();
    assert_eq!(results, [*result("node-a", 0.5)]);

    for (path, code, subject, word) in [
        ("/v1/runs?limit=0", 400, "limit", "between 1 and 1000"),
        ("/v1/runs?after=latest", 400, "after", "is not the ID of a run"),
        ("/v1/runs?state=done", 400, "query", "unknown variant `done`"),
        ("/v1/runs?nmae=x", 400, "query", "unknown field `nmae`"),
        ("/v1/runs/202611211931", 404, "202611211931", "no run of this ID"),
        ("/v1/runs/202611211931/results", 404, "202611211931", "no run of this ID"),
        ("/v1/runs/latest", 404, "latest", "no run of this ID"),
        ("/v1/runs/%00", 404, "\0", "no run of this ID"),
    ] {
        let (found, error) = told(rig.get(path).await).await;
        assert_eq!((found, error.subject.as_deref()), (code, Some(subject)), "{path}: {error:?}");
        assert!(error.error.contains(word), "{path}: {error:?}");
    }
    // What only its keeper knows is not made up, and nobody waits for it.
    for response in [
        rig.get("/v1/run-definitions").await,
        rig.post("/v1/runs", r#"{"definition": "checks"}"#).await,
        rig.post(&format!("/v1/runs/{RUN}/cancel"), "").await,
    ] {
        assert!(response.headers().contains_key("retry-after"));
        let (status, error) = told(response).await;
        assert_eq!((status, error.error.as_str()), (503, "the runs are not known here yet"));
        assert!(error.hint.unwrap().contains("/status"));
    }
    rig.stop().await;
}

#[tokio::test]
async fn reads_may_be_open_and_writes_never_are() {
    const WRITES: [&str; 3] = ["/v1/runs", "/v1/runs/202611211930/cancel", "/v1/runs/202611211930/retry"];
    let rig = Rig::start(|_| {}).await;
    for path in ["/v1/runs", "/v1/runs/202611211930", "/v1/runs/202611211930/results", "/v1/run-definitions"] {
        assert_eq!(rig.ask(Method::GET, path, "", "").await.status(), 401, "{path}");
    }
    for path in WRITES {
        for (token, code) in [("", 401), ("guess", 401), (READER, 401), (OPERATOR, 503)] {
            let sent = if path == "/v1/runs" { r#"{"definition": "checks"}"# } else { "" };
            let response = rig.ask(Method::POST, path, token, sent).await;
            assert_eq!(response.status(), code, "{path} with {token:?}");
            let text = response.text().await.unwrap();
            assert!(token.is_empty() || !text.contains(token), "{text}");
        }
        assert_eq!(rig.ask(Method::PUT, path, OPERATOR, "").await.status(), 405);
    }
    std::fs::write(rig.files.path().join("operator"), "another-one\n").unwrap();
    assert_eq!(rig.post("/v1/runs", "{}").await.status(), 401, "a token that was replaced is good no more");
    rig.stop().await;

    let rig = Rig::start(|config| config.operators = Operators::Nobody).await;
    for path in WRITES {
        for token in ["", OPERATOR] {
            let (status, error) = told(rig.ask(Method::POST, path, token, "").await).await;
            assert_eq!(status, 403);
            assert!(error.hint.unwrap().contains("auth.operatorTokenFile"), "{path}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_is_asked_for_is_handed_to_the_keeper_and_answered_with_the_run() {
    let rig = Rig::start(|_| {}).await;
    let keeper = keep(rig.handle.take_runs_desk().unwrap(), |command| match command {
        Command::Start(start) if start.nodes == ["node-a"] => Ok(run(RUN, &start.definition, RunState::Running)),
        Command::Cancel { run: id } if id == RUN => Ok(Run { stopping: true, ..run(id, "checks", RunState::Running) }),
        Command::Retry { run: id } if id == RUN => Ok(run("202611211945", "checks", RunState::Running)),
        other => panic!("{other:?}"),
    });
    let definitions: Vec<DefinitionStatus> = rig.get("/v1/run-definitions").await.json().await.unwrap();
    assert_eq!(definitions, [definition("checks")]);

    let response = rig.post("/v1/runs", r#"{"definition": "checks", "nodes": ["node-a"]}"#).await;
    assert_eq!((response.status().as_u16(), &response.headers()["location"]), (201, &"/v1/runs/202611211930".parse().unwrap()));
    assert_eq!(response.json::<Run>().await.unwrap().id, RUN);
    let response = rig.post(&format!("/v1/runs/{RUN}/cancel"), "").await;
    assert_eq!(response.status(), 202);
    assert!(response.json::<Run>().await.unwrap().stopping);
    let response = rig.post(&format!("/v1/runs/{RUN}/retry"), "{}\n").await;
    assert_eq!((response.status().as_u16(), &response.headers()["location"]), (201, &"/v1/runs/202611211945".parse().unwrap()));

    for (path, body, code, word) in [
        ("/v1/runs", json!({"definition": "checks", "node": ["a"]}).to_string(), 400, "unknown field `node`"),
        ("/v1/runs", "definition: checks".to_owned(), 400, "not what starts a run"),
        ("/v1/runs", String::new(), 400, "not what starts a run"),
        ("/v1/runs", " ".repeat((64 << 10) + 1), 413, "larger than 65536 bytes"),
        ("/v1/runs/202611211930/cancel", r#"{"why": "x"}"#.to_owned(), 400, "has no body"),
        ("/v1/runs/202611211930/retry", "x".repeat((64 << 10) + 1), 413, "larger than 65536 bytes"),
        ("/v1/runs/latest/cancel", String::new(), 404, "no run of this ID"),
    ] {
        let (status, error) = told(rig.post(path, body).await).await;
        assert_eq!(status, code, "{path}: {error:?}");
        assert!(error.error.contains(word), "{path}: {error:?}");
    }
    rig.stop().await;
    keeper.abort();
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let id = || RUN.to_owned();
    let checks = || "checks".to_owned();
    let cases: Vec<(Refusal, u16, &str, Value)> = vec![
        (Refusal::NotReady, 503, "not known here yet", Value::Null),
        (
            Refusal::NoSuchDefinition { name: "chekcs".into(), known: "checks, burn-in".into() },
            404,
            "there is no definition of this name",
            json!("chekcs"),
        ),
        (Refusal::NoSuchRun { run: id() }, 404, "there is no run of this ID", json!(RUN)),
        (Refusal::Over { run: id(), state: "failed" }, 409, "is over: failed", json!(RUN)),
        (Refusal::NotOver { run: id() }, 409, "still runs", json!(RUN)),
        (Refusal::NothingToRetry { run: id() }, 409, "no node of run", json!(RUN)),
        (Refusal::Overlaps { definition: checks(), run: id() }, 409, "overlap policy", json!(RUN)),
        (Refusal::NoNodes { definition: checks(), why: "none matches".into() }, 409, "none matches", json!("checks")),
        (
            Refusal::NotItsNode { definition: checks(), node: "node-x".into(), why: "no such node".into() },
            400,
            "there is no node node-x",
            json!("node-x"),
        ),
    ];
    let rig = Rig::start(|_| {}).await;
    let script = std::sync::Mutex::new(cases.iter().map(|(refusal, ..)| refusal.clone()).collect::<Vec<_>>().into_iter());
    let keeper = keep(rig.handle.take_runs_desk().unwrap(), move |_| Err(script.lock().unwrap().next().unwrap()));
    for (refusal, code, word, subject) in cases {
        let (status, error) = told(rig.post("/v1/runs", r#"{"definition": "checks"}"#).await).await;
        assert_eq!(status, code, "{refusal:?}: {error:?}");
        assert!(error.error.contains(word), "{error:?}");
        assert_eq!(json!(error.subject), subject);
        if let Refusal::NoSuchDefinition { .. } = refusal {
            assert_eq!(error.hint.as_deref(), Some("there are: checks, burn-in"));
        }
    }
    rig.stop().await;
    keeper.abort();
}

#[tokio::test]
async fn in_a_cluster_whoever_may_read_the_secret_is_an_operator() {
    let api = FakeApi::new();
    api.set_list(PODS, vec![]);
    api.set_list(JOBS, vec![]);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "jobmeter-operator", "namespace": "jobmeter", "resourceVersion": "1"},
        "data": {"token": STANDARD.encode(OPERATOR)}
    });
    api.answer("/api/v1/namespaces/jobmeter/secrets/jobmeter-operator", 200, secret);
    let files = tempfile::tempdir().unwrap();
    let coordinator = Running::kube_with(api.client(), files.path(), |config| {
        config.operators = Operators::Cluster { namespace: Some("jobmeter".to_owned()) };
    })
    .await;
    eventually("the Secret is read", async || {
        let status = coordinator.get("/status").await.text().await.unwrap();
        status.contains("in the Secret jobmeter/jobmeter-operator").then_some(())
    })
    .await;
    for (token, code) in [(OPERATOR, 404), ("guess", 401)] {
        let response = coordinator.post("/v1/runs", token, r#"{"definition": "checks"}"#).await;
        assert_eq!(response.status(), code, "{}", response.text().await.unwrap());
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn on_one_machine_there_are_no_runs_and_that_is_known() {
    let coordinator = Running::local_with(|config, files| {
        std::fs::write(files.join("operator"), OPERATOR).unwrap();
        config.operators = Operators::token(files.join("operator"));
    })
    .await;
    coordinator.ready().await;
    assert_eq!(coordinator.get("/v1/runs").await.json::<Page<Run>>().await.unwrap().items, []);
    assert_eq!(coordinator.get("/v1/run-definitions").await.text().await.unwrap(), "[]");
    let (status, error) = told(coordinator.post("/v1/runs", OPERATOR, r#"{"definition": "checks"}"#).await).await;
    assert_eq!((status, error.subject.as_deref()), (404, Some("checks")), "{error:?}");
    let (status, _) = told(coordinator.post(&format!("/v1/runs/{RUN}/cancel"), OPERATOR, "").await).await;
    assert_eq!(status, 404);
    coordinator.stop().await;
}
