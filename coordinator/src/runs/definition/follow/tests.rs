use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use jobmeter_daemon::admin::SourceState;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::BroadcastStream;

use super::*;
use crate::runs::definition::{CONFIG_FILE, POD_TEMPLATE_FILE};

const TEMPLATE: &str = "spec: {containers: [{name: a, image: b}]}\n";

fn pair(name: &str) -> [(&'static str, String); 2] {
    [(CONFIG_FILE, format!("name: {name}\npodPoolSize: 2\n")), (POD_TEMPLATE_FILE, TEMPLATE.to_owned())]
}

fn ours(name: &str, size: u32) -> String {
    format!("name: {name}\npodPoolSize: {size}\npodTemplate:\n  {TEMPLATE}")
}

/// An API server that has one ConfigMap at most.
#[derive(Clone)]
struct Api {
    map: Arc<Mutex<Result<Option<Value>, u16>>>,
    events: broadcast::Sender<String>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Api {
    fn new(map: Result<Option<Value>, u16>) -> Self {
        Self { map: Arc::new(Mutex::new(map)), events: broadcast::channel(8).0, asked: Arc::default() }
    }

    fn client(&self) -> Client {
        Client::new(Router::new().fallback(answer).with_state(self.clone()), "default")
    }

    async fn tell(&self, kind: &str, map: Value) {
        while self.events.receiver_count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.events.send(format!("{}\n", json!({"type": kind, "object": map}))).unwrap();
    }
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    api.asked.lock().unwrap().push(request.uri().to_string());
    let map = match &*api.map.lock().unwrap() {
        Ok(map) => map.clone(),
        Err(code) => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "Forbidden", "code": code});
            return (axum::http::StatusCode::from_u16(*code).unwrap(), Json(status)).into_response();
        }
    };
    if request.uri().query().unwrap_or_default().contains("watch=true") {
        return Body::from_stream(BroadcastStream::new(api.events.subscribe())).into_response();
    }
    let items: Vec<Value> = map.into_iter().collect();
    Json(json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
        .into_response()
}

fn config_map(data: &[(&str, String)]) -> Value {
    let data: serde_json::Map<_, _> = data.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
           "metadata": {"name": "checks", "namespace": "jobs", "resourceVersion": "2", "uid": "u"}})
}

struct Followed {
    readings: mpsc::Receiver<Read>,
    board: SourceBoard,
    task: JoinHandle<anyhow::Result<()>>,
}

fn follow(client: Client, directory: Option<&Path>, maps: &[&str]) -> Followed {
    let config_maps = maps.iter().map(|name| ("jobs".to_owned(), (*name).to_owned())).collect();
    let sources = Sources { directory: directory.map(Path::to_owned), config_maps };
    let defaults = Defaults { namespace: "jobs".into(), report_directory: "/reports".into(), ..Defaults::default() };
    let (sender, readings) = mpsc::channel(8);
    let board = SourceBoard::default();
    let following = Following { client, sources, defaults, board: board.clone() };
    Followed { readings, board, task: tokio::spawn(following.run(sender)) }
}

impl Followed {
    async fn next(&mut self) -> Read {
        tokio::time::timeout(Duration::from_secs(60), self.readings.recv()).await.unwrap().unwrap()
    }

    /// Names with the sizes of their pools.
    async fn names(&mut self) -> Vec<(String, Option<u32>)> {
        named(&self.next().await)
    }

    async fn nothing_new(&mut self) {
        let waited = tokio::time::timeout(5 * LOOK, self.readings.recv()).await;
        assert!(waited.is_err(), "{waited:?}");
    }

    fn shown(&self) -> (Option<String>, String) {
        let source = self.board.snapshot().remove(SOURCE).unwrap();
        let error = match source.state {
            SourceState::Failed { error } => Some(error),
            _ => None,
        };
        (error, source.detail.unwrap())
    }
}

fn named(read: &Read) -> Vec<(String, Option<u32>)> {
    read.definitions.iter().map(|one| (one.settings.name.clone(), one.settings.own_pool_size)).collect()
}

fn named_as(names: &[(&str, u32)]) -> Vec<(String, Option<u32>)> {
    names.iter().map(|(name, size)| ((*name).to_owned(), Some(*size))).collect()
}

/// As the kubelet changes a mounted ConfigMap: a new directory, and a link that is swapped.
fn mount(directory: &Path, version: &str, files: &[(&str, String)]) {
    let data = directory.join(version);
    std::fs::create_dir(&data).unwrap();
    for (name, text) in files {
        std::fs::write(data.join(name), text).unwrap();
        let link = directory.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    symlink(version, directory.join("..data_tmp")).unwrap();
    std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_read_again_when_its_link_is_swapped_and_only_then() {
    let files = tempfile::tempdir().unwrap();
    mount(files.path(), "..1", &[("a.yaml", ours("a", 1)), ("b.yaml", ours("b", 1))]);
    let mut followed = follow(Api::new(Ok(None)).client(), Some(files.path()), &[]);
    assert_eq!(followed.names().await, named_as(&[("a", 1), ("b", 1)]));
    followed.nothing_new().await;
    mount(files.path(), "..2", &[("a.yaml", ours("a", 7)), ("b.yaml", ours("b", 1))]);
    assert_eq!(followed.names().await, named_as(&[("a", 7), ("b", 1)]));
    // The same once more.
    mount(files.path(), "..3", &[("a.yaml", ours("a", 7)), ("b.yaml", ours("b", 1))]);
    followed.nothing_new().await;
    let (error, detail) = followed.shown();
    assert_eq!((error, detail.as_str()), (None, "definitions: a, b"));
}

#[tokio::test(start_paused = true)]
async fn while_a_source_is_broken_its_definitions_stay_and_the_board_says_why() {
    let files = tempfile::tempdir().unwrap();
    let directory = files.path().join("runs");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("a.yaml"), ours("a", 1)).unwrap();
    std::fs::write(directory.join("b.yaml"), ours("b", 1)).unwrap();
    let mut followed = follow(Api::new(Ok(None)).client(), Some(&directory), &[]);
    assert_eq!(followed.names().await, named_as(&[("a", 1), ("b", 1)]));

    std::fs::write(directory.join("a.yaml"), "name: a\n").unwrap();
    std::fs::write(directory.join("b.yaml"), ours("b", 22)).unwrap();
    let read = followed.next().await;
    assert_eq!(named(&read), named_as(&[("b", 22), ("a", 1)]));
    assert!(followed.shown().0.unwrap().contains("a.yaml:1:1: podPoolSize: is missing"), "{:?}", followed.shown());

    let away = files.path().join("away");
    std::fs::rename(&directory, &away).unwrap();
    let read = followed.next().await;
    assert_eq!(named(&read), named_as(&[("b", 22), ("a", 1)]));
    assert!(followed.shown().0.unwrap().contains("failed to list the directory"), "{:?}", followed.shown());
    // Told once.
    followed.nothing_new().await;

    // A definition goes with its file.
    std::fs::remove_file(away.join("a.yaml")).unwrap();
    std::fs::rename(&away, &directory).unwrap();
    assert_eq!(followed.names().await, named_as(&[("b", 22)]));
    assert_eq!(followed.shown().0, None);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_is_tried_again_and_told_once() {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a.yaml"), ours("a", 1)).unwrap();
    symlink("nowhere", files.path().join("b.yaml")).unwrap();
    let mut followed = follow(Api::new(Ok(None)).client(), Some(files.path()), &[]);
    let read = followed.next().await;
    assert_eq!(named(&read), named_as(&[("a", 1)]));
    assert!(read.problems.len() == 1 && read.problems[0].contains("b.yaml: failed to look at it"), "{read:?}");
    followed.nothing_new().await;
    std::fs::write(files.path().join("nowhere"), ours("b", 1)).unwrap();
    assert_eq!(followed.names().await, named_as(&[("a", 1), ("b", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_config_map_that_is_missing_is_no_error_and_comes_alive_when_it_is_made() {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a.yaml"), ours("a", 1)).unwrap();
    let api = Api::new(Ok(None));
    let mut followed = follow(api.client(), Some(files.path()), &["checks"]);
    let read = followed.next().await;
    assert!(read.problems.is_empty(), "{read:?}");
    assert_eq!(named(&read), named_as(&[("a", 1)]));
    assert_eq!(followed.shown(), (None, "definitions: a; ConfigMap jobs/checks is not there".to_owned()));

    api.tell("ADDED", config_map(&pair("checks"))).await;
    let read = followed.next().await;
    assert_eq!(named(&read), named_as(&[("a", 1), ("checks", 2)]));
    assert_eq!(read.definitions[1].source, "ConfigMap jobs/checks");

    let mut both = pair("checks").to_vec();
    both.extend([("more.yaml", ours("more", 4)), ("twice.yaml", ours("a", 9)), ("README", String::new())]);
    api.tell("MODIFIED", config_map(&both)).await;
    let read = followed.next().await;
    assert_eq!(named(&read), named_as(&[("a", 1), ("checks", 2), ("more", 4)]));
    assert_eq!(read.definitions[2].source, "ConfigMap jobs/checks, more.yaml");
    let twice = format!("ConfigMap jobs/checks, twice.yaml: name: `a` is defined in {}/a.yaml already", files.path().display());
    assert_eq!(read.problems, [twice]);

    api.tell("DELETED", config_map(&both)).await;
    assert_eq!(followed.names().await, named_as(&[("a", 1)]));
    let asked = api.asked.lock().unwrap().clone();
    let one = |path: &String| path.starts_with("/api/v1/namespaces/jobs/configmaps?") && path.contains("metadata.name%3Dchecks");
    assert!(asked.iter().all(one), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_each_source_has_spoken_and_a_refusal_is_an_answer() {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a.yaml"), ours("a", 1)).unwrap();
    let api = Api::new(Err(403));
    let mut followed = follow(api.client(), Some(files.path()), &["checks"]);
    let read = followed.next().await;
    assert_eq!(named(&read), named_as(&[("a", 1)]));
    assert!(followed.shown().0.unwrap().contains("allow get, list and watch of it in a Role"), "{:?}", followed.shown());
    *api.map.lock().unwrap() = Ok(Some(config_map(&pair("checks"))));
    assert_eq!(followed.names().await, named_as(&[("a", 1), ("checks", 2)]));
    assert_eq!(followed.shown().0, None);

    let deaf = Client::new(
        tower::service_fn(|_: axum::http::Request<kube::client::Body>| async { Err::<Response, _>("no route") }),
        "default",
    );
    let mut waiting = follow(deaf, Some(files.path()), &["checks"]);
    waiting.nothing_new().await;
    let (error, detail) = waiting.shown();
    assert!(error.unwrap().contains("trying again") && detail.ends_with("ConfigMap jobs/checks was not read yet"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens_any_more() {
    let followed = follow(Api::new(Ok(None)).client(), None, &["checks"]);
    drop(followed.readings);
    tokio::time::timeout(Duration::from_secs(60), followed.task).await.unwrap().unwrap().unwrap();
}
