//! Asks the leader in somebody's name. Bodies pass in both directions as they come, a few chunks in memory.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use reqwest::Url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::error::ApiError;
use super::{PASSED_ON, headers};
use crate::leadership::{Leader, Standing};

/// Of the connection alone. An answer may take as long as it takes, and is given up when its leader no longer leads.
const CONNECT: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Proxy {
    http: reqwest::Client,
    name: HeaderValue,
    standing: watch::Receiver<Standing>,
    token: CancellationToken,
}

impl Proxy {
    pub(super) fn new(
        name: HeaderValue,
        standing: watch::Receiver<Standing>,
        token: CancellationToken,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // The leader is a neighbour; what the environment says of the way out does not concern it.
            .no_proxy()
            .build()?;
        Ok(Self { http, name, standing, token })
    }

    pub(super) async fn pass_on(&self, leader: &Leader, request: Request) -> Result<Response, ApiError> {
        let request = self.outgoing(leader, request)?;
        let mut over = Box::pin(over(self.standing.clone(), leader.clone(), self.token.clone()));
        // Cancel-safe: whichever comes first drops the other, and with it the request.
        let answer = tokio::select! {
            answer = self.http.execute(request) => answer.map_err(|err| unreachable(leader, &full(&err.without_url())))?,
            why = &mut over => return Err(unreachable(leader, why)),
        };
        let status = answer.status();
        let mut headers = answer.headers().clone();
        headers::strip(&mut headers);
        let body = futures::stream::unfold(Some((answer.bytes_stream(), over)), |passing| async move {
            let (mut chunks, mut over) = passing?;
            // An error ends the connection: what was cut off must not look whole. Cancel-safe: both only look.
            tokio::select! {
                biased;
                chunk = chunks.next() => match chunk? {
                    Ok(chunk) => Some((Ok(chunk), Some((chunks, over)))),
                    Err(err) => Some((Err(std::io::Error::other(err.without_url())), None)),
                },
                why = &mut over => Some((Err(std::io::Error::other(why)), None)),
            }
        });
        let mut response = Response::new(Body::from_stream(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn outgoing(&self, leader: &Leader, request: Request) -> Result<reqwest::Request, ApiError> {
        let address = leader.address.as_deref().ok_or_else(|| unreachable(leader, "it does not say where it can be reached"))?;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = Url::parse(&format!("{address}{path}")).map_err(|err| unreachable(leader, &format!("{address}: {err}")))?;
        let mut passed = reqwest::Request::new(parts.method, url);
        *passed.headers_mut() = parts.headers;
        headers::strip(passed.headers_mut());
        passed.headers_mut().remove(header::HOST);
        passed.headers_mut().insert(PASSED_ON, self.name.clone());
        // A request without a body stays one.
        if !body.is_end_stream() {
            *passed.body_mut() = Some(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        Ok(passed)
    }
}

/// Returns when that leader leads no more, or this process stops. Cancel-safe.
async fn over(mut standing: watch::Receiver<Standing>, leader: Leader, token: CancellationToken) -> &'static str {
    tokio::select! {
        () = token.cancelled() => "the coordinator that passed the request on is stopping",
        // An error: who knows the standing has ended, and the process ends with it.
        _ = standing.wait_for(|standing| standing.leader() != Some(&leader)) => "it does not lead any more",
    }
}

fn unreachable(leader: &Leader, why: &str) -> ApiError {
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("the coordinator that leads did not answer: {why}"));
    error.about(&leader.holder).hint("what was to be written may or may not have been; another one leads soon").later()
}

fn full(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| cause.source());
    causes.fold(err.to_string(), |text, cause| format!("{text}: {cause}"))
}
