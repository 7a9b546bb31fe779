//! Logs over HTTP: from the ticket to the file, what is read of it, and what becomes of a log that does not come.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jobmeter_coordinator::{CoordinatorConfig, LocalEvent};
use jobmeter_decide::example;
use jobmeter_logtext::{LogEncoder, SourceFormat};
use jobmeter_protocol::logs::{
    CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, ObjectKind, Piece, Target, TargetsReply, TargetsRequest,
    TicketReply, TicketRequest, UploadPolicy, UploadedObject, UploadedPart,
};
use jobmeter_protocol::{ApiPod, LogContent, LogId, LogRef, VERSION};
use md5::{Digest, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::harness::{NODE, Running, TOKEN, batch, eventually, evidence, pod, uid};

mod away;
mod cluster;
mod lost;
mod reading;
mod upload;

/// What the runtime wrote, and what the container wrote.
pub(crate) const RAW: &str =
    "2026-09-21T14:13:21.1Z stdout F one\n2026-09-21T14:13:22.2Z stderr F two\n2026-09-21T14:13:23.3Z stdout F three\n";
pub(crate) const TEXT: &str = "one\ntwo\nthree\n";

pub(crate) fn log_of(n: usize, container: &str, attempt: u32) -> LogId {
    LogId { namespace: "bench".into(), pod: format!("sort-{n}"), pod_uid: uid(n), container: container.into(), attempt }
}

/// Data that outlives one coordinator. Ready: what is told from now on is there.
pub(crate) async fn start(data: &Path) -> Running {
    let data = data.to_owned();
    let coordinator = Running::local_with(move |config, _| {
        let standalone = CoordinatorConfig::standalone(&data);
        config.data_dir = standalone.data_dir;
        config.objects = standalone.objects;
        config.live_logs = standalone.live_logs;
    })
    .await;
    coordinator.ready().await;
    coordinator
}

pub(crate) async fn tell(coordinator: &Running, pod: ApiPod) {
    coordinator.tell(LocalEvent::Applied { pod, owners: vec![example::owner("batch/v1", "Job", "sort")] }).await;
}

/// Pod `n`, ended, with its record closed.
pub(crate) async fn closed(coordinator: &Running, n: usize) {
    tell(coordinator, pod(n, "sort")).await;
    coordinator.handle.report(batch(vec![evidence(n)])).await.unwrap();
    reference(coordinator, n, "main", 0, "expected").await;
}

/// The log of a run in the pod's record, once it is in this state.
pub(crate) async fn reference(coordinator: &Running, n: usize, container: &str, attempt: u32, state: &str) -> LogRef {
    eventually(&format!("the log of {container} {attempt} of pod {n} is {state}"), async || {
        let record = coordinator.handle.record(&uid(n)).await.unwrap()?;
        let run = record.containers.into_iter().find(|run| run.name == container && run.attempt == attempt)?;
        run.log.filter(|log| log.state.as_str() == state)
    })
    .await
}

pub(crate) async fn call<Q: Serialize, R: DeserializeOwned>(coordinator: &Running, path: &str, request: &Q) -> R {
    let response = coordinator.post(path, TOKEN, serde_json::to_vec(request).unwrap()).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn ticket_request(log: &LogId, raw: &[u8], job: Option<bool>) -> TicketRequest {
    TicketRequest { version: VERSION, node: NODE.into(), log: log.clone(), raw_bytes: raw.len() as u64, job }
}

pub(crate) async fn ticket(coordinator: &Running, log: &LogId, raw: &[u8]) -> (String, UploadPolicy) {
    match call(coordinator, "/v1/logs/tickets", &ticket_request(log, raw, Some(true))).await {
        TicketReply::Ticket { key, policy, .. } => (key, policy),
        other => panic!("{other:?}"),
    }
}

pub(crate) struct Encoded {
    pub(crate) object: Vec<u8>,
    pub(crate) content: LogContent,
}

pub(crate) fn encode(raw: &[u8], policy: &UploadPolicy) -> Encoded {
    let mut object = Vec::new();
    let mut encoder = LogEncoder::new(SourceFormat::Detect, policy.format, policy.compression, Vec::new()).unwrap();
    encoder.push(raw, &mut object).unwrap();
    let encoded = encoder.finish(&mut object).unwrap();
    let times = encoded.has_times.then(|| BASE64_STANDARD.encode(&encoded.times));
    Encoded { object, content: LogContent { times, ..encoded.content } }
}

pub(crate) fn piece(number: u32, bytes: &[u8]) -> Piece {
    Piece { number, bytes: bytes.len() as u64, md5: BASE64_STANDARD.encode(Md5::digest(bytes)) }
}

pub(crate) async fn targets(coordinator: &Running, log: &LogId, multipart: Option<&str>, pieces: Vec<Piece>) -> Vec<Target> {
    let request = TargetsRequest {
        version: VERSION,
        node: NODE.into(),
        log: log.clone(),
        kind: ObjectKind::Log,
        multipart: multipart.map(str::to_owned),
        pieces,
        proxied: false,
    };
    call::<_, TargetsReply>(coordinator, "/v1/logs/targets", &request).await.targets
}

pub(crate) async fn put(coordinator: &Running, target: &Target, bytes: &[u8]) -> reqwest::Response {
    let mut request = coordinator.http.put(coordinator.url(&target.url)).bearer_auth(TOKEN).body(bytes.to_vec());
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap()
}

fn etag(response: &reqwest::Response) -> String {
    assert_eq!(response.status(), 200);
    response.headers()["etag"].to_str().unwrap().to_owned()
}

/// Puts the object as the policy says, and returns what to complete it with.
pub(crate) async fn put_all(
    coordinator: &Running,
    log: &LogId,
    raw: &[u8],
    encoded: Encoded,
    parts_of: Option<usize>,
) -> CompleteRequest {
    let multipart = match parts_of {
        None => None,
        Some(_) => {
            let request = MultipartRequest { version: VERSION, node: NODE.into(), log: log.clone(), kind: ObjectKind::Log };
            Some(call::<_, MultipartReply>(coordinator, "/v1/logs/multipart", &request).await.multipart)
        }
    };
    let chunks: Vec<&[u8]> = match parts_of {
        None => vec![&encoded.object],
        Some(bytes) => encoded.object.chunks(bytes).collect(),
    };
    let mut parts = Vec::new();
    for (number, bytes) in (1..).zip(chunks) {
        let target = targets(coordinator, log, multipart.as_deref(), vec![piece(number, bytes)]).await.remove(0);
        let etag = etag(&put(coordinator, &target, bytes).await);
        parts.push(UploadedPart { number, bytes: bytes.len() as u64, etag });
    }
    CompleteRequest {
        version: VERSION,
        node: NODE.into(),
        log: log.clone(),
        raw_bytes: raw.len() as u64,
        object: UploadedObject { bytes: encoded.object.len() as u64, multipart, parts },
        times_object: None,
        content: encoded.content,
    }
}

pub(crate) async fn complete(coordinator: &Running, request: &CompleteRequest) -> CompleteReply {
    call(coordinator, "/v1/logs/complete", request).await
}

/// All of it, and the key.
pub(crate) async fn upload(coordinator: &Running, log: &LogId, raw: &str) -> String {
    let (key, policy) = ticket(coordinator, log, raw.as_bytes()).await;
    let request = put_all(coordinator, log, raw.as_bytes(), encode(raw.as_bytes(), &policy), None).await;
    assert_eq!(complete(coordinator, &request).await, CompleteReply::Done);
    key
}

pub(crate) fn file(data: &Path, key: &str) -> PathBuf {
    data.join("logs").join(key)
}

pub(crate) fn text_of(data: &Path, key: &str) -> String {
    std::fs::read_to_string(file(data, key)).unwrap()
}
