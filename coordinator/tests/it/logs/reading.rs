//! What people read: stored logs in whole and in part, live ones, and why there is none.

use jobmeter_coordinator::api::error::ErrorBody;
use jobmeter_coordinator::logs::live::LiveLogs;
use jobmeter_coordinator::logs::read::LogReader;
use jobmeter_coordinator::objects::Objects;
use jobmeter_coordinator::store::Store;
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_decide::example;
use jobmeter_protocol::{Compression, LogEntry, LogRead, Page};

use super::*;

async fn refused(coordinator: &Running, path: &str) -> (u16, ErrorBody) {
    let response = coordinator.get(path).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_stored_log_is_read_whole_in_part_and_with_its_times() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let data = tempfile::tempdir().unwrap();
        let standalone = CoordinatorConfig::standalone(data.path());
        let coordinator = Running::local_with(|config, _| {
            config.objects = standalone.objects;
            config.logs.compression = compression;
        })
        .await;
        closed(&coordinator, 1).await;
        let key = upload(&coordinator, &log_of(1, "main", 0), RAW).await;
        assert_eq!(key, format!("bench/sort/sort-1.log{}", compression.suffix()));
        let get = async |query: &str, range: &str| {
            let request = coordinator.http.get(coordinator.url(&format!("/v1/logs/bench/sort-1{query}"))).header("Range", range);
            request.send().await.unwrap()
        };
        let whole = coordinator.get("/v1/logs/bench/sort-1").await;
        let header = |name: &str| whole.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            (whole.status().as_u16(), header("content-length"), header("accept-ranges")),
            (200, "14".into(), "bytes".into())
        );
        assert_eq!((header("x-jobmeter-log-state"), header("x-jobmeter-log-run")), ("complete".into(), "main/0".into()));
        // What `sha256sum` says of the text.
        assert_eq!(header("etag"), format!("\"{}\"", sha256(TEXT)));
        assert_eq!(whole.text().await.unwrap(), TEXT);

        let part = get("", "bytes=4-6").await;
        assert_eq!((part.status().as_u16(), &part.headers()["content-range"]), (206, &"bytes 4-6/14".parse().unwrap()));
        assert_eq!(part.text().await.unwrap(), "two");
        assert_eq!(get("", "bytes=-6").await.text().await.unwrap(), "three\n");
        let beyond = get("", "bytes=14-").await;
        assert_eq!((beyond.status().as_u16(), &beyond.headers()["content-range"]), (416, &"bytes */14".parse().unwrap()));
        let head = coordinator.http.head(coordinator.url("/v1/logs/bench/sort-1")).send().await.unwrap();
        assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "14"));
        let head = coordinator.http.head(coordinator.url("/v1/logs/bench/sort-1")).header("range", "bytes=4-6");
        assert_eq!(head.send().await.unwrap().status(), 200, "a range is of a GET alone");

        let timed = coordinator.get("/v1/logs/bench/sort-1?timestamps=true&since=2026-09-21T14:13:22Z").await;
        let expected = "2026-09-21T14:13:22.200000000Z two\n2026-09-21T14:13:23.300000000Z three\n";
        assert_eq!(timed.text().await.unwrap(), expected, "{compression:?}");
    }
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn the_newest_run_is_read_unless_another_is_asked_for_and_several_containers_are_listed() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    let mut two = pod(1, "sort");
    two.containers[0].restart_count = 1;
    tell(&coordinator, two.clone()).await;
    eventually("the pod", async || coordinator.handle.record(&uid(1)).await.unwrap()).await;
    for attempt in [0, 1] {
        upload(&coordinator, &log_of(1, "main", attempt), &RAW.repeat(attempt as usize + 1)).await;
    }
    let text = async |query: &str| coordinator.get(&format!("/v1/logs/bench/sort-1{query}")).await.text().await.unwrap();
    assert_eq!(text("").await, TEXT.repeat(2));
    assert_eq!(text("?previous=true").await, TEXT);
    assert_eq!(text("?attempt=0").await, TEXT);
    let (code, error) = refused(&coordinator, "/v1/logs/bench/sort-1?attempt=2").await;
    assert_eq!((code, error.subject.as_deref()), (404, Some("attempt")));

    two.containers.push(example::api_container("helper", "bb", 0));
    tell(&coordinator, two).await;
    let error = eventually("two containers", async || {
        let (code, error) = match coordinator.get("/v1/logs/bench/sort-1").await {
            response if response.status() == 400 => (400, response.json::<ErrorBody>().await.unwrap()),
            _ => return None,
        };
        (code == 400).then_some(error)
    })
    .await;
    assert_eq!(error.error, "pod sort-1 has several containers: main, helper");
    assert_eq!(text("?container=main&attempt=0").await, TEXT);
    let (code, _) = refused(&coordinator, "/v1/logs/bench/nobody").await;
    assert_eq!(code, 404);
    let (code, error) = refused(&coordinator, "/v1/logs/bench/sort-1?lines=4").await;
    assert_eq!((code, error.subject.as_deref()), (400, Some("query")));
}

#[tokio::test]
async fn a_running_pods_log_is_followed_until_its_container_has_ended() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    let mut running = pod(1, "sort");
    running.phase = jobmeter_protocol::PodPhase::Running;
    (running.containers[0].finished, running.containers[0].exit) = (None, None);
    tell(&coordinator, running).await;
    eventually("the pod", async || coordinator.handle.record(&uid(1)).await.unwrap()).await;
    let (code, _) = refused(&coordinator, "/v1/logs/bench/sort-1").await;
    assert_eq!(code, 409, "it has written nothing");
    let directory = data.path().join("pods").join(format!("bench_sort-1_{}", uid(1))).join("main");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("0.log");
    std::fs::write(&path, "one\n").unwrap();
    let live = coordinator.get("/v1/logs/bench/sort-1").await;
    assert_eq!(live.headers()["x-jobmeter-log-state"], "live");
    assert_eq!(live.text().await.unwrap(), "one\n");

    let mut followed = coordinator.get("/v1/logs/bench/sort-1?follow=true").await;
    assert_eq!(followed.chunk().await.unwrap().unwrap(), "one\n");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    assert_eq!(followed.chunk().await.unwrap().unwrap(), "two\n");
    std::fs::write(&path, "one\ntwo\nthree").unwrap();
    tell(&coordinator, pod(1, "sort")).await;
    let mut rest = Vec::new();
    while let Some(chunk) = followed.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert_eq!(rest, b"three");
}

#[tokio::test]
async fn logs_are_listed_in_pages_and_read_without_a_coordinator() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    for n in 1..=3 {
        closed(&coordinator, n).await;
    }
    upload(&coordinator, &log_of(2, "main", 0), RAW).await;
    let page =
        async |query: &str| -> Page<LogEntry> { coordinator.get(&format!("/v1/logs?{query}")).await.json().await.unwrap() };
    let first = page("limit=2").await;
    let second = page(&format!("limit=2&after={}", first.next.clone().unwrap())).await;
    let pods: Vec<String> = first.items.iter().chain(&second.items).map(|entry| entry.log.pod.clone()).collect();
    assert_eq!((pods, second.next), (vec!["sort-3".to_owned(), "sort-2".into(), "sort-1".into()], None));
    assert_eq!(page("state=complete&job=sort").await.items.len(), 1);
    assert_eq!(page("state=expected&pod=sort-2").await.items, []);
    let (code, error) = refused(&coordinator, "/v1/logs?state=gone").await;
    assert_eq!((code, error.subject.as_deref()), (400, Some("state")));
    coordinator.stop().await;

    let store = Store::open_read_only(&data.path().join("jobmeter.db")).unwrap();
    let objects = Objects::new(CoordinatorConfig::standalone(data.path()).objects, SourceBoard::default());
    let reader = LogReader::new(store, objects, LiveLogs::Nowhere);
    let query = LogRead::default();
    let found = reader.find("bench", "sort-2", &query).await.unwrap();
    let mut text = reader.open(found, &query, None).await.unwrap();
    let chunk = futures::StreamExt::next(&mut text.body).await.unwrap().unwrap();
    assert_eq!(chunk, TEXT);
}

#[tokio::test]
async fn the_directory_keeps_what_its_retention_allows_and_says_what_it_deleted() {
    let data = tempfile::tempdir().unwrap();
    let standalone = CoordinatorConfig::standalone(data.path());
    let coordinator = Running::local_with(|config, _| {
        config.objects = standalone.objects;
        config.logs.retention.max_bytes = Some(20);
    })
    .await;
    for n in [1, 2] {
        closed(&coordinator, n).await;
        upload(&coordinator, &log_of(n, "main", 0), RAW).await;
    }
    coordinator.handle.clean_logs().await.unwrap();
    reference(&coordinator, 1, "main", 0, "expired").await;
    reference(&coordinator, 2, "main", 0, "complete").await;
    assert!(!file(data.path(), "bench/sort/sort-1.log").exists());
    assert!(!file(data.path(), "bench/sort/sort-1.log.manifest.json").exists());
    let (code, error) = refused(&coordinator, "/v1/logs/bench/sort-1").await;
    assert_eq!(code, 410, "{error:?}");
    // The agent that has it still does not bring it back.
    let reply: TicketReply =
        call(&coordinator, "/v1/logs/tickets", &ticket_request(&log_of(1, "main", 0), RAW.as_bytes(), None)).await;
    assert!(matches!(reply, TicketReply::Stored { .. }), "{reply:?}");
}

#[tokio::test]
async fn what_is_in_a_store_that_is_not_configured_now_does_not_expire_and_a_lost_log_stays_lost() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = Running::local_with(|config, _| {
        let standalone = CoordinatorConfig::standalone(data.path());
        (config.data_dir, config.objects) = (standalone.data_dir, standalone.objects);
        config.logs.retention.max_bytes = Some(1);
    })
    .await;
    for n in [1, 2] {
        closed(&coordinator, n).await;
    }
    upload(&coordinator, &log_of(1, "main", 0), RAW).await;
    let database = rusqlite::Connection::open(data.path().join("jobmeter.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    let moved = "UPDATE logs SET location = 's3://bucket/' || key WHERE pod_uid = ?";
    assert_eq!(database.execute(moved, [uid(1)]).unwrap(), 1);
    let mut beat = crate::harness::heartbeat(NODE, vec![]);
    beat.logs_unknown = vec![jobmeter_protocol::LostLog { log: log_of(2, "main", 0), why: "the spool was full".into() }];
    let body = serde_json::to_string(&beat).unwrap();
    assert_eq!(coordinator.post(&format!("/v1/nodes/{NODE}/heartbeat"), TOKEN, body).await.status(), 200);
    reference(&coordinator, 2, "main", 0, "lost").await;
    coordinator.handle.clean_logs().await.unwrap();
    assert!(!file(data.path(), "bench/sort/sort-2.log").exists());
    reference(&coordinator, 1, "main", 0, "complete").await;
    reference(&coordinator, 2, "main", 0, "lost").await;
}
