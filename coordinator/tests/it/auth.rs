//! Who may report: tokens that are right, wrong, missing, of another audience, of another node, of somebody else.

use serde_json::{Value, json};

use crate::fake_api::{FakeApi, JOBS, PODS};
use crate::harness::{NODE, Running, batch, evidence, heartbeat, readers};

const AGENT: &str = "system:serviceaccount:jobmeter:jobmeter-agent";

fn review(user: &str, audience: &str, extra: Value) -> Value {
    json!({"authenticated": true, "audiences": [audience], "user": {"username": user, "extra": extra}})
}

fn bound_to(node: &str) -> Value {
    json!({"authentication.kubernetes.io/node-name": [node]})
}

async fn coordinator(api: &FakeApi) -> (Running, tempfile::TempDir) {
    api.set_list(PODS, vec![]);
    api.set_list(JOBS, vec![]);
    let files = tempfile::tempdir().unwrap();
    (Running::kube(api.client(), files.path()).await, files)
}

fn report() -> String {
    serde_json::to_string(&batch(vec![evidence(1)])).unwrap()
}

#[tokio::test]
async fn only_the_agent_of_a_node_reports_for_it() {
    let api = FakeApi::new();
    let audience = "jobmeter-coordinator";
    api.token("good", review(AGENT, audience, bound_to(NODE)));
    api.token("of-node-b", review(AGENT, audience, bound_to("node-b")));
    api.token("somebody", review("system:serviceaccount:default:default", audience, bound_to(NODE)));
    api.token("other-audience", review(AGENT, "kubernetes", bound_to(NODE)));
    api.token("unbound", review(AGENT, audience, json!({})));
    api.token("old-cluster", review(AGENT, audience, json!({"authentication.kubernetes.io/pod-name": ["agent-x"]})));
    api.answer(
        "/api/v1/namespaces/jobmeter/pods/agent-x",
        200,
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent-x", "namespace": "jobmeter"},
            "spec": {"nodeName": NODE, "containers": []}
        }),
    );
    let (coordinator, _files) = coordinator(&api).await;
    let beat = |node| serde_json::to_string(&heartbeat(node, vec![])).unwrap();
    let at_node = format!("/v1/nodes/{NODE}/heartbeat");
    for (token, code, word) in [
        ("good", 200, ""),
        ("old-cluster", 200, ""),
        ("expired", 401, "invalid bearer token"),
        ("other-audience", 401, "not for audience jobmeter-coordinator"),
        ("somebody", 403, "system:serviceaccount:default:default is not an agent"),
        ("unbound", 403, "not bound to a node"),
        ("of-node-b", 403, "node-b"),
    ] {
        for (path, body) in [("/v1/reports", report()), (at_node.as_str(), beat(NODE))] {
            let response = coordinator.post(path, token, body).await;
            assert_eq!(response.status(), code, "{token} at {path}");
            let text = response.text().await.unwrap();
            assert!(text.contains(word) && !text.contains(&format!("\"{token}\"")), "{token}: {text}");
        }
    }
    let anonymous = coordinator.http.post(coordinator.url("/v1/reports")).body(report()).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    assert_eq!(anonymous.headers()["www-authenticate"], "Bearer");
    let proxied = coordinator.http.post(coordinator.url("/v1/reports")).header("X-Jobmeter-Authorization", "Bearer good");
    assert_eq!(proxied.body(report()).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_is_reviewed_once_in_a_minute() {
    let api = FakeApi::new();
    api.token("good", review(AGENT, "jobmeter-coordinator", bound_to(NODE)));
    let (coordinator, _files) = coordinator(&api).await;
    for _ in 0..5 {
        assert_eq!(coordinator.post("/v1/reports", "good", report()).await.status(), 200);
        assert_eq!(coordinator.post("/v1/reports", "bad", report()).await.status(), 401);
    }
    assert_eq!(api.reviews(), 2);
}

#[tokio::test]
async fn without_an_api_server_agents_are_asked_to_come_again() {
    let api = FakeApi::new();
    api.token("good", review(AGENT, "jobmeter-coordinator", bound_to(NODE)));
    let (coordinator, _files) = coordinator(&api).await;
    api.set_down(true);
    let response = coordinator.post("/v1/reports", "good", report()).await;
    assert_eq!((response.status().as_u16(), response.headers().contains_key("retry-after")), (503, true));
    // It was no word about the token, and is not remembered.
    api.set_down(false);
    assert_eq!(coordinator.post("/v1/reports", "good", report()).await.status(), 200);
}

#[tokio::test]
async fn reading_can_be_made_to_need_a_token() {
    let coordinator = Running::local_with(|config, files| {
        let path = files.join("readers");
        std::fs::write(&path, "may-read\n").unwrap();
        config.readers = readers(&path);
    })
    .await;
    for path in ["/v1/records", "/v1/jobs", "/v1/nodes", "/v1/live", "/v1/records?watch"] {
        assert_eq!(coordinator.get(path).await.status(), 401, "{path}");
        let request = || coordinator.http.get(coordinator.url(path));
        assert_eq!(request().bearer_auth("guess").send().await.unwrap().status(), 401, "{path}");
        assert_eq!(request().bearer_auth("may-read").send().await.unwrap().status(), 200, "{path}");
        let proxied = request().header("x-jobmeter-authorization", "bearer may-read").send().await.unwrap();
        assert_eq!(proxied.status(), 200, "{path}");
    }
    // Probes and Prometheus have no token.
    assert_eq!(coordinator.get("/livez").await.status(), 200);
    assert_eq!(coordinator.get("/metrics").await.status(), 200);
    // Who may read may not write.
    assert_eq!(coordinator.post("/v1/reports", "may-read", report()).await.status(), 401);
}
