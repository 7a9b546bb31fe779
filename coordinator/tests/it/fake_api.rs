//! An API server that says what a test tells it: lists and watches of pods and Jobs, objects of any kind, token reviews.
//! It counts what it was asked, so that a test can also see what was not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<Script>>,
    /// Path of the collection, and the event.
    events: broadcast::Sender<(String, Value)>,
}

#[derive(Default)]
struct Script {
    /// Path of a collection → its objects.
    lists: BTreeMap<String, Vec<Value>>,
    /// Path → answer. What is not here is 404.
    answers: BTreeMap<String, (u16, Value)>,
    /// Token → `status` of its review.
    tokens: BTreeMap<String, Value>,
    /// Path of an object → its collection, and itself; also in the collection's lists.
    objects: BTreeMap<String, (String, Value)>,
    /// Path of an object, and the patch, whatever came of it.
    patches: Vec<(String, Value)>,
    lose_patch_answers: bool,
    down: bool,
    calls: Vec<String>,
}

pub(crate) const PODS: &str = "/api/v1/pods";
pub(crate) const JOBS: &str = "/apis/batch/v1/jobs";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

impl FakeApi {
    pub(crate) fn new() -> Self {
        let (events, _) = broadcast::channel(64);
        let api = Self { state: Arc::default(), events };
        api.discover("batch/v1", &[("Job", "jobs"), ("CronJob", "cronjobs")]);
        api
    }

    pub(crate) fn client(&self) -> kube::Client {
        let router = Router::new().fallback(answer).with_state(self.clone());
        kube::Client::new(router, "default")
    }

    /// What the next list has.
    pub(crate) fn set_list(&self, path: &str, objects: Vec<Value>) {
        self.state.lock().unwrap().lists.insert(path.to_owned(), objects);
    }

    /// An object that can be read, listed and patched. Nobody is told.
    pub(crate) fn put(&self, collection: &str, path: &str, object: Value) {
        self.state.lock().unwrap().objects.insert(path.to_owned(), (collection.to_owned(), object));
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.lock().unwrap().objects.remove(path);
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).map(|(_, object)| object.clone())
    }

    /// All of a collection that were put there, made, or patched, by path.
    pub(crate) fn objects(&self, of: &str) -> Vec<(String, Value)> {
        let state = self.state.lock().unwrap();
        let found = state.objects.iter().filter(|(_, (collection, _))| collection == of);
        found.map(|(path, (_, object))| (path.clone(), object.clone())).collect()
    }

    pub(crate) fn patches(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().patches.clone()
    }

    /// Patches are done, and their answer is 504.
    pub(crate) fn lose_patch_answers(&self, lose: bool) {
        self.state.lock().unwrap().lose_patch_answers = lose;
    }

    /// `ADDED`, `MODIFIED` or `DELETED`, to whoever watches now.
    pub(crate) fn send(&self, path: &str, kind: &str, object: Value) -> usize {
        self.events.send((path.to_owned(), json!({"type": kind, "object": object}))).unwrap_or(0)
    }

    /// How many watch.
    pub(crate) fn watchers(&self) -> usize {
        self.events.receiver_count()
    }

    pub(crate) fn answer(&self, path: &str, code: u16, body: Value) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (code, body));
    }

    pub(crate) fn token(&self, token: &str, status: Value) {
        self.state.lock().unwrap().tokens.insert(token.to_owned(), status);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    pub(crate) fn discover(&self, group_version: &str, kinds: &[(&str, &str)]) {
        let resources: Vec<Value> = kinds
            .iter()
            .map(|(kind, plural)| {
                json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "list", "watch"]})
            })
            .collect();
        let body = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources});
        self.answer(&format!("/apis/{group_version}"), 200, body);
    }

    /// How often a path was asked for.
    pub(crate) fn calls(&self, path: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| *call == path).count()
    }

    pub(crate) fn reviews(&self) -> usize {
        self.calls(REVIEWS)
    }

    fn watch(&self, path: String) -> Response {
        let events = BroadcastStream::new(self.events.subscribe()).filter_map(move |event| {
            let (of, event) = event.ok()?;
            (of == path).then(|| Ok::<_, std::convert::Infallible>(format!("{event}\n")))
        });
        Body::from_stream(events).into_response()
    }
}

async fn answer(State(api): State<FakeApi>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default();
    if query.contains("watch=true") {
        return api.watch(path);
    }
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut script = api.state.lock().unwrap();
    script.calls.push(path.clone());
    if script.down {
        return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    if path == REVIEWS && parts.method == Method::POST {
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        let token = review["spec"]["token"].as_str().unwrap().to_owned();
        let unknown = || json!({"authenticated": false, "error": "invalid bearer token"});
        review["status"] = script.tokens.get(&token).cloned().unwrap_or_else(unknown);
        return (StatusCode::CREATED, Json(review)).into_response();
    }
    if parts.method == Method::PATCH {
        return patch(&api, &mut script, &path, &body);
    }
    if parts.method == Method::POST && path.ends_with("/pods") {
        return create(&api, &mut script, &path, &body);
    }
    if parts.method == Method::DELETE
        && let Some((collection, object)) = script.objects.remove(&path)
    {
        api.send(&collection, "DELETED", object.clone());
        return Json(object).into_response();
    }
    if let Some((_, object)) = script.objects.get(&path) {
        return Json(object.clone()).into_response();
    }
    if let Some(objects) = script.lists.get(&path) {
        let more = script.objects.values().filter(|(collection, _)| *collection == path).map(|(_, object)| object);
        let objects: Vec<&Value> = objects.iter().chain(more).collect();
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": objects});
        return Json(list).into_response();
    }
    match script.answers.get(&path) {
        Some((200, body)) => Json(body.clone()).into_response(),
        Some((code, _)) => status(StatusCode::from_u16(*code).unwrap(), "Forbidden"),
        None => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

/// As an API server: all of it or nothing, a new version, and whoever watches is told.
fn patch(api: &FakeApi, script: &mut Script, path: &str, body: &[u8]) -> Response {
    let operations: Value = serde_json::from_slice(body).unwrap();
    script.patches.push((path.to_owned(), operations.clone()));
    let lose = script.lose_patch_answers;
    let Some((collection, object)) = script.objects.get_mut(path) else {
        return status(StatusCode::NOT_FOUND, "NotFound");
    };
    let operations: json_patch::Patch = serde_json::from_value(operations).unwrap();
    if json_patch::patch(object, &operations).is_err() {
        return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
    }
    let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    api.send(collection, "MODIFIED", object.clone());
    if lose { status(StatusCode::GATEWAY_TIMEOUT, "Timeout") } else { Json(object.clone()).into_response() }
}

/// Of a namespace's pods: with a UID of its own, and whoever watches is told.
fn create(api: &FakeApi, script: &mut Script, pods: &str, body: &[u8]) -> Response {
    let mut object: Value = serde_json::from_slice(body).unwrap();
    let path = format!("{pods}/{}", object["metadata"]["name"].as_str().unwrap());
    if script.objects.contains_key(&path) {
        return status(StatusCode::CONFLICT, "AlreadyExists");
    }
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!(crate::harness::uid(script.objects.len() + 1));
    metadata["resourceVersion"] = json!("2");
    metadata["creationTimestamp"] = json!("2026-09-21T14:13:20Z");
    object["status"] = json!({"phase": "Pending"});
    script.objects.insert(path, (PODS.to_owned(), object.clone()));
    api.send(PODS, "ADDED", object.clone());
    (StatusCode::CREATED, Json(object)).into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16()
    });
    (code, Json(body)).into_response()
}

/// A pod of one container that ended well a minute ago, or runs still.
pub(crate) fn pod(n: usize, owner: Value, phase: &str) -> Value {
    let terminated = json!({"terminated": {
        "containerID": "containerd://aa", "exitCode": 0, "reason": "Completed",
        "startedAt": "2026-09-21T14:13:21Z", "finishedAt": "2026-09-21T14:13:21Z"
    }});
    let state = if phase == "Running" { json!({"running": {"startedAt": "2026-09-21T14:13:21Z"}}) } else { terminated };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("pod-{n}"), "namespace": "bench", "uid": crate::harness::uid(n), "resourceVersion": "2",
            "creationTimestamp": "2026-09-21T14:13:20Z", "ownerReferences": [owner]
        },
        "spec": {"nodeName": crate::harness::NODE, "restartPolicy": "Always", "containers": [{"name": "main", "image": "x"}]},
        "status": {
            "phase": phase,
            "containerStatuses": [{
                "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": "containerd://aa", "state": state
            }]
        }
    })
}

pub(crate) fn owner(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("uid-of-{name}"), "controller": true})
}

/// The metadata of an object, as `get` gives it.
pub(crate) fn object(api_version: &str, kind: &str, name: &str, owners: Vec<Value>) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "namespace": "bench", "uid": format!("uid-of-{name}"), "resourceVersion": "1", "ownerReferences": owners}
    })
}
