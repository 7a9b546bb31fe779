use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;

/// Of a definition that says nothing more than it must; `more` is put over it.
pub(crate) fn settings(more: Value) -> RunSettings {
    let mut settings = json!({
        "name": "disks", "namespace": "bench", "pool": "run.disks", "own_pool_size": 2, "placement": "scheduler",
        "node_selector": {}, "unschedulable_nodes": false, "pod_template": "", "service_account": "", "image_pull_secrets": [],
        "retries": 0, "retry_delay": "PT0S", "canary": 0, "new_nodes": false, "overlap": "forbid", "history": 1,
        "result_required": false, "compatible": true, "save_pod_log": true, "report_directory": "/nowhere",
        "metrics": {"prefix": "p", "gauges": {}, "latest": false}
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

/// An API server that has these Services, and how often it was asked.
fn api(services: &'static [(&'static str, u16, &'static str)]) -> (kube::Client, Arc<AtomicUsize>) {
    let asked = Arc::<AtomicUsize>::default();
    let counted = asked.clone();
    let answer = move |uri: Uri| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let Some((_, code, spec)) = services.iter().find(|(path, ..)| *path == uri.path()) else {
                return status(404, "NotFound");
            };
            match code {
                200 => {
                    let spec: Value = serde_json::from_str(spec).unwrap();
                    let name = uri.path().rsplit('/').next().unwrap();
                    Json(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})).into_response()
                }
                code => status(*code, spec),
            }
        }
    };
    (kube::Client::new(Router::new().fallback(answer), "default"), asked)
}

fn status(code: u16, reason: &str) -> axum::response::Response {
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code});
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

const OWN: &str = "/api/v1/namespaces/jobmeter/services/jobmeter";
const NAMED: &str = "/api/v1/namespaces/bench/services/controller";
const TCP_8080: &str = r#"{"clusterIP": "10.96.0.9", "ports": [{"port": 8080}]}"#;

fn own_service() -> CallbacksConfig {
    CallbacksConfig { service: Some(("jobmeter".to_owned(), "jobmeter".to_owned())), ..CallbacksConfig::default() }
}

async fn found(client: kube::Client, config: CallbacksConfig, pod_ip: Option<&str>, more: Value) -> Result<String, AddressError> {
    let addresses = Addresses::new(client, config, pod_ip.map(str::to_owned));
    addresses.of(&settings(more)).await.map(|address| format!("{} {}", address.host, address.port))
}

#[tokio::test]
async fn what_is_configured_wins_and_nobody_is_asked() {
    let (client, asked) = api(&[(OWN, 200, TCP_8080)]);
    let config = CallbacksConfig { address: Some("jobs.example".to_owned()), ..own_service() };
    let more = json!({"callback_service": "controller", "callback_port": 8090});
    assert_eq!(found(client, config, Some("10.0.0.1"), more).await.unwrap(), "jobs.example 8090");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_definitions_service_is_preferred_to_ours_and_ours_to_the_pod() {
    const BOTH: &[(&str, u16, &str)] =
        &[(OWN, 200, TCP_8080), (NAMED, 200, r#"{"clusterIP": "10.96.0.7", "ports": [{"port": 9}, {"port": 8090}]}"#)];
    let more = json!({"callback_service": "controller", "callback_port": 8090});
    assert_eq!(found(api(BOTH).0, own_service(), Some("10.0.0.1"), more).await.unwrap(), "10.96.0.7 8090");
    assert_eq!(found(api(BOTH).0, own_service(), Some("10.0.0.1"), json!({})).await.unwrap(), "10.96.0.9 8080");
    assert_eq!(found(api(BOTH).0, CallbacksConfig::default(), Some("10.0.0.1"), json!({})).await.unwrap(), "10.0.0.1 8080");
}

#[tokio::test]
async fn a_service_that_does_not_have_the_port_or_is_not_there_is_passed_over() {
    let port = json!({"callback_port": 8090});
    assert_eq!(found(api(&[(OWN, 200, TCP_8080)]).0, own_service(), Some("10.0.0.1"), port).await.unwrap(), "10.0.0.1 8090");
    let gone = json!({"callback_service": "controller"});
    assert_eq!(found(api(&[(OWN, 200, TCP_8080)]).0, own_service(), None, gone.clone()).await.unwrap(), "10.96.0.9 8080");
    let err = found(api(&[]).0, own_service(), Some(""), gone).await.unwrap_err().to_string();
    for said in
        ["disks", "callbacks.address", "callbackServiceName", "POD_IP", "bench/controller is not there", "jobmeter/jobmeter"]
    {
        assert!(err.contains(said), "{said}: {err}");
    }
}

#[tokio::test]
async fn a_headless_service_is_called_by_its_name() {
    let (client, _) = api(&[(OWN, 200, r#"{"clusterIP": "None", "ports": [{"port": 1}]}"#)]);
    assert_eq!(found(client, own_service(), None, json!({})).await.unwrap(), "jobmeter.jobmeter.svc 8080");
}

#[tokio::test]
async fn what_may_not_be_read_names_the_right_and_what_fails_may_be_known_later() {
    let refused = found(api(&[(OWN, 403, "Forbidden")]).0, own_service(), Some("10.0.0.1"), json!({})).await.unwrap_err();
    assert!(refused.to_string().contains("get of services"), "{refused}");
    let failed = found(api(&[(OWN, 500, "InternalError")]).0, own_service(), Some("10.0.0.1"), json!({})).await.unwrap_err();
    assert!(matches!(failed, AddressError::Unknown { .. }), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_read_once_a_minute() {
    let (client, asked) = api(&[(OWN, 200, TCP_8080)]);
    let addresses = Addresses::new(client, own_service(), None);
    let of = settings(json!({}));
    let many = futures::future::join_all((0..50).map(|_| addresses.of(&of))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    addresses.of(&of).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn the_url_is_that_of_batch_job_controller_with_a_token() {
    let url = |host: &str, port| {
        Address { host: host.to_owned(), port }.report_url("node-a.example", "202611211930", "t0k_-n", "result")
    };
    let path = "report/node-a.example/202611211930/t0k_-n/result";
    assert_eq!(url("10.96.0.9", 8090).unwrap(), format!("http://10.96.0.9:8090/{path}"));
    assert_eq!(url("fd00::9", 8090).unwrap(), format!("http://[fd00::9]:8090/{path}"));
    assert_eq!(url("jobmeter.jobmeter.svc", 80).unwrap(), format!("http://jobmeter.jobmeter.svc/{path}"));
    let odd = Address { host: "h".to_owned(), port: 1 }.report_url("a/../b?c", "r", "t", "file").unwrap();
    assert_eq!(odd, "http://h:1/report/a%2F..%2Fb%3Fc/r/t/file");
}

#[test]
fn an_address_that_is_more_than_a_host_is_refused() {
    for host in
        ["", "jobs.example/path", "http://jobs.example", "jobs.example:80", "u@jobs.example", "a b", "jobs.example?x", "h#"]
    {
        let refused = Address { host: host.to_owned(), port: 8080 }.report_url("n", "r", "t", "file");
        assert_eq!(refused, Err(AddressError::NotAHost { host: host.to_owned() }), "{host}");
    }
}
