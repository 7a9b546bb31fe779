use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::*;
use crate::config::runs::CallbacksConfig;
use crate::execute::run_pods::fake_api::FakeApi;
use crate::runs::address::tests::settings;

const PODS: &str = "POST /api/v1/namespaces/bench/pods";
const OWN: &str = "GET /api/v1/namespaces/bench/pods/coordinator-0";
const NAME: &str = "disks-job-node-a-202611211930";
/// Of batch-job-controller's users: text in, with the three fields.
const TEMPLATE: &str = "
apiVersion: v1
kind: Pod
metadata:
  labels: {app: '{{ .NodeName }}'}
spec:
  containers:
    - name: main
      image: busybox
      command: ['sh', '-c', 'curl -d @result.json $(CALLBACK_SERVICE_RESULT_URL)']
";

fn pods(api: &FakeApi) -> KubeRunPods {
    pods_with(api, CallbacksConfig { address: Some("10.0.0.9".to_owned()), ..CallbacksConfig::default() }, None)
}

fn pods_with(api: &FakeApi, config: CallbacksConfig, own_pod: Option<(&str, &str)>) -> KubeRunPods {
    let client = api.client();
    let own_pod = own_pod.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let addresses = Arc::new(Addresses::new(client.clone(), config, None));
    KubeRunPods::new(client.clone(), TokenKey::new(b"secret"), addresses, Owner::new(client, own_pod))
}

fn wanted() -> CreatePod {
    CreatePod {
        run: "202611211930".to_owned(),
        settings: Arc::new(settings(json!({"pod_template": TEMPLATE}))),
        node: "node-a".to_owned(),
        attempt: 0,
        name: NAME.to_owned(),
    }
}

fn path() -> String {
    format!("/api/v1/namespaces/bench/pods/{NAME}")
}

/// A pod of that name that is there.
fn there(labels: Value, attempt: u32) -> Value {
    let task = format!("{{\"node\":\"node-a\",\"attempt\":{attempt}}}");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": NAME, "namespace": "bench", "uid": "u1", "labels": labels, "annotations": {"jobmeter.io/run-task": task}},
        "spec": {"containers": []}
    })
}

fn of_run() -> Value {
    json!({"jobmeter.io/run": "202611211930"})
}

#[tokio::test]
async fn a_pod_is_made_from_its_template_and_its_urls_carry_its_token() {
    let api = FakeApi::default();
    api.store(PODS);
    let Answer::Made(made) = pods(&api).create(&wanted()).await else { panic!("not made") };
    assert_eq!((made.uid.as_str(), made.node.as_str(), made.attempt), ("uid-of-it", "node-a", 0));
    let sent = &api.bodies(PODS)[0];
    assert_eq!(sent["metadata"]["labels"]["app"], "node-a");
    let token = TokenKey::new(b"secret").token("202611211930", "node-a", 0);
    let url = format!("http://10.0.0.9:8080/report/node-a/202611211930/{token}/result");
    let env = sent["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "CALLBACK_SERVICE_RESULT_URL", "value": url})), "{env:?}");
}

#[tokio::test]
async fn the_same_pod_twice_is_one_pod() {
    let api = FakeApi::default();
    api.refuse(PODS, 409, "AlreadyExists", "pods already exists");
    api.on(&format!("GET {}", path()), 200, there(of_run(), 0));
    let Answer::Made(made) = pods(&api).create(&wanted()).await else { panic!("not made") };
    assert_eq!(made.uid, "u1");
}

#[tokio::test]
async fn a_pod_of_somebody_else_is_not_taken_for_ours() {
    for (object, said) in [
        (there(json!({"app": "theirs"}), 0), "of somebody else"),
        (there(of_run(), 1), "run 202611211930, node node-a, attempt 1"),
        (there(json!({"jobmeter.io/run": "202611211929"}), 0), "run 202611211929"),
    ] {
        let api = FakeApi::default();
        api.refuse(PODS, 409, "AlreadyExists", "pods already exists");
        api.on(&format!("GET {}", path()), 200, object);
        let Answer::Refused { why } = pods(&api).create(&wanted()).await else { panic!("not refused") };
        assert!(why.contains(said) && why.contains(&format!("bench/{NAME}")), "{why}");
    }
}

#[tokio::test]
async fn a_refusal_says_the_api_servers_sentence_and_what_nobody_knows_is_not_called_one() {
    let api = FakeApi::default();
    for (code, reason) in [(403, "Forbidden"), (400, "BadRequest"), (422, "Invalid"), (404, "NotFound")] {
        api.refuse(PODS, code, reason, "pods \"x\" is forbidden: exceeded quota: pods");
        let answer = pods(&api).create(&wanted()).await;
        let Answer::Refused { why } = answer else { panic!("{code}: {answer:?}") };
        assert!(why.contains("exceeded quota"), "{why}");
    }
    for (code, reason) in
        [(500, "InternalError"), (504, "Timeout"), (429, "TooManyRequests"), (409, "Conflict"), (401, "Unauthorized")]
    {
        api.refuse(PODS, code, reason, "failed calling webhook");
        let answer = pods(&api).create(&wanted()).await;
        assert!(matches!(answer, Answer::Unknown { .. }), "{code}: {answer:?}");
    }
    api.silent(PODS);
    // Whoever calls loses patience; nothing is claimed.
    timeout(Duration::from_millis(50), pods(&api).create(&wanted())).await.unwrap_err();
}

#[tokio::test]
async fn no_pod_is_made_without_an_address_and_the_reason_names_the_keys() {
    let api = FakeApi::default();
    api.store(PODS);
    let Answer::Refused { why } = pods_with(&api, CallbacksConfig::default(), None).create(&wanted()).await else { panic!() };
    assert!(why.contains("callbacks.address"), "{why}");
    let config = CallbacksConfig { service: Some(("jobmeter".to_owned(), "jobmeter".to_owned())), ..CallbacksConfig::default() };
    api.refuse("GET /api/v1/namespaces/jobmeter/services/jobmeter", 503, "ServiceUnavailable", "later");
    let answer = pods_with(&api, config, None).create(&wanted()).await;
    assert!(matches!(answer, Answer::Unknown { .. }), "{answer:?}");
    assert_eq!(api.bodies(PODS).len(), 0);
}

#[tokio::test]
async fn a_template_that_cannot_be_used_is_a_refusal() {
    let api = FakeApi::default();
    api.store(PODS);
    for template in ["{{ .NodeName", "kind: Job", "spec: {containers: []}"] {
        let pod = CreatePod { settings: Arc::new(settings(json!({"pod_template": template}))), ..wanted() };
        let answer = pods(&api).create(&pod).await;
        assert!(matches!(&answer, Answer::Refused { why } if why.contains("template")), "{template}: {answer:?}");
    }
    assert_eq!(api.bodies(PODS).len(), 0);
}

#[tokio::test]
async fn pods_go_with_the_deployment_of_the_coordinator_and_it_is_looked_up_once() {
    let api = FakeApi::default();
    api.store(PODS);
    let owned = |kind: &str, name: &str, by: Value| json!({"kind": kind, "metadata": {"name": name, "uid": format!("uid-{name}"), "ownerReferences": by}});
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true}]);
    api.on(OWN, 200, owned("Pod", "coordinator-0", owner("ReplicaSet", "rs")));
    api.on(
        "GET /apis/apps/v1",
        200,
        json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
            {"name": "replicasets", "singularName": "", "namespaced": true, "kind": "ReplicaSet", "verbs": ["get"]},
            {"name": "deployments", "singularName": "", "namespaced": true, "kind": "Deployment", "verbs": ["get"]}
        ]}),
    );
    api.on("GET /apis/apps/v1/namespaces/bench/replicasets/rs", 200, owned("ReplicaSet", "rs", owner("Deployment", "jobmeter")));
    api.on("GET /apis/apps/v1/namespaces/bench/deployments/jobmeter", 200, owned("Deployment", "jobmeter", json!([])));
    let config = || CallbacksConfig { address: Some("10.0.0.9".to_owned()), ..CallbacksConfig::default() };
    let ours = pods_with(&api, config(), Some(("bench", "coordinator-0")));
    for _ in 0..2 {
        assert!(matches!(ours.create(&wanted()).await, Answer::Made(_)));
    }
    let expected = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "jobmeter", "uid": "uid-jobmeter"}]);
    assert!(api.bodies(PODS).iter().all(|sent| sent["metadata"]["ownerReferences"] == expected));
    assert_eq!(api.bodies(OWN).len(), 1);

    // An owner in another namespace would be the end of them.
    let elsewhere = pods_with(&api, config(), Some(("jobmeter", "coordinator-0")));
    assert!(matches!(elsewhere.create(&wanted()).await, Answer::Made(_)));
    assert_eq!(api.bodies(PODS)[2]["metadata"].get("ownerReferences"), None);
}

#[tokio::test]
async fn a_pod_is_deleted_by_its_uid_and_another_of_its_name_stays() {
    let api = FakeApi::default();
    let (delete, get) = (format!("DELETE {}", path()), format!("GET {}", path()));
    let ours = pods(&api);
    assert_eq!(ours.delete("bench", NAME, "u1").await, Answer::Gone);
    api.on(&delete, 200, there(of_run(), 0));
    assert_eq!(ours.delete("bench", NAME, "u1").await, Answer::Done);
    let body = &api.bodies(&delete)[1];
    assert_eq!((&body["preconditions"]["uid"], &body["propagationPolicy"]), (&json!("u1"), &json!("Background")));
    api.refuse(&delete, 409, "Conflict", "Precondition failed: UID in precondition: u2, UID in object meta: u1");
    api.on(&get, 200, there(of_run(), 0));
    assert_eq!(ours.delete("bench", NAME, "u2").await, Answer::Gone);
    assert!(matches!(ours.delete("bench", NAME, "u1").await, Answer::Unknown { .. }));
}

#[tokio::test]
async fn a_pod_is_bound_once_to_its_node() {
    let api = FakeApi::default();
    let bind = format!("POST {}/binding", path());
    let ours = pods(&api);
    api.on(&bind, 201, json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}));
    assert_eq!(ours.bind("bench", NAME, "u1", "node-a").await, Answer::Done);
    let sent = &api.bodies(&bind)[0];
    assert_eq!((&sent["target"]["name"], &sent["metadata"]["uid"]), (&json!("node-a"), &json!("u1")));

    api.refuse(&bind, 409, "Conflict", "pod is already assigned to node \"node-a\"");
    let mut there = there(of_run(), 0);
    there["spec"]["nodeName"] = json!("node-a");
    api.on(&format!("GET {}", path()), 200, there);
    assert_eq!(ours.bind("bench", NAME, "u1", "node-a").await, Answer::Done);
    assert!(matches!(ours.bind("bench", NAME, "u1", "node-b").await, Answer::Refused { why } if why.contains("node-a")));
    assert_eq!(ours.bind("bench", NAME, "u2", "node-a").await, Answer::Gone);
    api.refuse(&bind, 404, "NotFound", "pods not found");
    assert_eq!(ours.bind("bench", NAME, "u1", "node-a").await, Answer::Gone);
}

#[tokio::test]
async fn a_run_that_is_forgotten_takes_all_its_pods_along_and_no_others() {
    let api = FakeApi::default();
    let call = "DELETE /api/v1/namespaces/bench/pods";
    api.on(call, 200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [there(of_run(), 0)]}));
    assert_eq!(pods(&api).forget("bench", "202611211930").await, Answer::Done);
    assert_eq!(api.bodies(call)[0]["propagationPolicy"], "Background");
    assert!(api.calls()[0].contains("labelSelector=jobmeter.io%2Frun%3D202611211930"), "{:?}", api.calls());
    api.refuse(call, 403, "Forbidden", "pods is forbidden: cannot deletecollection");
    assert!(
        matches!(pods(&api).forget("bench", "202611211930").await, Answer::Refused { why } if why.contains("deletecollection"))
    );
}
