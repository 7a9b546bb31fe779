//! Logs on their way from the agent to the coordinator of the same process: what in a cluster is HTTP, with the same answers.
//!
//! Pieces always pass through the coordinator, also where there is a store: it has the store's client already.

use bytes::Bytes;
use futures::future::BoxFuture;
use jobmeter_agent::UplinkError;
use jobmeter_agent::uplink::{LogUplink, PutError};
use jobmeter_coordinator::api::error::ApiError;
use jobmeter_coordinator::logs::{LogError, PieceTarget};
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, ObjectKind, Piece, Target, TargetsReply, TargetsRequest,
    TicketReply, TicketRequest,
};
use reqwest::Url;

use super::InProcess;

impl LogUplink for InProcess {
    fn ticket(&self, request: TicketRequest) -> BoxFuture<'_, Result<TicketReply, UplinkError>> {
        // Whatever runs here is a job, also one of an earlier process whose record is gone: its log is kept, not dropped.
        let request = TicketRequest { job: Some(true), ..request };
        Box::pin(async move { self.coordinator.log_ticket(&request).await.map_err(failed) })
    }

    fn multipart(&self, request: MultipartRequest) -> BoxFuture<'_, Result<MultipartReply, UplinkError>> {
        Box::pin(async move { self.coordinator.log_multipart(&request).await.map_err(failed) })
    }

    fn targets(&self, request: TargetsRequest) -> BoxFuture<'_, Result<TargetsReply, UplinkError>> {
        let request = TargetsRequest { proxied: true, ..request };
        Box::pin(async move { self.coordinator.log_targets(&request).await.map_err(failed) })
    }

    fn put<'a>(&'a self, target: &'a Target, _ca_pem: Option<&'a str>, body: Bytes) -> BoxFuture<'a, Result<String, PutError>> {
        Box::pin(async move {
            let not_ours = || PutError::Unreachable("the target is not one of the coordinator in this process".into());
            let piece = piece_target(target, body.len() as u64).ok_or_else(not_ours)?;
            self.coordinator.log_put(&piece, body).await.map_err(not_put)
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteReply, UplinkError>> {
        Box::pin(async move { self.coordinator.log_complete(&request).await.map_err(failed) })
    }
}

/// `/v1/logs/data/POD/CONTAINER/ATTEMPT?kind=…&part=…&multipart=…`, as the coordinator makes it and its route reads it.
fn piece_target(target: &Target, bytes: u64) -> Option<PieceTarget> {
    let url = Url::parse("http://in.process/").ok()?.join(&target.url).ok()?;
    let mut segments = url.path().strip_prefix("/v1/logs/data/")?.split('/');
    let (pod_uid, container, attempt) =
        (segments.next()?.to_owned(), segments.next()?.to_owned(), segments.next()?.parse().ok()?);
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let kind = match value("kind")?.as_str() {
        "log" => ObjectKind::Log,
        "times" => ObjectKind::Times,
        _ => return None,
    };
    let md5 = target.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-md5")).map(|(_, md5)| md5.clone())?;
    let piece = Piece { number: value("part")?.parse().ok()?, bytes, md5 };
    Some(PieceTarget { pod_uid, container, attempt, kind, multipart: value("multipart"), piece })
}

fn failed(error: LogError) -> UplinkError {
    let error = ApiError::from(error);
    match error.status.as_u16() {
        status @ (429 | 500..=599) => UplinkError::Busy { status, retry_after: wait(&error) },
        status => UplinkError::Refused { status, body: error.body.error },
    }
}

fn not_put(error: LogError) -> PutError {
    let error = ApiError::from(error);
    match error.status.as_u16() {
        status @ (404 | 410) => PutError::Gone { status },
        status @ (429 | 500..=599) => PutError::Busy { status, retry_after: wait(&error) },
        status => PutError::Declined { status, body: error.body.error },
    }
}

fn wait(error: &ApiError) -> Option<std::time::Duration> {
    error.retry_after.map(|seconds| std::time::Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_the_coordinator_is_understood_and_another_is_not() {
        let target = |url: &str| Target {
            url: url.into(),
            headers: vec![("Content-MD5".into(), "1B2M2Y8AsgTpgAmY7PhCfg==".into())],
            expires: jiff::Timestamp::MAX,
        };
        let ours = target("/v1/logs/data/uid-1/main/2?kind=times&part=7&multipart=a%2Fb%3D");
        let expected = PieceTarget {
            pod_uid: "uid-1".into(),
            container: "main".into(),
            attempt: 2,
            kind: ObjectKind::Times,
            multipart: Some("a/b=".into()),
            piece: Piece { number: 7, bytes: 9, md5: "1B2M2Y8AsgTpgAmY7PhCfg==".into() },
        };
        assert_eq!(piece_target(&ours, 9), Some(expected));
        assert_eq!(piece_target(&target("https://store/bucket/key?partNumber=7"), 9), None);
    }
}
