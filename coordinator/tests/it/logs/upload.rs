//! Whole uploads, and who may not make them.

use jobmeter_coordinator::api::error::ErrorBody;
use jobmeter_decide::example;
use jobmeter_protocol::logs::{CompleteReply, TicketReply, TicketRequest};
use jobmeter_protocol::{LogManifest, LogState, PodPhase, Quality};
use serde_json::Value;

use super::*;

#[tokio::test]
async fn a_log_goes_from_the_ticket_into_the_directory_the_record_and_the_metrics() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let before = coordinator.handle.record(&uid(1)).await.unwrap().unwrap();
    let mut changes = coordinator.handle.subscribe();
    let key = upload(&coordinator, &log_of(1, "main", 0), RAW).await;
    assert_eq!(key, "bench/sort/sort-1.log");
    assert_eq!(text_of(data.path(), &key), TEXT);

    let log = reference(&coordinator, 1, "main", 0, "complete").await;
    assert_eq!((log.bytes, log.lines, log.location), (14, 3, file(data.path(), &key).display().to_string()));
    let told = changes.recv().await.unwrap();
    assert!(told.amended.is_none() && !told.late && told.closed.is_none(), "{told:?}");
    assert_eq!(told.record.containers[0].log.as_ref().unwrap().state, LogState::Complete);
    let after = coordinator.handle.record(&uid(1)).await.unwrap().unwrap();
    assert_eq!((after.quality, after.time, after.usage), (before.quality, before.time, before.usage));

    let manifest: LogManifest = serde_json::from_str(&text_of(data.path(), &format!("{key}.manifest.json"))).unwrap();
    assert_eq!((manifest.job.as_str(), manifest.containers.as_slice()), ("sort", ["main".to_owned()].as_slice()));
    assert_eq!(manifest.entry.state, LogState::Complete);
    assert_eq!(manifest.entry.content.unwrap().first.unwrap().to_string(), "2026-09-21T14:13:21.1Z");

    // The same log needs no second upload; a longer one does, under the same key.
    let again = |raw: &[u8]| ticket_request(&log_of(1, "main", 0), raw, None);
    let reply: TicketReply = call(&coordinator, "/v1/logs/tickets", &again(RAW.as_bytes())).await;
    assert_eq!(reply, TicketReply::Stored { key: key.clone() });
    let longer: TicketReply = call(&coordinator, "/v1/logs/tickets", &again(RAW.repeat(2).as_bytes())).await;
    assert!(matches!(longer, TicketReply::Ticket { key: k, .. } if k == key));
    // Nor does less of it take its place: a spool was emptied on a node where some of its files are left.
    let less: TicketReply = call(&coordinator, "/v1/logs/tickets", &again(b"less")).await;
    assert_eq!(less, TicketReply::Stored { key: key.clone() });

    let metrics = coordinator.get("/metrics").await.text().await.unwrap();
    for line in [
        "jobmeter_logs_total{state=\"complete\"} 1",
        "jobmeter_logs_bytes_total 14",
        "jobmeter_log_lag_seconds_count 1",
        "jobmeter_coordinator_log_proxied_bytes_total 14",
        "jobmeter_coordinator_log_calls_total{answer=\"done\",call=\"complete\"} 1",
        "jobmeter_records_amended_total 0",
        "jobmeter_coordinator_late_total 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_coordinator_that_is_restarted_between_any_two_steps_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let log = log_of(1, "main", 0);
    let raw = RAW.repeat(1000);
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let (key, policy) = ticket(&coordinator, &log, raw.as_bytes()).await;
    coordinator.stop().await;

    let coordinator = start(data.path()).await;
    let request = put_all(&coordinator, &log, raw.as_bytes(), encode(raw.as_bytes(), &policy), Some(5_000)).await;
    assert_eq!(request.object.parts.len(), 3);
    coordinator.stop().await;

    let coordinator = start(data.path()).await;
    assert_eq!(complete(&coordinator, &request).await, CompleteReply::Done);
    coordinator.stop().await;

    // The answer was lost, and the agent asks once more.
    let coordinator = start(data.path()).await;
    assert_eq!(complete(&coordinator, &request).await, CompleteReply::Done);
    assert_eq!(ticket_key(&coordinator, &log).await, key);
    assert_eq!(text_of(data.path(), &key), TEXT.repeat(1000));
    assert_eq!(reference(&coordinator, 1, "main", 0, "complete").await.lines, 3000);
}

async fn ticket_key(coordinator: &Running, log: &LogId) -> String {
    ticket(coordinator, log, RAW.repeat(1001).as_bytes()).await.0
}

#[tokio::test]
async fn what_was_not_put_is_asked_for_again() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    let (_, policy) = ticket(&coordinator, &log, RAW.as_bytes()).await;
    let mut request = put_all(&coordinator, &log, RAW.as_bytes(), encode(RAW.as_bytes(), &policy), None).await;
    request.object.bytes += 1;
    request.object.parts[0].bytes += 1;
    assert!(matches!(complete(&coordinator, &request).await, CompleteReply::Again { .. }));
    assert_eq!(reference(&coordinator, 1, "main", 0, "expected").await.bytes, 0);
}

#[tokio::test]
async fn two_pods_of_one_name_two_containers_and_two_runs_have_a_key_each() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    let twin = |n: usize| {
        let mut twin = pod(n, "sort");
        twin.name = "sort-twin".into();
        twin.uid = format!("{n}0000000-0000-4000-8000-000000000000");
        twin.containers.push(example::api_container("helper", "bb", 0));
        twin.containers[0].restart_count = 1;
        twin
    };
    let mut keys = Vec::new();
    for n in [1, 2] {
        tell(&coordinator, twin(n)).await;
        eventually("the pod", async || coordinator.handle.record(&twin(n).uid).await.unwrap()).await;
        for (container, attempt) in [("main", 0), ("main", 1), ("helper", 0)] {
            let log = LogId { pod: "sort-twin".into(), pod_uid: twin(n).uid, ..log_of(n, container, attempt) };
            keys.push(upload(&coordinator, &log, &RAW.repeat(keys.len() + 1)).await);
        }
    }
    assert_eq!(
        keys,
        [
            "bench/sort/sort-twin-main.log",
            "bench/sort/sort-twin-main.1.log",
            "bench/sort/sort-twin-helper.log",
            "bench/sort/sort-twin-main.20000000.log",
            "bench/sort/sort-twin-main.1.20000000.log",
            "bench/sort/sort-twin-helper.20000000.log",
        ]
    );
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(text_of(data.path(), key), TEXT.repeat(index + 1), "{key}");
    }
}

#[tokio::test]
async fn a_pod_that_nobody_told_of_waits_and_one_that_is_no_job_is_refused_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    coordinator.ready().await;
    let reply: TicketReply = call(&coordinator, "/v1/logs/tickets", &ticket_request(&log_of(7, "main", 0), b"", None)).await;
    assert!(matches!(&reply, TicketReply::Later { why, .. } if why.contains("it may still be told of")), "{reply:?}");
    let reply: TicketReply =
        call(&coordinator, "/v1/logs/tickets", &ticket_request(&log_of(7, "main", 0), b"", Some(true))).await;
    assert!(matches!(&reply, TicketReply::Later { why, .. } if why.contains("its record is to come")), "{reply:?}");
}

#[tokio::test]
async fn a_node_does_not_take_the_log_of_a_pod_that_is_still_to_be_placed() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    tell(&coordinator, ApiPod { node: None, phase: PodPhase::Pending, containers: vec![], ..pod(1, "sort") }).await;
    eventually("the pod is known", async || coordinator.handle.record(&uid(1)).await.unwrap()).await;
    let log = log_of(1, "main", 0);
    let foreign = TicketRequest { node: "node-b".into(), ..ticket_request(&log, b"", Some(true)) };
    let reply: TicketReply = call(&coordinator, "/v1/logs/tickets", &foreign).await;
    assert!(matches!(&reply, TicketReply::Later { why, .. } if why.contains("its node is not known yet")), "{reply:?}");
    closed(&coordinator, 1).await;
    upload(&coordinator, &log, RAW).await;
}

#[tokio::test]
async fn an_agent_without_a_token_or_of_another_node_gets_nothing() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    let body = |request: &TicketRequest| serde_json::to_string(request).unwrap();
    let request = ticket_request(&log, b"", Some(true));
    assert_eq!(coordinator.post("/v1/logs/tickets", "not-the-token", body(&request)).await.status(), 401);

    let foreign = TicketRequest { node: "node-b".into(), ..request };
    let reply: TicketReply = call(&coordinator, "/v1/logs/tickets", &foreign).await;
    let expected = "the pod is on node \"node-a\", not on \"node-b\"";
    assert_eq!(reply, TicketReply::Rejected { why: expected.into() });
    let renamed = LogId { pod: "other".into(), ..log.clone() };
    let reply: TicketReply = call(&coordinator, "/v1/logs/tickets", &ticket_request(&renamed, b"", None)).await;
    assert!(matches!(reply, TicketReply::Rejected { .. }), "{reply:?}");

    let (_, policy) = ticket(&coordinator, &log, RAW.as_bytes()).await;
    let mut request = put_all(&coordinator, &log, RAW.as_bytes(), encode(RAW.as_bytes(), &policy), None).await;
    request.node = "node-b".into();
    let response = coordinator.post("/v1/logs/complete", TOKEN, serde_json::to_vec(&request).unwrap()).await;
    assert_eq!(response.status(), 403);
    let error: ErrorBody = response.json().await.unwrap();
    assert_eq!(error.error, expected);

    let target = targets(&coordinator, &log, None, vec![piece(1, b"x")]).await.remove(0);
    let stranger = coordinator.http.put(coordinator.url(&target.url)).header("Content-MD5", &target.headers[0].1).body("x");
    assert_eq!(stranger.send().await.unwrap().status(), 401);
}

/// A client that knows its body to be empty need not send a `Content-Length`, and hyper does not.
#[tokio::test]
async fn the_log_of_a_container_that_printed_nothing_passes_through_the_coordinator() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let key = upload(&coordinator, &log_of(1, "main", 0), "").await;
    assert_eq!(text_of(data.path(), &key), "");
    assert_eq!(reference(&coordinator, 1, "main", 0, "complete").await.bytes, 0);
}

#[tokio::test]
async fn a_piece_needs_its_length_its_digest_and_a_bearable_size() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    ticket(&coordinator, &log, b"").await;
    let target = targets(&coordinator, &log, None, vec![piece(1, b"right")]).await.remove(0);
    assert_eq!(put(&coordinator, &target, b"wrong").await.status(), 400);
    let request = || coordinator.http.put(coordinator.url(&target.url)).bearer_auth(TOKEN);
    assert_eq!(request().body("right").send().await.unwrap().status(), 400, "no digest");
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>("right")]);
    let chunked = request().header("Content-MD5", &target.headers[0].1).body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(chunked.send().await.unwrap().status(), 411);
    let huge = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let huge = request().header("Content-Length", 65 << 20).header("Content-MD5", "x").body(reqwest::Body::wrap_stream(huge));
    assert_eq!(huge.send().await.unwrap().status(), 413);
    assert_eq!(put(&coordinator, &target, b"right").await.status(), 200);
    let nobody = target.url.replace("main", "nobody");
    assert_eq!(
        coordinator
            .http
            .put(coordinator.url(&nobody))
            .bearer_auth(TOKEN)
            .header("Content-MD5", &target.headers[0].1)
            .body("right")
            .send()
            .await
            .unwrap()
            .status(),
        409
    );
}

#[tokio::test]
async fn each_run_that_started_is_expected_once_and_a_record_that_is_written_anew_keeps_its_logs() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    coordinator.ready().await;
    // The node's last word comes later: the record is closed without it, and amended.
    let mut never = pod(1, "sort");
    let mut waiting = example::api_container("later", "", 0);
    (waiting.container_id, waiting.started, waiting.finished, waiting.exit) = (None, None, None, None);
    never.containers.push(waiting);
    never.phase = PodPhase::Failed;
    tell(&coordinator, never).await;
    eventually("the pod", async || coordinator.handle.record(&uid(1)).await.unwrap()).await;
    let beat = crate::harness::heartbeat(NODE, vec![uid(1)]);
    eventually("closed", async || {
        coordinator.handle.heartbeat(NODE, beat.clone()).await.unwrap();
        coordinator.handle.record(&uid(1)).await.unwrap().filter(|record| record.quality != Quality::Provisional)
    })
    .await;
    upload(&coordinator, &log_of(1, "main", 0), RAW).await;
    coordinator.handle.report(batch(vec![evidence(1)])).await.unwrap();
    let amended = coordinator.handle.record(&uid(1)).await.unwrap().unwrap();
    assert!(matches!(amended.quality, Quality::Complete { .. }), "{amended:?}");
    assert_eq!(reference(&coordinator, 1, "main", 0, "complete").await.bytes, 14);

    let page: Value = coordinator.get("/v1/logs?namespace=bench&job=sort").await.json().await.unwrap();
    let logs: Vec<&str> = page["items"].as_array().unwrap().iter().map(|log| log["log"]["container"].as_str().unwrap()).collect();
    assert_eq!(logs, ["main"]);
}
