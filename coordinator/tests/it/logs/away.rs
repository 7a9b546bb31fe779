//! An object store that is away: nothing but the logs waits for it.

use std::time::{Duration, Instant};

use jobmeter_protocol::Quality;
use jobmeter_protocol::logs::CompleteReply;
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_store_that_never_answers_delays_no_report_and_no_record() {
    // Takes connections, and says nothing.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hole.local_addr().unwrap());
    let coordinator = Running::local_with(|config, files| {
        let secret = files.join("secret");
        std::fs::create_dir(&secret).unwrap();
        for (field, value) in
            [("accessKeyID", "a"), ("secretAccessKey", "b"), ("bucket", "logs"), ("endpoint", &endpoint), ("pathStyle", "true")]
        {
            std::fs::write(secret.join(field), value).unwrap();
        }
        config.objects.secret_dir = Some(secret);
    })
    .await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    let request = MultipartRequest { version: VERSION, node: NODE.into(), log: log.clone(), kind: ObjectKind::Log };
    ticket(&coordinator, &log, RAW.as_bytes()).await;
    let body = serde_json::to_vec(&request).unwrap();
    let stuck: Vec<_> = (0..40)
        .map(|_| {
            let call = coordinator.http.post(coordinator.url("/v1/logs/multipart")).bearer_auth(TOKEN).body(body.clone());
            tokio::spawn(call.send())
        })
        .collect();
    let begun = Instant::now();
    for n in 2..20 {
        tell(&coordinator, pod(n, "sort")).await;
        coordinator.handle.report(batch(vec![evidence(n)])).await.unwrap();
    }
    for n in 2..20 {
        eventually("closed", async || {
            coordinator.handle.record(&uid(n)).await.unwrap().filter(|record| record.quality != Quality::Provisional)
        })
        .await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(stuck.iter().all(|call| !call.is_finished()), "the store was to be away");
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_told_as_later() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("file"), "").unwrap();
    let coordinator = Running::local_with(|config, _| config.objects.directory = data.path().join("file/logs")).await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    let (_, policy) = ticket(&coordinator, &log, RAW.as_bytes()).await;
    let encoded = encode(RAW.as_bytes(), &policy);
    let target = targets(&coordinator, &log, None, vec![piece(1, &encoded.object)]).await.remove(0);
    let response = put(&coordinator, &target, &encoded.object).await;
    assert!(response.status().is_server_error(), "{response:?}");
    assert!(response.headers().contains_key("retry-after"));
    let object =
        UploadedObject { bytes: 14, multipart: None, parts: vec![UploadedPart { number: 1, bytes: 14, etag: String::new() }] };
    let request = CompleteRequest {
        version: VERSION,
        node: NODE.into(),
        log: log.clone(),
        raw_bytes: 1,
        object,
        times_object: None,
        content: encoded.content,
    };
    let reply = complete(&coordinator, &request).await;
    assert!(matches!(reply, CompleteReply::Later { .. } | CompleteReply::Again { .. }), "{reply:?}");
    // Whoever asks now is spared the attempt.
    let reply: TicketReply = call(&coordinator, "/v1/logs/tickets", &ticket_request(&log, b"", Some(true))).await;
    assert!(matches!(reply, TicketReply::Later { seconds: 1..=16, .. }), "{reply:?}");
}
