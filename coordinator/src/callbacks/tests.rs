//! Over HTTP, with real files. The runs task is played by a double that does to its snapshot what the real one does.

mod browse;
mod files;
mod reports;

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
