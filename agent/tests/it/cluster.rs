//! The watch of this node's pods against an API server that follows a script.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, stream};
use jobmeter_agent::{
    PodEvent,
    pods::cluster::{self, ClusterOptions},
};
use jobmeter_daemon::admin::{Readiness, SourceBoard, SourceState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

#[derive(Default)]
struct Api {
    /// Lists that fail before one succeeds.
    failures: AtomicU32,
    listed: Vec<Value>,
    watched: Vec<Value>,
    queries: Mutex<Vec<String>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    watch: Option<String>,
    field_selector: Option<String>,
}

async fn pods(State(api): State<Arc<Api>>, Query(params): Query<Params>) -> Response {
    api.queries.lock().unwrap().extend(params.field_selector);
    if params.watch.is_some() {
        let lines: Vec<_> = api.watched.iter().map(|event| Ok::<_, std::io::Error>(format!("{event}\n"))).collect();
        return Body::from_stream(stream::iter(lines).chain(stream::pending())).into_response();
    }
    let fails = api.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if fails.is_ok() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "etcd is away").into_response();
    }
    Json(json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": api.listed}))
        .into_response()
}

async fn serve(api: Api) -> (Arc<Api>, SocketAddr) {
    let api = Arc::new(api);
    let router = Router::new().route("/api/v1/pods", get(pods)).with_state(Arc::clone(&api));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (api, address)
}

fn pod(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "2", "annotations": annotations},
        "spec": {"nodeName": "node-a", "containers": []},
    })
}

/// Watches through a kubeconfig that names another address, as on a node without a Service network.
async fn watch(state: &Path, address: SocketAddr) -> (mpsc::Receiver<PodEvent>, SourceBoard, Readiness) {
    let kubeconfig = state.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://192.0.2.1:6443"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "users": [{"name": "c", "user": {}}],
    });
    fs::write(&kubeconfig, text.to_string()).unwrap();
    let server = Some(format!("http://{address}"));
    let options = ClusterOptions { node: "node-a".into(), kubeconfig: Some(kubeconfig), server };
    let client = cluster::connect(&options).await.unwrap();
    let (board, readiness) = (SourceBoard::default(), Readiness::default());
    let (events, received) = mpsc::channel(16);
    tokio::spawn(cluster::watch(client, options.node, events, board.clone(), readiness.gate("pods")));
    (received, board, readiness)
}

async fn next(events: &mut mpsc::Receiver<PodEvent>) -> PodEvent {
    timeout(Duration::from_secs(20), events.recv()).await.expect("an event in time").expect("an open channel")
}

#[tokio::test]
async fn pods_of_this_node_are_listed_changed_and_deleted() {
    const HASH: &str = "0123456789abcdef0123456789abcdef";
    let mut mirror = pod("static", &json!({"kubernetes.io/config.mirror": HASH}));
    mirror["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "node-a", "uid": "n", "controller": true}]);
    let api = Api {
        listed: vec![pod("a", &json!({})), mirror],
        watched: vec![
            json!({"type": "MODIFIED", "object": pod("a", &json!({"k": "v"}))}),
            json!({"type": "DELETED", "object": pod("a", &json!({}))}),
        ],
        ..Api::default()
    };
    let state = TempDir::new().unwrap();
    let (api, address) = serve(api).await;
    let (mut events, board, readiness) = watch(state.path(), address).await;
    let PodEvent::Resynced(listed) = next(&mut events).await else { panic!("a list comes first") };
    let uids: Vec<_> = listed.iter().map(|pod| pod.uid.as_str()).collect();
    assert_eq!(uids, ["a", HASH], "a static pod goes by the name of its cgroup");
    assert!(matches!(next(&mut events).await, PodEvent::Applied(pod) if pod.annotations.contains_key("k")));
    assert_eq!(next(&mut events).await, PodEvent::Gone { pod_uid: "a".into() });
    assert_eq!(board.snapshot()["pods"].state, SourceState::Active);
    assert!(readiness.not_ready().is_empty());
    assert!(api.queries.lock().unwrap().iter().all(|query| query == "spec.nodeName=node-a"));
}

#[tokio::test]
async fn an_api_server_that_is_away_is_said_so_and_tried_again() {
    let state = TempDir::new().unwrap();
    let (_api, address) = serve(Api { failures: AtomicU32::new(1), ..Api::default() }).await;
    let (mut events, board, readiness) = watch(state.path(), address).await;
    timeout(Duration::from_secs(10), readiness.all_ready()).await.expect("degraded is ready");
    assert!(matches!(board.snapshot()["pods"].state, SourceState::Failed { .. }));
    assert_eq!(next(&mut events).await, PodEvent::Resynced(Vec::new()));
    assert_eq!(board.snapshot()["pods"].state, SourceState::Active);
}
