//! Serves an axum router over HTTP/1.1. Input: a bound listener; output: `Ok` once the token is cancelled and the requests
//! under way were answered. Run it as a task of the [`Supervisor`](crate::supervise::Supervisor).
//!
//! Long answers (server-sent events) must watch the token themselves, or they are cut off when the drain is over.

mod accept;

use std::error::Error;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, warn};

use accept::Accept;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// How long a client may take for the head of a request. It also ends idle keep-alive connections.
    pub header_read_timeout: Duration,
    /// Above this many, connections wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long requests under way may take once the token is cancelled. Keep it below the supervisor's grace.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { header_read_timeout: Duration::from_secs(30), max_connections: 512, drain: Duration::from_secs(5) }
    }
}

/// Handlers can extract `ConnectInfo<SocketAddr>`. A handler that panics loses its connection, nothing else.
pub async fn serve(listener: TcpListener, router: Router, options: ServeOptions, token: CancellationToken) -> anyhow::Result<()> {
    serve_over(listener, |stream| ready(Ok(stream)), router, options, token).await
}

/// As [`serve`], over what `handshake` makes of each connection: TLS, for instance. It has as long as the head of a request.
pub async fn serve_over<S, F>(
    listener: TcpListener,
    handshake: impl Fn(TcpStream) -> F,
    router: Router,
    options: ServeOptions,
    token: CancellationToken,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut accept = Accept::new(&listener, Arc::new(Semaphore::new(options.max_connections)));
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(options.header_read_timeout);

    loop {
        // Cancel-safe: an accept that is dropped has neither taken a connection nor kept its slot.
        let (stream, peer, slot) = tokio::select! {
            biased;
            () = token.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report_panic(ended);
                continue;
            }
            accepted = accept.next() => accepted?,
        };
        set_nodelay(&stream, peer);
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.call(request)
        });
        let (http, watcher, token) = (http.clone(), graceful.watcher(), token.clone());
        let handshake = tokio::time::timeout(options.header_read_timeout, handshake(stream));
        let connection = async move {
            // No request is under way yet that a shutdown would have to wait for.
            let stream = tokio::select! {
                () = token.cancelled() => return,
                stream = handshake => stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            };
            let ended = match stream {
                Ok(stream) => watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await.map_err(Into::into),
                Err(error) => Err::<(), Box<dyn Error + Send + Sync>>(error.into()),
            };
            if let Err(error) = ended {
                debug!(%peer, error = error.as_ref() as &dyn Error, "connection ended early");
            }
            drop(slot);
        };
        connections.spawn(connection.in_current_span());
    }

    drop(listener);
    if tokio::time::timeout(options.drain, graceful.shutdown()).await.is_err() {
        warn!(connections = connections.len(), drain = ?options.drain, "connections outlasted the drain and are cut off");
        connections.abort_all();
    }
    while let Some(ended) = connections.join_next().await {
        report_panic(ended);
    }
    Ok(())
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(error = &error as &dyn Error, "an HTTP handler panicked");
    }
}

fn set_nodelay(stream: &TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, error = &error as &dyn Error, "failed to set TCP_NODELAY");
    }
}
