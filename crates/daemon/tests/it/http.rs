//! The server against raw sockets.

use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use jobmeter_daemon::http::{ServeOptions, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const REQUEST: &[u8] = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n";
const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    token: CancellationToken,
    /// A request has reached its handler.
    reached: Arc<Notify>,
    /// Lets one held request go on.
    release: Arc<Notify>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    async fn start(options: ServeOptions) -> Self {
        let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let held = {
            let (reached, release) = (Arc::clone(&reached), Arc::clone(&release));
            move || async move {
                reached.notify_one();
                release.notified().await;
                "finished"
            }
        };
        let router = Router::new()
            .route("/held", get(held))
            .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
            .route("/panic", get(|| async { panic!("on purpose") as &str }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let token = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, options, token.clone()));
        Self { address, token, reached, release, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, path: &str) -> String {
        let mut client = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        rest_of(&mut client).await
    }

    async fn ended(self) {
        timeout(SOON, self.task).await.expect("the server did not end").unwrap().unwrap();
    }
}

async fn rest_of(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    timeout(SOON, client.read_to_string(&mut answer)).await.expect("the connection was not closed").unwrap();
    answer
}

#[tokio::test]
async fn a_request_under_way_is_answered_although_the_process_stops() {
    let server = Server::start(ServeOptions::default()).await;
    let mut client = server.connect().await;
    client.write_all(REQUEST).await.unwrap();
    server.reached.notified().await;

    server.token.cancel();
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(server.address).await.is_ok() {
        assert!(Instant::now() < deadline, "the listener stays open");
        tokio::task::yield_now().await;
    }
    server.release.notify_one();
    assert!(rest_of(&mut client).await.ends_with("finished"));
    server.ended().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_stop_back() {
    let server = Server::start(ServeOptions { drain: Duration::from_secs(600), ..ServeOptions::default() }).await;
    let mut kept_alive = server.connect().await;
    server.release.notify_one();
    kept_alive.write_all(REQUEST).await.unwrap();
    let mut answer = [0; 512];
    assert_ne!(kept_alive.read(&mut answer).await.unwrap(), 0);
    server.token.cancel();
    server.ended().await;
}

#[tokio::test]
async fn a_connection_that_never_asked_does_not_hold_the_stop_back() {
    let server = Server::start(ServeOptions { drain: Duration::from_secs(600), ..ServeOptions::default() }).await;
    let _silent = server.connect().await;
    assert!(server.ask("/peer").await.contains("200 OK"));
    server.token.cancel();
    server.ended().await;
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_cut_off() {
    let server = Server::start(ServeOptions { drain: Duration::from_millis(50), ..ServeOptions::default() }).await;
    let mut client = server.connect().await;
    client.write_all(REQUEST).await.unwrap();
    server.reached.notified().await;
    server.token.cancel();
    assert_eq!(rest_of(&mut client).await, "");
    server.ended().await;
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_disconnected() {
    let options = ServeOptions { header_read_timeout: Duration::from_millis(50), ..ServeOptions::default() };
    let server = Server::start(options).await;
    let mut client = server.connect().await;
    client.write_all(b"GET /held HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(rest_of(&mut client).await, "");
}

#[tokio::test]
async fn above_the_cap_a_connection_waits_for_a_free_slot() {
    let server = Server::start(ServeOptions { max_connections: 1, ..ServeOptions::default() }).await;
    let mut first = server.connect().await;
    first.write_all(REQUEST).await.unwrap();
    server.reached.notified().await;

    let mut second = server.connect().await;
    second.write_all(REQUEST).await.unwrap();
    let unanswered = timeout(Duration::from_millis(100), server.reached.notified()).await;
    assert!(unanswered.is_err(), "a second connection was served above the cap");

    server.release.notify_one();
    drop(first);
    timeout(SOON, server.reached.notified()).await.expect("the slot was not freed");
}

#[tokio::test]
async fn a_handler_that_panics_costs_its_own_connection_only() {
    let server = Server::start(ServeOptions::default()).await;
    assert_eq!(server.ask("/panic").await, "");
    let answer = server.ask("/peer").await;
    assert!(answer.contains("200 OK") && answer.ends_with("127.0.0.1"), "{answer}");
}
