//! What a replica answers that does not lead: reads of the store and of stored logs by itself, all else by asking the leader.
//!
//! Input: requests, and who leads ([`Standing`]). Output: the leader's answers, byte for byte and as they come; without a leader
//! 503 and the reason. Nothing is tried twice: whoever asks knows whether that is right.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use crate::CoordinatorHandle;
use crate::leadership::Standing;
use proxy::Proxy;

mod headers;
mod proxy;

/// Names the replica that passed a request on. A second one does not pass it on again.
pub const PASSED_ON: HeaderName = HeaderName::from_static("x-jobmeter-passed-on-by");

/// What is the leader's to answer unless the shared store knows it: the API, and what pods of runs post and people read of it.
const API: [&str; 3] = ["/v1", "/report", "/reports"];

/// Cheap to clone.
#[derive(Clone)]
pub struct Follower {
    standing: watch::Receiver<Standing>,
    proxy: Proxy,
}

impl Follower {
    /// `identity` is this replica's. The token ends what is being passed on.
    pub fn new(standing: watch::Receiver<Standing>, identity: &str, token: CancellationToken) -> Result<Self, reqwest::Error> {
        // An identity is `<pod>_<uuid>`: visible ASCII.
        let name = HeaderValue::from_str(identity).unwrap_or(HeaderValue::from_static("another"));
        Ok(Self { proxy: Proxy::new(name, standing.clone(), token)?, standing })
    }

    /// `/v1` of a replica that has no store: the leader answers everything.
    pub fn router(&self) -> Router {
        Router::new().fallback(pass_on).with_state(self.clone())
    }

    fn leads(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Leading { .. })
    }

    async fn pass_on(&self, request: Request) -> Response {
        if !is_of_the_api(request.uri().path()) {
            let error = ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path");
            return error.about(request.uri().path()).into_response();
        }
        if request.headers().contains_key(PASSED_ON) {
            let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the coordinator that was asked does not lead any more");
            return error.hint("the replicas are changing places; ask again").later().into_response();
        }
        let standing = self.standing.borrow().clone();
        let Some(leader) = standing.leader() else {
            let why = match &standing {
                // Before its store is open.
                Standing::Leading { .. } => "this coordinator has just begun to lead and is not ready yet".to_owned(),
                following => format!("no coordinator leads now: {following}"),
            };
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why).later().into_response();
        };
        self.proxy.pass_on(leader, request).await.unwrap_or_else(IntoResponse::into_response)
    }
}

/// Before the routes of a replica with a store.
pub(super) async fn layer(State(coordinator): State<CoordinatorHandle>, request: Request, next: Next) -> Response {
    let Some(follower) = coordinator.follower().filter(|follower| !follower.leads()) else { return next.run(request).await };
    let logs_are_here = !coordinator.logs_are_in_a_directory();
    if answered_here(&request, logs_are_here) { next.run(request).await } else { follower.pass_on(request).await }
}

/// `logs_are_here`: their objects can be read by every replica.
fn answered_here(request: &Request, logs_are_here: bool) -> bool {
    let path = request.uri().path();
    let below = |collection: &str| is_below(path, collection);
    if !API.into_iter().any(below) {
        return true;
    }
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    // What is written is told where it is written.
    let watches = request.uri().query().is_some_and(|query| query.split('&').any(|part| part.starts_with("watch")));
    read && !watches
        && (below("/v1/records")
            || below("/v1/jobs")
            || below("/v1/runs")
            || path == "/v1/logs"
            || (below("/v1/logs") && logs_are_here))
}

fn is_below(path: &str, collection: &str) -> bool {
    path.strip_prefix(collection).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// As it stands, and as whoever asks the leader in our name would read it: no segment leads out of [`API`].
fn is_of_the_api(path: &str) -> bool {
    let leads_out = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    API.into_iter().any(|api| is_below(path, api)) && !path.split(['/', '\\']).any(leads_out)
}

async fn pass_on(State(follower): State<Follower>, request: Request) -> Response {
    follower.pass_on(request).await
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn here(method: Method, uri: &str, logs_are_here: bool) -> bool {
        answered_here(&Request::builder().method(method).uri(uri).body(Body::empty()).unwrap(), logs_are_here)
    }

    #[test]
    fn a_follower_answers_what_the_shared_store_knows_and_nothing_that_the_leader_alone_knows() {
        for uri in [
            "/v1/records?limit=2",
            "/v1/records/abc",
            "/v1/jobs",
            "/v1/jobs/bench/sort",
            "/v1/logs?pod=x",
            "/v1/logs/bench/p",
            "/v1/runs?definition=checks",
            "/v1/runs/202611211930",
            "/v1/runs/202611211930/results",
        ] {
            assert!(here(Method::GET, uri, true), "{uri}");
            assert!(!here(Method::POST, uri, true), "{uri}");
        }
        for uri in [
            "/v1/nodes",
            "/v1/live",
            "/v1/pools",
            "/v1/recordsets",
            "/v1/records?watch",
            "/v1/records?limit=1&watch=true",
            "/v1/run-definitions",
            "/v1/runs?watch",
            "/reports",
            "/reports/checks/latest/node-a.json",
        ] {
            assert!(!here(Method::GET, uri, true), "{uri}");
        }
        for uri in
            ["/v1/runs", "/v1/runs/202611211930/cancel", "/v1/runs/202611211930/retry", "/report/node-a/202611211930/t/result"]
        {
            assert!(!here(Method::POST, uri, true), "{uri}");
        }
        for uri in ["/favicon.ico", "/reporting", "/metrics"] {
            assert!(here(Method::GET, uri, true), "{uri}");
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_api_is_not_passed_on() {
        for path in [
            "/v1",
            "/v1/nodes",
            "/v1/logs/bench/..p",
            "/v1/a%2Fb",
            "/v1/logs/a.b",
            "/report/node-a/202611211930/t/file",
            "/reports",
            "/reports/checks/202611211930/node-a-disk..txt",
        ] {
            assert!(is_of_the_api(path), "{path}");
        }
        for path in [
            "/",
            "/metrics",
            "/v1x",
            "//v1/nodes",
            "*",
            "/v1/../metrics",
            "/v1/%2E%2e/status",
            "/v1/.%2e/x",
            r"/v1\..\x",
            r"/v1/a\..\..\x",
            "/report/../metrics",
            "/reports/%2e%2E/metrics",
            r"/reports\..\metrics",
            "/reporting/x",
            "/reportsx",
        ] {
            assert!(!is_of_the_api(path), "{path}");
        }
    }

    #[test]
    fn logs_in_the_leaders_own_directory_are_the_leaders_to_read() {
        assert!(here(Method::GET, "/v1/logs", false));
        assert!(!here(Method::GET, "/v1/logs/bench/p", false));
    }
}
