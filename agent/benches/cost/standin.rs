//! API server and coordinator in one: a list of running job pods, a watch that stays silent, reports that are accepted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use jobmeter_protocol::{Heartbeat, HeartbeatReply, ReportBatch, ReportReply, Verdict};
use serde_json::{Value, json};

pub(crate) struct StandIn {
    address: SocketAddr,
    live: Arc<AtomicU32>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Known {
    pods: Arc<Value>,
    live: Arc<AtomicU32>,
}

impl StandIn {
    pub(crate) fn start(uids: &[String]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let live = Arc::new(AtomicU32::new(0));
        let known = Known { pods: Arc::new(list(uids)), live: Arc::clone(&live) };
        let router = Router::new()
            .route("/api/v1/pods", get(pods))
            .route("/v1/reports", post(reports))
            .route("/v1/nodes/{node}/heartbeat", post(heartbeat))
            .with_state(known);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, live, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": self.url()}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "users": [{"name": "bench", "user": {}}],
        })
        .to_string()
    }

    /// Pods in the last heartbeat.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }
}

fn list(uids: &[String]) -> Value {
    let pod = |(n, uid): (usize, &String)| {
        json!({
            "metadata": {
                "name": format!("job-{n}"), "namespace": "bench", "uid": uid, "resourceVersion": "1",
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "job", "uid": "1", "controller": true}],
            },
            "spec": {"nodeName": "node-a", "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
            "status": {"phase": "Running"},
        })
    };
    let items: Vec<Value> = uids.iter().enumerate().map(pod).collect();
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items})
}

#[derive(serde::Deserialize)]
struct Params {
    #[serde(default)]
    watch: Option<String>,
}

async fn pods(State(known): State<Known>, Query(params): Query<Params>) -> Response {
    if params.watch.is_some() {
        return Body::from_stream(stream::pending::<Result<&'static str, std::io::Error>>()).into_response();
    }
    Json(&*known.pods).into_response()
}

async fn reports(Json(batch): Json<ReportBatch>) -> Json<ReportReply> {
    Json(ReportReply { verdicts: batch.reports.iter().map(|_| Verdict::Accepted).collect() })
}

async fn heartbeat(State(known): State<Known>, Json(beat): Json<Heartbeat>) -> Json<HeartbeatReply> {
    known.live.store(u32::try_from(beat.live.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
    Json(HeartbeatReply::default())
}
