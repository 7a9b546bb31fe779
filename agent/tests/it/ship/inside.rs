//! The double without a network: every step can be interrupted before and after it happens, and time can be paused.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use jobmeter_agent::{
    UplinkError,
    uplink::{LogUplink, PutError},
};
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, Target, TargetsReply, TargetsRequest, TicketReply,
    TicketRequest,
};

use super::double::{Double, Fault, Place, Step};

pub(crate) struct Inside(pub(crate) Arc<Double>);

impl Inside {
    async fn call<T>(&self, step: Step, act: impl FnOnce(&Double) -> T) -> Result<T, UplinkError> {
        tokio::task::yield_now().await;
        match self.0.fault(step) {
            None => {}
            Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
            Some(Fault::Busy(after)) => return Err(UplinkError::Busy { status: 503, retry_after: Some(after) }),
            Some(_) => return Err(UplinkError::Unreachable("cut".into())),
        }
        let reply = act(&self.0);
        tokio::task::yield_now().await;
        Ok(reply)
    }

    async fn put_one(&self, target: &Target, body: Bytes) -> Result<String, PutError> {
        tokio::task::yield_now().await;
        let step = if target.url.starts_with("/v1/") { Step::PutProxied } else { Step::PutDirect };
        match self.0.fault(step) {
            None => {}
            Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
            Some(Fault::Busy(after)) => return Err(PutError::Busy { status: 503, retry_after: Some(after) }),
            Some(Fault::Status(status)) => return Err(PutError::Refused { status, body: String::new() }),
            Some(_) => return Err(PutError::Unreachable("cut".into())),
        }
        let url = reqwest::Url::parse("http://x/").unwrap().join(&target.url).unwrap();
        let axum::extract::Query(place) = axum::extract::Query::<Place>::try_from_uri(&url.as_str().parse().unwrap()).unwrap();
        let etag = self.0.put(step, &place, &body, false);
        tokio::task::yield_now().await;
        // Time for an interruption while the store has it and we do not know.
        tokio::time::sleep(Duration::from_micros(10)).await;
        etag.ok_or(PutError::Gone { status: 404 })
    }
}

impl LogUplink for Inside {
    fn ticket(&self, request: TicketRequest) -> BoxFuture<'_, Result<TicketReply, UplinkError>> {
        async move { self.call(Step::Ticket, |double| double.ticket(&request)).await }.boxed()
    }

    fn multipart(&self, request: MultipartRequest) -> BoxFuture<'_, Result<MultipartReply, UplinkError>> {
        async move { self.call(Step::Multipart, |double| double.multipart(&request)).await }.boxed()
    }

    fn targets(&self, request: TargetsRequest) -> BoxFuture<'_, Result<TargetsReply, UplinkError>> {
        async move { self.call(Step::Targets, |double| double.targets(&request, "http://store/bucket")).await }.boxed()
    }

    fn put<'a>(&'a self, target: &'a Target, _: Option<&'a str>, body: Bytes) -> BoxFuture<'a, Result<String, PutError>> {
        self.put_one(target, body).boxed()
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteReply, UplinkError>> {
        async move { self.call(Step::Complete, |double| double.complete(&request)).await }.boxed()
    }
}
