//! Which paths a port answers, and what they are called at the coordinator's own.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use crate::callbacks::browse::ALL;

/// `None`: nothing is there.
pub(super) type Map = fn(&str) -> Option<String>;

pub(super) fn files(path: &str) -> Option<String> {
    Some(format!("/reports/{ALL}{path}"))
}

pub(super) fn metrics(path: &str) -> Option<String> {
    (path == "/metrics").then(|| path.to_owned())
}

/// Who is alive is not started again for waiting for something else.
pub(super) fn health(path: &str) -> Option<String> {
    match path {
        "/healthz" => Some("/livez".to_owned()),
        "/readyz" => Some(path.to_owned()),
        _ => None,
    }
}

pub(super) fn callbacks(path: &str) -> Option<String> {
    path.starts_with("/report/").then(|| path.to_owned())
}

pub(super) fn only(map: Map, behind: Router) -> Router {
    Router::new().fallback(answer).with_state((map, behind))
}

async fn answer(State((map, behind)): State<(Map, Router)>, mut request: Request) -> Response {
    let Some(uri) = map(request.uri().path()).and_then(|path| renamed(&path, request.uri())) else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    *request.uri_mut() = uri;
    let answered: Result<Response, std::convert::Infallible> = behind.oneshot(request).await;
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn renamed(path: &str, uri: &Uri) -> Option<Uri> {
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}
