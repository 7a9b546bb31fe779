//! A running coordinator for a test, and the pods and evidence it is fed with.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jobmeter_coordinator::auth::{Readers, Writers};
use jobmeter_coordinator::store::{Applied, Assembly, Change, Store};
use jobmeter_coordinator::{CoordinatorConfig, CoordinatorHandle, LocalEvent, PodSource, start};
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_daemon::token::TokenFile;
use jobmeter_decide::example;
use jobmeter_protocol::{ApiPod, Heartbeat, NodeStatus, OwnerRef, PodEvidence, ReportBatch, VERSION};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub(crate) const NODE: &str = "node-a";
/// What agents present in tests without an API server.
pub(crate) const TOKEN: &str = "the-agents-token";

pub(crate) struct Running {
    pub(crate) handle: CoordinatorHandle,
    pub(crate) address: SocketAddr,
    pub(crate) pods: Option<mpsc::Sender<LocalEvent>>,
    pub(crate) http: reqwest::Client,
    supervisor: Supervisor,
    _files: TempDir,
}

impl Running {
    /// Standalone, with a token for agents.
    pub(crate) async fn local() -> Self {
        Self::local_with(|_, _| {}).await
    }

    pub(crate) async fn local_with(change: impl FnOnce(&mut CoordinatorConfig, &Path)) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (pods, events) = mpsc::channel(64);
        let token = files.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let mut config = CoordinatorConfig::standalone(&files.path().join("data"));
        config.writers = Writers::Token(Arc::new(TokenFile::new(token)));
        change(&mut config, files.path());
        Self::start(config, PodSource::Local(events), Some(pods), files).await
    }

    /// Against an API server, with its token reviews.
    pub(crate) async fn kube(client: kube::Client, data: &Path) -> Self {
        Self::kube_with(client, data, |_| {}).await
    }

    pub(crate) async fn kube_with(client: kube::Client, data: &Path, change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let mut config = CoordinatorConfig::standalone(data);
        config.writers = Writers::TokenReview {
            audience: "jobmeter-coordinator".to_owned(),
            agents: "jobmeter:jobmeter-agent".parse().unwrap(),
        };
        change(&mut config);
        Self::start(config, PodSource::Kube(client), None, tempfile::tempdir().unwrap()).await
    }

    async fn start(config: CoordinatorConfig, source: PodSource, pods: Option<mpsc::Sender<LocalEvent>>, files: TempDir) -> Self {
        // A second test in the same process finds it installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut supervisor = Supervisor::without_signals(Duration::from_secs(5));
        let handle = start(config, source, &mut supervisor).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        supervisor.spawn("http", serve(listener, handle.router(), ServeOptions::default(), supervisor.token()));
        Self { handle, address, pods, http: reqwest::Client::new(), supervisor, _files: files }
    }

    /// Stops it as SIGTERM would, and waits until the store is closed.
    pub(crate) async fn stop(self) {
        let Self { handle, supervisor, pods, .. } = self;
        supervisor.token().cancel();
        supervisor.run().await;
        handle.store().close().await.unwrap();
        drop(pods);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        self.http.post(self.url(path)).bearer_auth(token).body(body).send().await.unwrap()
    }

    pub(crate) async fn tell(&self, event: LocalEvent) {
        self.pods.as_ref().unwrap().send(event).await.unwrap();
    }

    pub(crate) async fn ready(&self) {
        eventually("ready", async || self.get("/readyz").await.status().is_success().then_some(())).await;
    }
}

/// Polls until there is a value; a test that waits in vain says for what.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, poll: impl Fn() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn open(directory: &Path) -> Store {
    Store::open(&directory.join("jobmeter.db"), Assembly::default(), Box::new(|_| {})).unwrap()
}

/// The `n`th pod of job `job`, with its containers ended well.
pub(crate) fn pod(n: usize, job: &str) -> ApiPod {
    ApiPod { uid: uid(n), name: format!("{job}-{n}"), owner: Some(example::owner("batch/v1", "Job", job)), ..example::api_pod() }
}

pub(crate) fn uid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// Final, with `n` × 10 ms of CPU and `n` MiB.
pub(crate) fn evidence(n: usize) -> PodEvidence {
    let mut evidence = PodEvidence { pod_uid: uid(n), ..example::evidence() };
    evidence.segments[0].reading = example::reading(1.2, n as u64 * 10_000_000, (n as u64) << 20);
    evidence
}

pub(crate) fn api(pod: ApiPod, owners: &[OwnerRef]) -> Change {
    Change::Api { pod: Box::new(pod), owners: Some(owners.to_vec()) }
}

/// Both witnesses' last words about pod `n` of `job`.
pub(crate) fn whole(n: usize, job: &str) -> Vec<Change> {
    vec![api(pod(n, job), &[example::owner("batch/v1", "Job", job)]), Change::Evidence(Box::new(evidence(n)))]
}

pub(crate) async fn apply(store: &Store, changes: Vec<Change>) -> Vec<Applied> {
    store.apply(changes, Timestamp::now()).await.unwrap()
}

pub(crate) fn batch(reports: Vec<PodEvidence>) -> ReportBatch {
    ReportBatch { version: VERSION, node: NODE.to_owned(), reports }
}

pub(crate) fn heartbeat(node: &str, unknown: Vec<String>) -> Heartbeat {
    Heartbeat {
        version: VERSION,
        status: NodeStatus {
            node: node.to_owned(),
            boot_id: "boot".into(),
            kernel: "6.18".into(),
            agent_version: "0.1.0".into(),
            capabilities: vec![],
            last_heartbeat: Timestamp::now(),
        },
        live: vec![],
        unknown,
        logs_unknown: vec![],
    }
}

pub(crate) fn readers(path: &Path) -> Readers {
    Readers::token(path)
}
