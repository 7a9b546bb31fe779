use jobmeter_decide::runs::PodPhase;
use serde_json::{Value, json};

use super::*;
use crate::execute::run_pods::fake_api::FakeApi;

const POD: &str = "/api/v1/namespaces/bench/pods/disks-job-node-a-1";

fn ended() -> RunPod {
    RunPod {
        run: "202611211930".to_owned(),
        node: "node-a.example".to_owned(),
        attempt: 0,
        namespace: "bench".to_owned(),
        name: "disks-job-node-a-1".to_owned(),
        uid: "u1".to_owned(),
        phase: PodPhase::Succeeded,
        created: jiff::Timestamp::UNIX_EPOCH,
        admitted: None,
        started: None,
        finished: None,
        exit_code: Some(0),
        reason: None,
        waiting: None,
        deleting: false,
        bound: None,
    }
}

fn container(name: &str, id: &str) -> Value {
    json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0, "containerID": id})
}

fn there(uid: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "disks-job-node-a-1", "namespace": "bench", "uid": uid},
        "spec": {"containers": [{"name": "main"}, {"name": "never"}], "initContainers": [{"name": "fetch"}]},
        "status": {
            "initContainerStatuses": [container("fetch", "containerd://a")],
            "containerStatuses": [container("main", "containerd://b"), container("never", "")]
        }
    })
}

fn api() -> FakeApi {
    let api = FakeApi::default();
    api.on(&format!("GET {POD}"), 200, there("u1"));
    api
}

fn log(container: &str) -> String {
    format!("GET {POD}/log?&container={container}&limitBytes={}", MOST_BYTES + 1)
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn pods(api: &FakeApi) -> Api<Pod> {
    Api::namespaced(api.client(), "bench")
}

#[tokio::test]
async fn every_container_that_ran_has_its_log_where_batch_job_controller_had_it() {
    let (api, directory) = (api(), tempfile::tempdir().unwrap());
    api.text(&log("fetch"), "fetched\n");
    api.text(&log("main"), "one\ntwo");
    save(pods(&api), &ended(), directory.path()).await.unwrap();
    assert_eq!(files(directory.path()), ["node-a.example-container-fetch.log", "node-a.example-container-main.log"]);
    let main = std::fs::read_to_string(directory.path().join("node-a.example-container-main.log")).unwrap();
    assert_eq!(main, "one\ntwo");
}

#[tokio::test]
async fn one_log_that_cannot_be_read_costs_no_other_and_leaves_no_half() {
    let (api, directory) = (api(), tempfile::tempdir().unwrap());
    api.refuse(&log("fetch"), 400, "BadRequest", "container \"fetch\" is waiting to start");
    api.text(&log("main"), "one\n");
    let err = save(pods(&api), &ended(), directory.path()).await.unwrap_err().to_string();
    assert!(err.contains("container fetch") && err.contains("waiting to start"), "{err}");
    assert_eq!(files(directory.path()), ["node-a.example-container-main.log"]);
}

#[tokio::test]
async fn a_log_that_is_too_long_ends_with_a_line_that_says_so() {
    let (api, directory) = (FakeApi::default(), tempfile::tempdir().unwrap());
    api.text(&format!("GET {POD}/log"), "0123456789abcdef");
    let path = directory.path().join("n-container-main.log");
    let (of, files) = (("disks-job-node-a-1", "main"), RunFiles::there(directory.path()).unwrap());
    copy(&pods(&api), of, (&files, "n-container-main.log"), 10).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "0123456789\n[jobmeter: cut here; only the first 10 bytes of this log are saved]\n");
    copy(&pods(&api), of, (&files, "n-container-main.log"), 16).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0123456789abcdef");
}

#[tokio::test]
async fn a_pod_that_is_gone_has_no_log_nor_has_another_of_its_name() {
    let (api, directory) = (FakeApi::default(), tempfile::tempdir().unwrap());
    let gone = SaveLogsError::Gone { namespace: "bench".to_owned(), pod: "disks-job-node-a-1".to_owned() };
    assert_eq!(save(pods(&api), &ended(), directory.path()).await, Err(gone.clone()));
    api.on(&format!("GET {POD}"), 200, there("u2"));
    assert_eq!(save(pods(&api), &ended(), directory.path()).await, Err(gone));
    assert_eq!(files(directory.path()), [""; 0]);
}

#[tokio::test]
async fn a_directory_that_went_is_not_made_anew() {
    let (api, directory) = (api(), tempfile::tempdir().unwrap());
    api.text(&log("main"), "one\n");
    api.text(&log("fetch"), "one\n");
    let gone = directory.path().join("202611211930");
    assert!(save(pods(&api), &ended(), &gone).await.is_err());
    assert!(!gone.exists());
}

#[tokio::test]
async fn no_log_is_written_through_a_link_that_somebody_put_into_the_volume() {
    let (api, directory, elsewhere) = (api(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    api.text(&log("main"), "one\n");
    api.text(&log("fetch"), "one\n");
    let precious = elsewhere.path().join("precious");
    std::fs::write(&precious, "mine").unwrap();
    for name in [".node-a.example-container-main.log.part", "node-a.example-container-main.log"] {
        std::os::unix::fs::symlink(&precious, directory.path().join(name)).unwrap();
    }
    save(pods(&api), &ended(), directory.path()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(directory.path().join("node-a.example-container-main.log")).unwrap(), "one\n");

    let run = directory.path().join("202611211930");
    std::os::unix::fs::symlink(elsewhere.path(), &run).unwrap();
    assert!(save(pods(&api), &ended(), &run).await.is_err());
    assert_eq!(files(elsewhere.path()), ["precious"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_never_comes_is_given_up() {
    let (api, directory) = (api(), tempfile::tempdir().unwrap());
    api.silent(&log("main"));
    api.silent(&log("fetch"));
    let err = save(pods(&api), &ended(), directory.path()).await.unwrap_err().to_string();
    assert!(err.contains("no answer within 15 seconds"), "{err}");
    assert_eq!(files(directory.path()), [""; 0]);
}
