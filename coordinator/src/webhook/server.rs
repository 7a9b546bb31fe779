//! `POST /pool` over TLS: one admission review in, one out.
//!
//! The API server closes the connection after its own timeout and then refuses the pod; whoever made it tries again.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jobmeter_daemon::http::{ServeOptions, serve_over};
use jobmeter_decide::gating::Choice;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch::Receiver;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::metrics::WebhookMetrics;
use super::review::review;
use super::served::Served;

/// An object of etcd's largest size, as JSON, and what is around it.
const MAX_BODY: usize = 3 << 20;

const OPTIONS: ServeOptions =
    ServeOptions { header_read_timeout: Duration::from_secs(30), max_connections: 256, drain: Duration::from_secs(5) };

#[derive(Clone)]
pub(super) struct Reviews {
    pub(super) gating: Receiver<Option<Choice>>,
    pub(super) metrics: WebhookMetrics,
}

pub(super) fn acceptor(served: Served) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(served));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) async fn run(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    reviews: Reviews,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new().route("/pool", post(pool)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(reviews);
    serve_over(listener, move |stream| acceptor.accept(stream), router, OPTIONS, token).await
}

async fn pool(State(reviews): State<Reviews>, body: Result<Bytes, BytesRejection>) -> Response {
    let Some(gating) = reviews.gating.borrow().as_ref().map(|choice| choice.gating) else {
        reviews.metrics.reviewed("other", "unavailable");
        let why = "the coordinator does not know the API server's version yet; try again in a moment\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            reviews.metrics.reviewed("other", "malformed");
            return rejection.into_response();
        }
    };
    match review(&body, gating) {
        Ok(reviewed) => {
            reviews.metrics.reviewed(reviewed.kind, reviewed.answer);
            Json(reviewed.review).into_response()
        }
        Err(malformed) => {
            reviews.metrics.reviewed("other", "malformed");
            tracing::warn!(error = &malformed as &dyn std::error::Error, "refused what is no admission review");
            (StatusCode::BAD_REQUEST, format!("{malformed}\n")).into_response()
        }
    }
}
