//! Over HTTP, with real files. The runs task is played by a double that does to its snapshot what the real one does.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use axum::body::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_protocol::runs::*;
use prometheus::Registry;
use reqwest::{Body, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::DropGuard;

use super::*;
use crate::auth::{Readers, Writers};
use crate::execute::run_pods::{EventError, PodEvent};
use crate::runs::view::{Posted, Request, RunsSnapshot};
use crate::runs::{ReportRefused, TokenKey};

pub(super) const RUN: &str = "202611211930";
const KEY: &[u8] = b"secret";

struct World {
    address: SocketAddr,
    http: reqwest::Client,
    callbacks: Callbacks,
    volume: TempDir,
    told: Arc<Mutex<Vec<(u32, Posted)>>>,
    snapshot: Arc<Mutex<RunsSnapshot>>,
    events: Arc<Written>,
    registry: Registry,
    _stop: DropGuard,
}

/// Those that were written; an answer waits as long as somebody has the other.
#[derive(Default)]
struct Written(Mutex<Vec<PodEvent>>, tokio::sync::Mutex<()>);

impl RunEvents for Written {
    fn post(&self, event: PodEvent) -> BoxFuture<'_, Result<(), EventError>> {
        Box::pin(async {
            if event.pod == "gone" {
                return Err(EventError::NoPod { namespace: event.namespace, pod: event.pod });
            }
            self.0.lock().unwrap().push(event);
            drop(self.1.lock().await);
            Ok(())
        })
    }
}

pub(super) fn settings(name: &str, directory: &Path) -> RunSettings {
    RunSettings {
        name: name.to_owned(),
        namespace: "bench".to_owned(),
        pool: format!("run.{name}"),
        own_pool_size: Some(2),
        placement: Placement::Scheduler,
        node_selector: BTreeMap::new(),
        unschedulable_nodes: false,
        pod_template: String::new(),
        service_account: String::new(),
        image_pull_secrets: vec![],
        retries: 0,
        retry_delay: jiff::SignedDuration::ZERO,
        start_deadline: None,
        node_deadline: None,
        run_deadline: None,
        canary: 0,
        max_failures: None,
        new_nodes: false,
        overlap: Overlap::Forbid,
        catch_up: None,
        history: 3,
        result_required: true,
        compatible: false,
        save_pod_log: false,
        report_directory: directory.display().to_string(),
        metrics: RunMetrics::default(),
        callback_service: None,
        callback_port: None,
    }
}

fn node(name: &str) -> NodeRun {
    NodeRun {
        node: name.to_owned(),
        state: NodeRunState::Running,
        why: None,
        attempt: 0,
        pod: format!("scan-job-{name}"),
        pod_uid: None,
        created: None,
        admitted: None,
        started: None,
        finished: None,
        exit_code: None,
        reason: None,
        reported: None,
        files: 0,
        file_bytes: 0,
        events: 0,
        retry_at: None,
    }
}

pub(super) fn stored(id: &str, settings: RunSettings, nodes: &[&str]) -> Arc<StoredRun> {
    let nodes: BTreeMap<String, NodeRun> = nodes.iter().map(|name| ((*name).to_owned(), node(name))).collect();
    let run = Run {
        id: id.to_owned(),
        definition: settings.name.clone(),
        namespace: settings.namespace.clone(),
        trigger: Trigger::Manual,
        state: RunState::Running,
        why: None,
        created: Timestamp::UNIX_EPOCH,
        finished: None,
        pool: settings.pool.clone(),
        stopping: false,
        nodes: RunCounts::of(nodes.values()),
    };
    Arc::new(StoredRun { run, settings: Arc::new(settings), nodes, results: BTreeMap::new() })
}

/// Nodes `a`, `a-b` and `node-1` in run [`RUN`].
async fn world(change: impl FnOnce(&mut CallbacksConfig, &mut RunSettings)) -> World {
    drop(rustls::crypto::ring::default_provider().install_default());
    let volume = tempfile::tempdir().unwrap();
    let (mut config, mut settings) = (CallbacksConfig::default(), settings("scan", &volume.path().join("reports")));
    change(&mut config, &mut settings);
    let (runs, mut desk) = RunsView::new();
    desk.set_key(TokenKey::new(KEY));
    let runs_now = BTreeMap::from([(RUN.to_owned(), stored(RUN, settings, &["a", "a-b", "node-1"]))]);
    let snapshot = Arc::new(Mutex::new(RunsSnapshot { definitions: vec![], runs: runs_now }));
    desk.publish(snapshot.lock().unwrap().clone());
    let told = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn({
        let (snapshot, told) = (snapshot.clone(), told.clone());
        async move {
            while let Some(request) = desk.request().await {
                let Request::Report { run, node, attempt, what, answer } = request else { panic!("{request:?}") };
                let stored = taken(&mut snapshot.lock().unwrap(), &run, &node, attempt, &what);
                desk.publish(snapshot.lock().unwrap().clone());
                told.lock().unwrap().push((attempt, what));
                answer.send(stored.ok_or(ReportRefused::Unknown { run, node })).unwrap();
            }
        }
    });
    let registry = Registry::new();
    let callbacks = Callbacks::patient(
        CallbacksParts {
            config: Some(config),
            runs,
            auth: Auth::new(&Writers::InProcess, Readers::Open, None).unwrap(),
            metrics: Metrics::register(&registry, 100).unwrap(),
        },
        Duration::from_millis(50),
    );
    let events = Arc::<Written>::default();
    callbacks.set_events(events.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = tokio_util::sync::CancellationToken::new();
    tokio::spawn(serve(listener, callbacks.router(), ServeOptions::default(), token.clone()));
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    World { address, http, callbacks, volume, told, snapshot, events, registry, _stop: token.drop_guard() }
}

fn taken(snapshot: &mut RunsSnapshot, run: &str, node: &str, attempt: u32, what: &Posted) -> Option<()> {
    let run = Arc::make_mut(snapshot.runs.get_mut(run)?);
    if let Posted::Result(result) = what
        && run.results.get(node).is_none_or(|known| known.attempt <= attempt)
    {
        run.results.insert(node.to_owned(), Arc::new((**result).clone()));
    }
    let node = run.nodes.get_mut(node)?;
    match what {
        Posted::Result(_) if attempt == node.attempt => node.reported = Some(Timestamp::now()),
        Posted::Result(_) => {}
        Posted::File { bytes } => (node.files, node.file_bytes) = (node.files + 1, node.file_bytes + bytes),
        Posted::Event => node.events += 1,
    }
    Some(())
}

impl World {
    fn post(&self, node: &str, attempt: u32, rest: &str) -> RequestBuilder {
        let token = TokenKey::new(KEY).token(RUN, node, attempt);
        self.http.post(format!("http://{}/report/{node}/{RUN}/{token}/{rest}", self.address))
    }

    async fn change(&self, change: impl FnOnce(&mut NodeRun)) {
        {
            let mut snapshot = self.snapshot.lock().unwrap();
            let run = Arc::make_mut(snapshot.runs.get_mut(RUN).unwrap());
            change(run.nodes.get_mut("node-1").unwrap());
        }
        // The desk publishes with the next report.
        self.callbacks.0.runs.report(RUN, "a", 0, Posted::Event).await.unwrap().unwrap();
    }

    fn directory(&self) -> PathBuf {
        self.volume.path().join("reports").join(RUN)
    }

    /// Everything below the volume, temporary files included.
    fn files(&self) -> Vec<String> {
        fn walk(root: &Path, path: &Path, into: &mut Vec<String>) {
            for entry in fs::read_dir(path).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, into);
                } else {
                    into.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut files = Vec::new();
        let root = self.volume.path();
        walk(root, root, &mut files);
        files.sort();
        files.iter().map(|file| file.trim_start_matches(&format!("reports/{RUN}/")).to_owned()).collect()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.directory().join(file)).unwrap()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("http://{}{path}", self.address)).send().await.unwrap()
    }
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

async fn text(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn error(request: RequestBuilder) -> (u16, String) {
    let (status, text) = text(request).await;
    (status, serde_json::from_str::<Value>(&text).unwrap()["error"].as_str().unwrap().to_owned())
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const RESULT: &str = r#"{ "free":[{"value":1.5,"labels":{"disk":"sda"}}] }"#;

#[tokio::test]
async fn a_result_is_kept_as_it_came_and_told_and_a_repeat_overwrites_it() {
    let world = world(|_, _| {}).await;
    let response = world.post("node-1", 0, "result").body(RESULT).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap(), "");
    assert_eq!(world.read("node-1.json"), RESULT.as_bytes());
    assert_eq!(status(world.post("node-1", 0, "result").body(r#"{"free":[{"value":2}]}"#)).await, 200);
    assert_eq!(world.read("node-1.json"), br#"{"free":[{"value":2}]}"#);
    assert_eq!(world.files(), ["node-1.json"]);
    let told = world.told.lock().unwrap().clone();
    let [(0, Posted::Result(first)), (0, Posted::Result(second))] = &told[..] else { panic!("{told:?}") };
    assert_eq!((first.node.as_str(), first.attempt, first.gauges["free"][0].labels["disk"].as_str()), ("node-1", 0, "sda"));
    assert_eq!(second.gauges["free"][0].value, 2.0);
}

#[tokio::test]
async fn a_result_that_is_none_is_refused_and_nothing_is_kept() {
    let world = world(|config, _| config.max_result_bytes = 100).await;
    let post = |body: &str| error(world.post("node-1", 0, "result").body(body.to_owned()));
    assert_eq!(post("null").await, (400, "results must not be empty".to_owned()));
    assert_eq!(post("{}").await, (400, "results must not be empty".to_owned()));
    assert_eq!(post(r#"{"a-b":[]}"#).await, (400, "\"a-b\" is not a valid metric name".to_owned()));
    let (status, text) = post("{").await;
    assert!(status == 400 && text.starts_with("error decoding result: "), "{text}");
    assert_eq!(post(&" ".repeat(101)).await.0, 413);
    let chunked = Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 101]))]));
    assert_eq!(error(world.post("node-1", 0, "result").body(chunked)).await.0, 413);
    assert_eq!((world.files(), world.told.lock().unwrap().len()), (vec![], 0));
}

#[tokio::test]
async fn a_result_of_an_earlier_attempt_does_not_take_the_place_of_a_later_one() {
    let world = world(|_, _| {}).await;
    world.change(|node| node.attempt = 1).await;
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 200);
    assert_eq!(world.files(), ["node-1.json"], "the later attempt has not reported");
    assert_eq!(status(world.post("node-1", 1, "result").body(r#"{"later":[]}"#)).await, 200);
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 200);
    assert_eq!(world.files(), ["node-1-attempt-0.json", "node-1.json"]);
    assert_eq!((world.read("node-1.json"), world.read("node-1-attempt-0.json")), (br#"{"later":[]}"#.to_vec(), RESULT.into()));
    // It failed all the same, and the third has not reported: that of the second still counts.
    world.change(|node| (node.attempt, node.reported) = (2, None)).await;
    assert_eq!(status(world.post("node-1", 0, "result").body(r#"{"old":[]}"#)).await, 200);
    assert_eq!(world.read("node-1.json"), br#"{"later":[]}"#, "file and store have the same result");
}

#[tokio::test]
async fn a_late_report_after_the_run_ended_is_taken() {
    let world = world(|_, _| {}).await;
    Arc::make_mut(world.snapshot.lock().unwrap().runs.get_mut(RUN).unwrap()).run.state = RunState::Succeeded;
    world.change(|node| node.state = NodeRunState::Failed).await;
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 200);
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("late")).await, 200);
    assert_eq!(world.files(), ["node-1-x", "node-1.json"]);
}

#[tokio::test]
async fn whoever_is_no_pod_of_a_run_is_refused_before_the_body() {
    let world = world(|_, _| {}).await;
    let post = |path: &str| world.http.post(format!("http://{}/report/{path}", world.address)).body(RESULT);
    let token = TokenKey::new(KEY).token(RUN, "node-1", 0);
    assert_eq!(status(post(&format!("node-1/202611211931/{token}/result"))).await, 404);
    assert_eq!(status(post(&format!("node-9/{RUN}/{token}/result"))).await, 404);
    assert_eq!(status(post(&format!("a/{RUN}/{token}/result"))).await, 403, "another node's token");
    assert_eq!(status(post(&format!("node-1/{RUN}/{token}x/file"))).await, 403);
    assert_eq!(status(world.post("node-1", 1, "event")).await, 403, "an attempt that was not made");
    assert_eq!(status(post(&format!("node-1/{RUN}/result"))).await, 403, "no token");
    assert_eq!(status(world.post("node-1", 0, "else")).await, 404);
    assert_eq!((world.files(), world.told.lock().unwrap().len()), (vec![], 0));

    // Nothing of a body is waited for.
    let mut stranger = TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST /report/node-1/{RUN}/no/file HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    stranger.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stranger.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
}

#[tokio::test]
async fn users_of_batch_job_controller_get_its_status_codes_and_words() {
    let world = world(|config, settings| (settings.compatible, config.token_required) = (true, false)).await;
    let post = |path: &str| text(world.http.post(format!("http://{}/report/{path}", world.address)).body(RESULT));
    let not_allowed = (406, "node / execution ID not allowed".to_owned());
    assert_eq!(post(&format!("node-9/{RUN}/result")).await, not_allowed);
    assert_eq!(post("node-1/202611211931/result").await, not_allowed);
    assert_eq!(post(&format!("node-1/{RUN}/wrong/result")).await.0, 403);
    assert_eq!(text(world.post("node-1", 0, "result").body("null")).await, (400, "results must not be empty".to_owned()));
    assert_eq!(post(&format!("node-1/{RUN}/result")).await, (200, String::new()), "without a token, where none is required");
    assert_eq!(world.files(), ["node-1.json"]);

    // Forgotten while it was posted.
    let begun = begin_upload(&world, "late", 2).await;
    world.snapshot.lock().unwrap().runs.clear();
    let mut connection = begun;
    connection.write_all(b"x").await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 406");
}

#[tokio::test]
async fn a_replica_that_does_not_keep_the_runs_asks_to_come_again() {
    let (runs, desk) = RunsView::new();
    let callbacks = Callbacks::new(CallbacksParts {
        config: Some(CallbacksConfig::default()),
        runs,
        auth: Auth::new(&Writers::InProcess, Readers::Open, None).unwrap(),
        metrics: Metrics::register(&Registry::new(), 100).unwrap(),
    });
    let ask = async || {
        let request = axum::http::Request::post(format!("/report/a/{RUN}/x/result")).body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(callbacks.router(), request).await.unwrap()
    };
    let answer = ask().await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    desk.set_key(TokenKey::new(KEY));
    assert_eq!(ask().await.status(), 503);
    desk.publish(RunsSnapshot::default());
    assert_eq!(ask().await.status(), 404);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused_and_nothing_is_written_anywhere() {
    let world = world(|_, _| {}).await;
    for name in
        ["/../../x", "..%2F..%2Fx", "x/../../202611211931/node-1.json", "%2Fetc%2Fx", ".x", "a%5Cb", "a%00b", "a%0Ab", "a..b"]
    {
        let posted = world.post("node-1", 0, &format!("file?name={name}")).body("x");
        assert_eq!(status(posted).await, 400, "{name}");
    }
    let named = |value: &str| world.post("node-1", 0, "file").header("content-disposition", value.to_owned()).body("x");
    assert_eq!(status(named("attachment; filename=\"..\"")).await, 400);
    assert_eq!(status(named("attachment; filename=\"x\\\\y\"")).await, 400);
    assert_eq!(world.files(), Vec::<String>::new());
    // As Go does: the last part of a client's path.
    assert_eq!(status(named("attachment; filename=\"../../up\"")).await, 200);
    assert_eq!(world.files(), ["node-1-up"]);
}

#[tokio::test]
async fn files_of_every_form_are_kept_also_empty_ones_and_with_unicode_names() {
    let world = world(|_, _| {}).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=empty")).await, 200);
    assert_eq!(status(world.post("node-1", 0, "file?name=gr%C3%B6%C3%9Fe+%E2%9C%93.txt").body("ü")).await, 200);
    let disposition = "attachment; filename*=UTF-8''%E2%9C%93.txt";
    assert_eq!(status(world.post("node-1", 0, "file").header("content-disposition", disposition).body("d")).await, 200);
    assert_eq!(world.files(), ["node-1-empty", "node-1-größe ✓.txt", "node-1-✓.txt"]);
    assert_eq!((world.read("node-1-empty"), world.read("node-1-größe ✓.txt")), (vec![], "ü".into()));
    assert_eq!(status(world.post("a-b", 0, "file").header("content-type", "text/plain").body("t")).await, 200);
    let unnamed = world.files().into_iter().find(|name| name.starts_with("a-b-")).unwrap();
    assert!(unnamed.ends_with(".txt"), "{unnamed}");
    let told: Vec<_> = world.told.lock().unwrap().iter().map(|(_, what)| what.clone()).collect();
    assert_eq!(told, [0, 2, 1, 1].map(|bytes| Posted::File { bytes }));
}

fn form(parts: &[(&str, &str)]) -> (&'static str, String) {
    let mut body: String =
        parts.iter().map(|(head, text)| format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n")).collect();
    body += "--XX--\r\n";
    ("multipart/form-data; boundary=XX", body)
}

#[tokio::test]
async fn each_part_of_a_form_is_a_file_and_what_is_none_is_passed_over() {
    let world = world(|_, _| {}).await;
    let post = |parts: &[(&str, &str)]| {
        let (content_type, body) = form(parts);
        world.post("node-1", 0, "file").header("content-type", content_type).body(body)
    };
    let parts = [
        ("name=\"f\"; filename=\"/tmp/one.txt\"", "1"),
        ("name=\"note\"", "no file"),
        ("name=\"f\"; filename=\"two\"", ""),
        ("name=\"f\"; filename=\"größe.bin\"", "333"),
    ];
    assert_eq!(status(post(&parts)).await, 200);
    assert_eq!(world.files(), ["node-1-größe.bin", "node-1-one.txt", "node-1-two"]);
    assert_eq!((world.read("node-1-one.txt"), world.read("node-1-größe.bin")), (b"1".to_vec(), b"333".to_vec()));
    assert_eq!(error(post(&[("name=\"note\"", "x")])).await, (400, "the form has no file".to_owned()));
    assert_eq!(status(post(&[("name=\"f\"; filename=\".x\"", "x")])).await, 400);
    let broken =
        world.post("node-1", 0, "file").header("content-type", "multipart/form-data; boundary=XX").body("--XX\r\nnonsense");
    assert_eq!(status(broken).await, 400);
    assert_eq!(status(world.post("node-1", 0, "file").header("content-type", "multipart/form-data").body("x")).await, 400);
    assert_eq!(world.files().len(), 3);
}

#[tokio::test]
async fn what_surrounds_the_files_of_a_form_is_not_kept_in_memory_without_end() {
    let world = world(|_, _| {}).await;
    let chunks = |head: &'static str| {
        let junk = futures::stream::repeat(Bytes::from_static(&[b'x'; 65536])).take(1024);
        let body = futures::stream::once(async move { Bytes::from_static(head.as_bytes()) }).chain(junk);
        Body::wrap_stream(body.map(Ok::<_, std::io::Error>))
    };
    for head in [
        "",
        "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"",
        "--XX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n",
    ] {
        let posted =
            world.post("node-1", 0, "file").header("content-type", "multipart/form-data; boundary=XX").body(chunks(head));
        // It may be refused while the client still writes.
        if let Ok(response) = posted.send().await {
            assert_eq!(response.status(), 413, "{head}");
        }
    }
    assert_eq!((world.files(), world.told.lock().unwrap().len()), (vec![], 0));
}

#[tokio::test]
async fn a_repeated_file_overwrites_and_no_file_takes_the_name_of_anothers_or_of_a_result() {
    let world = world(|_, _| {}).await;
    for text in ["one", "two"] {
        assert_eq!(status(world.post("a", 0, "file?name=x").body(text)).await, 200);
    }
    assert_eq!(world.read("a-x"), b"two");
    for name in ["b-x", "b.json", "container-main.log", "attempt-0.json"] {
        let (status, text) = error(world.post("a", 0, &format!("file?name={name}")).body("x")).await;
        assert_eq!(status, 409, "{text}");
    }
    assert_eq!(world.files(), ["a-x"]);
}

#[tokio::test]
async fn a_file_or_a_run_that_is_too_large_is_refused_and_leaves_nothing() {
    let world = world(|config, _| (config.max_file_bytes, config.max_run_bytes, config.max_node_files) = (100, 250, 3)).await;
    let post = |name: &str, length: usize| world.post("node-1", 0, &format!("file?name={name}")).body(vec![b'x'; length]);
    let chunked = |name: &str, length: usize| {
        let chunks = (0..length).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"x"))).collect::<Vec<_>>();
        world.post("a", 0, &format!("file?name={name}")).body(Body::wrap_stream(futures::stream::iter(chunks)))
    };
    let (code, said) = error(post("big", 101)).await;
    assert_eq!((code, said.as_str()), (413, "file node-1-big is larger than 100 bytes, which is the most"));
    assert_eq!(status(chunked("big", 101)).await, 413);
    assert_eq!(world.files(), Vec::<String>::new());
    assert_eq!(status(post("1", 100)).await, 200);
    assert_eq!(status(chunked("2", 100)).await, 200);
    let (code, said) = error(post("3", 51)).await;
    assert!(code == 413 && said.contains("250 bytes together"), "{said}");
    assert_eq!(status(chunked("3", 51)).await, 413);
    assert_eq!(status(post("3", 50)).await, 200);
    assert_eq!(status(post("4", 0)).await, 200);
    let (code, said) = error(post("5", 0)).await;
    assert_eq!((code, said.as_str()), (413, "node node-1 has posted 3 files in run 202611211930; more are not taken"));
    assert_eq!(world.files(), ["a-2", "node-1-1", "node-1-3", "node-1-4"]);
}

#[tokio::test]
async fn uploads_under_way_count_against_the_quota_until_they_are_over() {
    let world = world(|config, _| (config.max_run_bytes, config.max_node_files) = (100, 10)).await;
    let begun = begin_upload(&world, "slow", 60).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body(vec![b'x'; 50])).await, 413);
    assert_eq!(status(world.post("node-1", 0, "file?name=y").body(vec![b'x'; 40])).await, 200);
    drop(begun);
    eventually("the broken upload leaves nothing", || world.files() == ["node-1-y"]).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body(vec![b'x'; 50])).await, 200);
}

#[tokio::test]
async fn who_waits_for_its_turn_holds_no_copy_of_the_whole_run() {
    let world = world(|_, _| {}).await;
    let before = Arc::downgrade(&world.snapshot.lock().unwrap().runs[RUN]);
    let _begun = begin_upload(&world, "slow", 60).await;
    world.change(|node| node.why = Some("changed".to_owned())).await;
    eventually("the run as it was is gone", || before.upgrade().is_none()).await;
}

/// Sends the head and one byte, and waits until that is being written.
async fn begin_upload(world: &World, name: &str, length: usize) -> TcpStream {
    let token = TokenKey::new(KEY).token(RUN, "node-1", 0);
    let head =
        format!("POST /report/node-1/{RUN}/{token}/file?name={name} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\nx");
    let mut connection = TcpStream::connect(world.address).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    eventually("the upload begins", || world.files().iter().any(|file| file.starts_with(".posting-"))).await;
    connection
}

#[tokio::test]
async fn a_broken_connection_leaves_no_file() {
    let world = world(|_, _| {}).await;
    drop(begin_upload(&world, "half", 1000).await);
    eventually("the temporary file is gone", || world.files().is_empty()).await;
    assert_eq!(world.told.lock().unwrap().len(), 0);
    assert_eq!(status(world.post("node-1", 0, "file?name=half").body("whole")).await, 200);
    assert_eq!((world.files(), world.read("node-1-half")), (vec!["node-1-half".to_owned()], b"whole".to_vec()));
}

#[tokio::test]
async fn nothing_is_written_through_a_link_that_somebody_put_into_the_volume() {
    let world = world(|_, _| {}).await;
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(world.volume.path().join("reports")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), world.directory()).unwrap();
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("x")).await, 500);
    assert_eq!(status(world.post("node-1", 0, "result").body(RESULT)).await, 500);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_pod_posted_is_counted_also_if_it_hangs_up_before_the_answer() {
    let world = world(|_, _| {}).await;
    let held = world.events.1.lock().await;
    let token = TokenKey::new(KEY).token(RUN, "node-1", 0);
    let request = axum::http::Request::post(format!("/report/node-1/{RUN}/{token}/event"));
    let request = request.body(axum::body::Body::from(r#"{"reason":"R","message":"m"}"#)).unwrap();
    // As the server drops what it does for a connection that is gone.
    let call = tokio::spawn(tower::ServiceExt::oneshot(world.callbacks.router(), request));
    eventually("it is being written", || world.events.0.lock().unwrap().len() == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(held);
    eventually("it is counted", || *world.told.lock().unwrap() == [(0, Posted::Event)]).await;
}

#[tokio::test]
async fn events_that_hang_at_the_api_server_hold_up_no_result() {
    let world = world(|_, _| {}).await;
    let held = world.events.1.lock().await;
    let posts = (0..EVENTS).map(|_| world.post("node-1", 0, "event").json(&json!({"reason": "R", "message": "m"})).send());
    let posting = tokio::spawn(futures::future::join_all(posts));
    eventually("all of them hang", || world.events.0.lock().unwrap().len() == EVENTS).await;
    assert_eq!(status(world.post("a", 0, "event").json(&json!({"reason": "R", "message": "m"}))).await, 429);
    assert_eq!(status(world.post("a", 0, "result").body(RESULT)).await, 200);
    drop(held);
    assert!(posting.await.unwrap().iter().all(|answer| answer.as_ref().unwrap().status() == 200));
}

#[tokio::test]
async fn beyond_so_many_uploads_a_pod_waits_and_then_is_asked_to_come_again() {
    let world = world(|_, _| {}).await;
    let all = world.callbacks.0.uploads.clone().acquire_many_owned(64).await.unwrap();
    let answer = world.post("node-1", 0, "file?name=x").body("x").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    drop(all);
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("x")).await, 200);
}

#[tokio::test]
async fn an_event_says_100_percent_full_and_is_of_the_nodes_pod() {
    let world = world(|_, _| {}).await;
    let post = |body: Value| world.post("node-1", 0, "event").json(&body);
    assert_eq!(status(post(json!({"warning": true, "reason": "DiskFull", "message": "disk 100% full"}))).await, 200);
    assert_eq!(status(post(json!({"reason": "Used", "message": "%s is %v%% full, %s", "args": ["/", "90"]}))).await, 200);
    let written = world.events.0.lock().unwrap().clone();
    assert_eq!((written[0].warning, written[0].note.as_str()), (true, "disk 100% full"));
    assert_eq!(written[1].note, "/ is 90% full, %s");
    assert_eq!((written[0].namespace.as_str(), written[0].pod.as_str()), ("bench", "scan-job-node-1"));
    assert_eq!(*world.told.lock().unwrap(), [(0, Posted::Event), (0, Posted::Event)]);

    assert_eq!(error(post(json!({"reason": "lower", "message": "m"}))).await.0, 400);
    assert_eq!(status(post(json!({"reason": "R", "message": "x".repeat(70_000)}))).await, 413);
    world.change(|node| node.pod = "gone".to_owned()).await;
    let (code, said) = error(post(json!({"reason": "R", "message": "m"}))).await;
    assert!(code == 404 && said.starts_with("error finding pod: "), "{said}");
    world.change(|node| node.events = 1_000).await;
    assert_eq!(status(post(json!({"reason": "R", "message": "m"}))).await, 429);
}

#[tokio::test]
async fn what_is_posted_is_counted_and_no_token_is_told() {
    let world = world(|_, _| {}).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=x").body("12345")).await, 200);
    assert_eq!(status(world.post("node-1", 0, "file?name=.x").body("12345")).await, 400);
    let refused = world.post("node-1", 7, "result").body(RESULT).send().await.unwrap().text().await.unwrap();
    assert!(!refused.contains(&TokenKey::new(KEY).token(RUN, "node-1", 7)), "{refused}");
    let page = prometheus::TextEncoder::new().encode_to_string(&world.registry.gather()).unwrap();
    for line in [
        "jobmeter_run_reports_total{kind=\"file\",outcome=\"accepted\"} 1",
        "jobmeter_run_reports_total{kind=\"file\",outcome=\"invalid\"} 1",
        "jobmeter_run_reports_total{kind=\"result\",outcome=\"not_allowed\"} 1",
        "jobmeter_run_reports_total{kind=\"event\",outcome=\"failed\"} 0",
        "jobmeter_run_report_bytes_total{kind=\"file\"} 5",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn reports_are_browsed_as_http_file_server_shows_them_and_nothing_else_is() {
    let world = world(|_, _| {}).await;
    let reports = world.volume.path().join("reports");
    let settings = settings("scan", &reports);
    crate::runs::reports::ReportDirectory::of(&settings, RUN).begin().unwrap();
    for (name, text) in [("a.json", RESULT), ("a-x<y>.html", "<script>"), ("a-run.log", "0123456789"), (".posting-1", "half")] {
        fs::write(world.directory().join(name), text).unwrap();
    }
    fs::write(reports.join("jobmeter.db"), "secret").unwrap();
    fs::create_dir(reports.join("lost+found")).unwrap();
    std::os::unix::fs::symlink(reports.join("jobmeter.db"), world.directory().join("a-link")).unwrap();

    assert!(world.get("/reports/").await.text().await.unwrap().contains("<a href=\"scan/\">scan/</a>"));
    for (path, to) in
        [("/reports", "reports/"), ("/reports/scan", "scan/"), ("/reports/-", "-/"), ("/reports/scan/latest", "latest/")]
    {
        let answer = world.get(path).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (301, to), "{path}");
    }
    let names = async |path: &str| {
        let request = world.http.get(format!("http://{}{path}", world.address)).header("accept", "application/json");
        let list: Vec<Value> = request.send().await.unwrap().json().await.unwrap();
        list.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/reports/scan/").await, ["latest", RUN]);
    assert_eq!(names("/reports/-/").await, ["latest", RUN], "one report directory");
    assert_eq!(names("/reports/scan/latest/").await, ["a-run.log", "a-x<y>.html", "a.json"]);
    let page = world.get(&format!("/reports/-/{RUN}/")).await.text().await.unwrap();
    assert!(page.contains("<a href=\"a-x%3Cy%3E.html\">a-x&lt;y&gt;.html</a>\n"), "{page}");

    let file = world.get("/reports/scan/latest/a.json").await;
    assert_eq!(file.headers()["content-type"], "application/json");
    assert_eq!(file.text().await.unwrap(), RESULT);
    let file = world.get(&format!("/reports/-/{RUN}/a-x%3Cy%3E.html")).await;
    assert_eq!(
        (&file.headers()["content-type"], &file.headers()["content-security-policy"]),
        (&"text/html; charset=utf-8".parse().unwrap(), &"sandbox".parse().unwrap())
    );
    let ranged = |range: &str| {
        world.http.get(format!("http://{}/reports/scan/{RUN}/a-run.log", world.address)).header("range", range.to_owned()).send()
    };
    let part = ranged("bytes=2-4").await.unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()), (206, "bytes 2-4/10"));
    assert_eq!(part.text().await.unwrap(), "234");
    assert_eq!(ranged("bytes=10-").await.unwrap().status(), 416);

    for path in [
        "/reports/other/",
        "/reports/scan/202611211931/",
        "/reports/scan/jobmeter.db",
        "/reports/scan/lost+found/",
        "/reports/scan/latest/.posting-1",
        "/reports/scan/latest/a-link",
        "/reports/scan/latest/a.json/",
        "/reports/scan/..%2F..%2Fetc%2Fpasswd",
        "/reports/-/x%2F..%2F",
        "/reports/scan//latest/",
    ] {
        assert_eq!(world.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn lists_are_read_so_many_at_a_time_as_files_are() {
    let world = world(|_, _| {}).await;
    let all = world.callbacks.0.downloads.clone().acquire_many_owned(64).await.unwrap();
    let answer = world.get("/reports/scan/").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "5"));
    drop(all);
    assert_eq!(world.get("/reports/scan/").await.status(), 200);
    assert_eq!(world.callbacks.0.downloads.available_permits(), 64, "a list that was read holds no place");
}

#[tokio::test]
async fn definitions_that_share_a_directory_show_their_own_runs() {
    let world = world(|_, _| {}).await;
    let reports = world.volume.path().join("reports");
    let other = "202611211931";
    for (name, run) in [("scan", RUN), ("burn", other)] {
        let settings = settings(name, &reports);
        crate::runs::reports::ReportDirectory::of(&settings, run).begin().unwrap();
    }
    let burn = stored(other, settings("burn", &reports), &["a"]);
    world.snapshot.lock().unwrap().runs.insert(other.to_owned(), burn);
    world.change(|_| {}).await;
    let page = |path: &'static str| async { world.get(path).await.text().await.unwrap() };
    assert!(!page("/reports/scan/").await.contains(other) && page("/reports/burn/").await.contains(other));
    assert!(page("/reports/-/").await.contains(other) && page("/reports/-/").await.contains(RUN));
    assert_eq!(world.get(&format!("/reports/scan/{other}/")).await.status(), 404);
    // The link is of the other one.
    assert!(page("/reports/scan/").await.contains("latest"));
    for (name, run) in [("scan", RUN), ("burn", other)] {
        fs::write(reports.join(run).join("a.json"), name).unwrap();
        assert_eq!(world.get(&format!("/reports/{name}/latest/a.json")).await.text().await.unwrap(), name, "its own latest");
    }
}

#[tokio::test]
async fn reports_are_read_by_whoever_may_read() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("token"), "the-readers-token").unwrap();
    let (runs, desk) = RunsView::new();
    desk.publish(RunsSnapshot::default());
    let callbacks = Callbacks::new(CallbacksParts {
        config: Some(CallbacksConfig::default()),
        runs,
        auth: Auth::new(&Writers::InProcess, Readers::token(files.path().join("token")), None).unwrap(),
        metrics: Metrics::register(&Registry::new(), 100).unwrap(),
    });
    let ask = async |path: &str, token: Option<&str>| {
        let mut request = axum::http::Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(callbacks.router(), request).await.unwrap().status().as_u16()
    };
    for path in ["/reports/", "/reports/-/"] {
        assert_eq!(ask(path, None).await, 401);
        assert_eq!(ask(path, Some("another")).await, 401);
        assert_eq!(ask(path, Some("the-readers-token")).await, 200);
    }
}

#[tokio::test]
async fn a_big_upload_takes_a_constant_amount_of_memory() {
    // The high-water mark is of a process, and other tests run in this one.
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "callbacks::tests::a_big_upload_in_a_process_of_its_own", "--ignored", "--nocapture"]);
    let output = child.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "run by `a_big_upload_takes_a_constant_amount_of_memory`"]
async fn a_big_upload_in_a_process_of_its_own() {
    const CHUNK: Bytes = Bytes::from_static(&[b'x'; 65536]);
    const GIB: usize = 16_384;
    let high_water_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let world = world(|_, _| {}).await;
    assert_eq!(status(world.post("node-1", 0, "file?name=warm").body("x")).await, 200);
    let before = high_water_kib();
    let chunks = |count| futures::stream::repeat(CHUNK).take(count);
    let body = Body::wrap_stream(chunks(GIB).map(Ok::<_, std::io::Error>));
    assert_eq!(status(world.post("node-1", 0, "file?name=big").body(body)).await, 200);
    let head = futures::stream::once(async {
        Bytes::from_static(b"--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"form\"\r\n\r\n")
    });
    let body = head.chain(chunks(GIB / 4)).chain(futures::stream::once(async { Bytes::from_static(b"\r\n--XX--\r\n") }));
    let posted = world.post("node-1", 0, "file").header("content-type", "multipart/form-data; boundary=XX");
    assert_eq!(status(posted.body(Body::wrap_stream(body.map(Ok::<_, std::io::Error>)))).await, 200);
    let grown = high_water_kib() - before;
    for (name, count) in [("node-1-big", GIB), ("node-1-form", GIB / 4)] {
        assert_eq!(fs::metadata(world.directory().join(name)).unwrap().len(), (CHUNK.len() * count) as u64);
    }
    assert!(grown < 32 << 10, "1 GiB took {grown} KiB of memory");
}
