use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::Request;
use jobmeter_daemon::admin::{Admin, SourceState, router};
use jobmeter_protocol::runs::StoredRun;

use super::board::SOURCE;
use super::*;
use crate::callbacks::ports as named_ports;
use crate::callbacks::tests::{RUN, settings, stored};
use crate::runs::view::RunsSnapshot;

fn with_port(port: u16) -> Arc<StoredRun> {
    let mut settings = settings("scan", std::path::Path::new("/nowhere"));
    settings.callback_port = Some(port);
    stored(RUN, settings, &["a"])
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let response = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

async fn answers(port: u16, path: &str) -> (u16, String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = get(port, path).await {
            return answer;
        }
        assert!(Instant::now() < deadline, "nobody answers at port {port}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Says which path it was asked for.
fn echo(admin: &Admin) -> Router {
    router(admin.clone()).fallback(async |request: Request| format!("asked {}", request.uri()))
}

struct Running {
    sources: SourceBoard,
    ports: CallbackPorts,
    token: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

fn run(ports: CompatiblePorts, behind: Router, sources: SourceBoard) -> Running {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut supervisor = Supervisor::without_signals(Duration::from_secs(5));
    let parts = ListenerParts { ports, listen: at(1), behind, sources: sources.clone() };
    let (ports, token) = (start(parts, &mut supervisor), supervisor.token());
    let ended = tokio::spawn(async move {
        supervisor.run().await;
    });
    Running { sources, ports, token, ended }
}

impl Running {
    async fn stop(self) {
        self.token.cancel();
        self.ended.await.unwrap();
    }
}

#[tokio::test]
async fn the_ports_of_batch_job_controller_answer_what_they_did() {
    let (files, metrics, health) = (free_port().await, free_port().await, free_port().await);
    let ports = CompatiblePorts { files: Some(at(files)), metrics: Some(at(metrics)), health: Some(at(health)) };
    let admin = Admin::default();
    let gate = admin.readiness.gate("store");
    let running = run(ports, echo(&admin), admin.sources.clone());
    assert_eq!(answers(files, "/latest/a%20b.json?x=1").await.1, "asked /reports/-/latest/a%20b.json?x=1");
    assert_eq!(answers(files, "/").await.1, "asked /reports/-/");
    assert_eq!(answers(metrics, "/metrics").await.0, 200);
    assert_eq!(answers(metrics, "/v1/records").await.0, 404);
    assert_eq!(answers(health, "/readyz").await.0, 503);
    assert_eq!(answers(health, "/healthz").await.0, 200, "who waits for something else is not to be started again");
    gate.ready();
    assert_eq!(answers(health, "/readyz").await.0, 200);
    assert_eq!(answers(health, "/metrics").await.0, 404);
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_a_run_names_is_opened_when_it_is_known_and_stays_open() {
    let (view, desk) = RunsView::new();
    let (first, second) = (free_port().await, free_port().await);
    let admin = Admin::default();
    let running = run(CompatiblePorts::default(), echo(&admin), admin.sources.clone());
    running.ports.follow(view);
    let publish = |port: Option<u16>| {
        let runs = port.map(|port| (RUN.to_owned(), with_port(port)));
        desk.publish(RunsSnapshot { definitions: vec![], runs: runs.into_iter().collect::<BTreeMap<_, _>>() });
    };
    publish(Some(first));
    assert_eq!(answers(first, "/report/a/b/c/result").await.1, "asked /report/a/b/c/result");
    assert_eq!(answers(first, "/v1/records").await.0, 404, "nothing but callbacks");
    publish(Some(second));
    assert_eq!(answers(second, "/report/x").await.0, 200);
    publish(None);
    assert_eq!(answers(first, "/report/x").await.0, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_replica_that_does_not_lead_learns_the_ports_from_the_one_that_does() {
    let port = free_port().await;
    let leader = Router::new().fallback(async move |request: Request| match request.uri().path() {
        named_ports::PATH => format!("[{port}]"),
        path => format!("asked {path}"),
    });
    let running = run(CompatiblePorts::default(), leader, SourceBoard::default());
    assert_eq!(answers(port, "/report/a/b/result").await.1, "asked /report/a/b/result");
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_nothing_else_is_lost() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (taken_port, free) = (taken.local_addr().unwrap().port(), free_port().await);
    let admin = Admin::default();
    let ports = CompatiblePorts { files: Some(at(taken_port)), metrics: Some(at(free)), health: None };
    let running = run(ports, echo(&admin), admin.sources.clone());
    assert_eq!(answers(free, "/metrics").await.0, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let source = running.sources.snapshot().remove(SOURCE).unwrap();
        if let SourceState::Failed { error } = &source.state {
            assert!(error.contains(&format!("cannot listen at 127.0.0.1:{taken_port}")), "{error}");
            break;
        }
        assert!(Instant::now() < deadline, "{source:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
}
