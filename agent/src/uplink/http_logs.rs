//! [`LogUplink`] over HTTP: JSON to the coordinator, pieces straight to the store or, by a path of its own, to the coordinator.
//!
//! The two are never mixed up: the agent's token goes to the coordinator's address and nowhere else, and what a store's URL
//! holds behind its path is a signature, so it is in no error and no log.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, Target, TargetsReply, TargetsRequest, TicketReply,
    TicketRequest,
};
use reqwest::{RequestBuilder, Response, StatusCode, Url, header::ETAG};

use super::{
    LogUplink, PutError, UplinkError,
    http::{HttpUplink, retry_after, shown},
};

/// A store may have to put a thousand parts together.
const COMPLETE: Duration = Duration::from_secs(300);
/// Of a put: before and after its bytes.
const PUT: Duration = Duration::from_secs(30);
/// Bytes a second. A store that takes less is as good as away.
const SLOWEST: u64 = 64 * 1024;

impl LogUplink for HttpUplink {
    fn ticket(&self, request: TicketRequest) -> BoxFuture<'_, Result<TicketReply, UplinkError>> {
        async move { self.answer(self.client.post(self.url(&["v1", "logs", "tickets"])?).json(&request)).await }.boxed()
    }

    fn multipart(&self, request: MultipartRequest) -> BoxFuture<'_, Result<MultipartReply, UplinkError>> {
        async move { self.answer(self.client.post(self.url(&["v1", "logs", "multipart"])?).json(&request)).await }.boxed()
    }

    fn targets(&self, request: TargetsRequest) -> BoxFuture<'_, Result<TargetsReply, UplinkError>> {
        async move { self.answer(self.client.post(self.url(&["v1", "logs", "targets"])?).json(&request)).await }.boxed()
    }

    fn put<'a>(&'a self, target: &'a Target, ca_pem: Option<&'a str>, body: Bytes) -> BoxFuture<'a, Result<String, PutError>> {
        async move {
            let (request, whose) = self.request(target, ca_pem)?;
            let timeout = PUT + Duration::from_secs(body.len() as u64 / SLOWEST);
            let mut request = request.timeout(timeout).body(body);
            for (name, value) in &target.headers {
                request = request.header(name, value);
            }
            let response = request.send().await.map_err(|err| unreachable(&target.url, err))?;
            etag(response, whose).await
        }
        .boxed()
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteReply, UplinkError>> {
        async move {
            let url = self.url(&["v1", "logs", "complete"])?;
            self.answer(self.client.post(url).timeout(COMPLETE).json(&request)).await
        }
        .boxed()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Stores,
    Coordinators,
}

impl HttpUplink {
    fn request(&self, target: &Target, ca_pem: Option<&str>) -> Result<(RequestBuilder, Whose), PutError> {
        if target.url.starts_with("/v1/") {
            let url = self.base.join(target.url.trim_start_matches('/')).map_err(|err| no_target(&target.url, &err))?;
            let request = self.authorized(self.client.put(url)).map_err(|err| PutError::Unreachable(Box::new(err)))?;
            return Ok((request, Whose::Coordinators));
        }
        let url = Url::parse(&target.url).map_err(|err| no_target(&target.url, &err))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(no_target(&target.url, &"neither http nor https"));
        }
        let client = self.stores.client(ca_pem).map_err(|err| unreachable(&target.url, err))?;
        Ok((client.put(url), Whose::Stores))
    }
}

async fn etag(response: Response, whose: Whose) -> Result<String, PutError> {
    let status = response.status();
    let number = status.as_u16();
    if status.is_success() {
        let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
        return etag.map(str::to_owned).ok_or(PutError::NoEtag);
    }
    let retry_after = retry_after(&response);
    let busy = PutError::Busy { status: number, retry_after };
    if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
        return Err(busy);
    }
    let body = shown(response).await;
    match (status, whose) {
        (StatusCode::GONE, _) => Err(PutError::Gone { status: number }),
        (StatusCode::NOT_FOUND, _) if body.contains("NoSuchUpload") => Err(PutError::Gone { status: number }),
        // A coordinator that is being replaced has no such route; one that has says what it does not find.
        (StatusCode::NOT_FOUND, Whose::Coordinators) if body.is_empty() => Err(busy),
        (StatusCode::NOT_FOUND, Whose::Coordinators) => Err(PutError::Gone { status: number }),
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Whose::Coordinators) => {
            Err(PutError::Refused { status: number, body })
        }
        (_, Whose::Coordinators) => Err(PutError::Declined { status: number, body }),
        (_, Whose::Stores) => Err(PutError::Refused { status: number, body: code_and_message(&body) }),
    }
}

/// All that may be shown of a store's answer: beside them there may be the signature and what was signed.
fn code_and_message(body: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(text, _)| text.trim())
    };
    match (element("Code"), element("Message")) {
        (None, None) => "it does not say why".to_owned(),
        (code, message) => [code, message].into_iter().flatten().collect::<Vec<_>>().join(": "),
    }
}

/// Host and path only.
fn place(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn unreachable(url: &str, err: reqwest::Error) -> PutError {
    PutError::Unreachable(Box::new(At { place: place(url).to_owned(), source: err.without_url() }))
}

fn no_target(url: &str, why: &dyn std::fmt::Display) -> PutError {
    PutError::Unreachable(format!("{:?} is no address to put to: {why}", place(url)).into())
}

#[derive(Debug, thiserror::Error)]
#[error("failed to put to {place}")]
struct At {
    place: String,
    source: reqwest::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_stores_refusal_only_code_and_message_are_shown() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The signature is wrong.</Message>\
                    <StringToSign>AWS4-HMAC-SHA256 secret</StringToSign></Error>";
        assert_eq!(code_and_message(body), "SignatureDoesNotMatch: The signature is wrong.");
        assert_eq!(code_and_message("<html>http://store/key?X-Amz-Signature=1</html>"), "it does not say why");
    }
}
