//! Figures of finished jobs at a Pushgateway: a real one where there is one, and a double that fails.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use jobmeter_coordinator::config::export::PushgatewayConfig;
use jobmeter_coordinator::store::Change;
use jobmeter_decide::example::{at, owner};
use jobmeter_decide::job_view::{JobCondition, JobObject};
use tokio::net::TcpListener;

use crate::harness::{Running, api, apply, eventually, pod, whole};
use crate::objects::stores::{free_address, needed};

async fn pushing_to(url: String) -> Running {
    let pushgateway = PushgatewayConfig { url, timeout: Duration::from_secs(5) };
    Running::local_with(|config, _| {
        config.assembly.cluster = "site/a".to_owned();
        config.pushgateway = Some(pushgateway);
    })
    .await
}

fn job(name: &str, condition: JobCondition) -> Change {
    Change::Job(Box::new(JobObject {
        namespace: "bench".into(),
        owner: owner("batch/v1", "Job", name),
        parent: None,
        condition,
        created: Some(at(0.0)),
        finished: (condition != JobCondition::Active).then(|| at(50.0)),
    }))
}

/// Two pods of which one is of a benchmark; the job is still active.
async fn two_pods_end(coordinator: &Running) {
    let mut labelled = pod(1, "sort");
    labelled.labels.insert("cpe-benchmark".to_owned(), "suite".to_owned());
    let mut changes = vec![job("sort", JobCondition::Active), api(labelled, &[owner("batch/v1", "Job", "sort")])];
    changes.extend(whole(2, "sort"));
    changes.extend(whole(1, "sort").into_iter().skip(1));
    apply(coordinator.handle.store(), changes).await;
}

struct Gateway {
    paths: Arc<Mutex<Vec<(String, String)>>>,
    status: Arc<AtomicUsize>,
    url: String,
}

async fn gateway() -> Gateway {
    let (paths, status) = (Arc::<Mutex<Vec<(String, String)>>>::default(), Arc::new(AtomicUsize::new(200)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, answer) = (paths.clone(), status.clone());
    let handler = move |request: Request| async move {
        let path = format!("{} {}", request.method(), request.uri());
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        seen.lock().unwrap().push((path, String::from_utf8(body.to_vec()).unwrap()));
        // A failure is of one request.
        StatusCode::from_u16(answer.swap(200, Ordering::SeqCst) as u16).unwrap()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
    Gateway { paths, status, url }
}

async fn metric(coordinator: &Running, line: &str) {
    eventually(line, async || coordinator.get("/metrics").await.text().await.unwrap().contains(line).then_some(())).await;
}

#[tokio::test]
async fn a_job_is_pushed_once_when_it_is_finished_and_not_before() {
    let gateway = gateway().await;
    let coordinator = pushing_to(gateway.url.clone()).await;
    two_pods_end(&coordinator).await;
    // Long enough for the first look, which finds the job active.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(gateway.paths.lock().unwrap().len(), 0);

    apply(coordinator.handle.store(), vec![job("sort", JobCondition::Complete)]).await;
    metric(&coordinator, "jobmeter_pushgateway_pushes_total 1").await;
    let seen = gateway.paths.lock().unwrap().clone();
    let [(path, text)] = seen.as_slice() else { panic!("{seen:?}") };
    // `printf site/a | base64`
    assert_eq!(path, "PUT /metrics/job/sort/benchmark/suite/cluster@base64/c2l0ZS9h");
    for line in [
        "jobmeter_job_cpu_seconds 0.03",
        "jobmeter_job_memory_peak_bytes 2097152",
        "jobmeter_job_pods{outcome=\"completed\"} 2",
        "jobmeter_job_pods{outcome=\"failed\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn a_gateway_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let gateway = gateway().await;
    let coordinator = pushing_to(gateway.url.clone()).await;
    gateway.status.store(503, Ordering::SeqCst);
    two_pods_end(&coordinator).await;
    apply(coordinator.handle.store(), vec![job("sort", JobCondition::Failed)]).await;
    metric(&coordinator, "jobmeter_pushgateway_pushes_total 1").await;
    assert_eq!(gateway.paths.lock().unwrap().len(), 2);

    gateway.status.store(400, Ordering::SeqCst);
    let mut changes = whole(3, "merge");
    changes.push(job("merge", JobCondition::Complete));
    apply(coordinator.handle.store(), changes).await;
    metric(&coordinator, "jobmeter_pushgateway_failures_total{why=\"refused\"} 1").await;
    assert_eq!(gateway.paths.lock().unwrap().len(), 3);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_real_pushgateway_shows_the_figures_of_the_job() {
    let Some(binary) = needed("JOBMETER_PUSHGATEWAY") else { return };
    let address = free_address();
    let mut process = Command::new(binary)
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the Pushgateway listens", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    let coordinator = pushing_to(format!("http://{address}")).await;
    two_pods_end(&coordinator).await;
    apply(coordinator.handle.store(), vec![job("sort", JobCondition::Complete)]).await;
    metric(&coordinator, "jobmeter_pushgateway_pushes_total 1").await;
    let text = coordinator.http.get(format!("http://{address}/metrics")).send().await.unwrap().text().await.unwrap();
    drop(process.kill());
    drop(process.wait());
    let labels = "benchmark=\"suite\",cluster=\"site/a\",instance=\"\",job=\"sort\"";
    assert!(text.contains(&format!("jobmeter_job_cpu_seconds{{{labels}}} 0.03")), "{text}");
    assert!(text.contains("outcome=\"completed\"} 2"), "{text}");
    coordinator.stop().await;
}
