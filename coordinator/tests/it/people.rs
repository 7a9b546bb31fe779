//! People over HTTP: records, jobs, mistakes in what they ask, and records as they are written.

use jobmeter_coordinator::LocalEvent;
use jobmeter_coordinator::api::error::ErrorBody;
use jobmeter_decide::example;
use jobmeter_protocol::{Job, JobDetail, Page, Quality, Record};

use crate::harness::{Running, batch, eventually, evidence, pod, uid};

async fn ended(coordinator: &Running, n: usize) {
    let owners = vec![example::owner("batch/v1", "Job", "sort")];
    coordinator.tell(LocalEvent::Applied { pod: pod(n, "sort"), owners }).await;
    coordinator.handle.report(batch(vec![evidence(n)])).await.unwrap();
    eventually("closed", async || {
        coordinator.handle.record(&uid(n)).await.unwrap().filter(|record| record.quality != Quality::Provisional)
    })
    .await;
}

async fn refused(coordinator: &Running, path: &str) -> (u16, ErrorBody) {
    let response = coordinator.get(path).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn records_and_jobs_are_found() {
    let coordinator = Running::local().await;
    for n in 1..=3 {
        ended(&coordinator, n).await;
    }
    let page: Page<Record> = coordinator.get("/v1/records?limit=2&sort_by=cpu&namespace=bench").await.json().await.unwrap();
    assert_eq!(page.items.iter().map(|r| r.identity.pod.as_str()).collect::<Vec<_>>(), ["sort-3", "sort-2"]);
    let next = format!("/v1/records?limit=2&sort_by=cpu&namespace=bench&after={}", page.next.unwrap());
    let page: Page<Record> = coordinator.get(&next).await.json().await.unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));

    let selected: Page<Record> =
        coordinator.get("/v1/records?selector=team%20in%20(storage%2Cnet)&state=completed").await.json().await.unwrap();
    assert_eq!(selected.items.len(), 3);
    let one: Record = coordinator.get(&format!("/v1/records/{}", uid(2))).await.json().await.unwrap();
    assert_eq!(one.identity.pod, "sort-2");
    let jobs: Page<Job> = coordinator.get("/v1/jobs").await.json().await.unwrap();
    assert_eq!((jobs.items.len(), jobs.items[0].pods.completed), (1, 3));
    let job: JobDetail = coordinator.get("/v1/jobs/bench/sort").await.json().await.unwrap();
    assert_eq!(job.records.len(), 3);
    assert!((job.job.cpu_seconds.unwrap().value - 0.06).abs() < 1e-9);
}

#[tokio::test]
async fn mistakes_are_answered_with_what_and_where() {
    let coordinator = Running::local().await;
    for (path, code, subject, word) in [
        ("/v1/records?selector=a%20in%20b", 400, "selector", "at character"),
        ("/v1/records?state=done", 400, "state", "known are Running, Completed"),
        ("/v1/records?limit=0", 400, "limit", "between 1 and 1000"),
        ("/v1/records?after=xyz", 400, "after", "is not the `next` of a page"),
        ("/v1/records?since=yesterday", 400, "query", "since"),
        ("/v1/records?nmespace=a", 400, "query", "unknown field `nmespace`"),
        ("/v1/jobs?watch", 400, "watch", "cannot be watched"),
        ("/v1/records/nobody", 404, "nobody", "no record of this pod"),
        ("/v1/jobs/bench/nothing", 404, "bench/nothing", "no job of this name"),
        ("/v1/recrods", 404, "/v1/recrods", "nothing at this path"),
        ("/v1/reports", 405, "/v1/reports", "GET is not"),
    ] {
        let (found, error) = refused(&coordinator, path).await;
        assert_eq!((found, error.subject.as_deref()), (code, Some(subject)), "{path}: {error:?}");
        assert!(error.error.contains(word), "{path}: {error:?}");
    }
}

/// Reads server-sent events until there are `count`.
async fn events(response: &mut reqwest::Response, count: usize) -> Vec<(String, String)> {
    let mut text = String::new();
    loop {
        let found: Vec<_> = text.split("\n\n").filter_map(event).collect();
        if found.len() >= count {
            return found;
        }
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), response.chunk()).await.expect("events in time");
        text.push_str(std::str::from_utf8(&chunk.unwrap().expect("more events")).unwrap());
    }
}

fn event(text: &str) -> Option<(String, String)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    Some((field("event:")?, field("data:")?))
}

#[tokio::test]
async fn a_watch_shows_what_is_written_and_meets_the_conditions() {
    let coordinator = Running::local().await;
    coordinator.ready().await;
    let mut watch = coordinator.get("/v1/records?watch&state=Completed&pod=sort-2").await;
    assert_eq!(watch.headers()["content-type"], "text/event-stream");
    ended(&coordinator, 1).await;
    ended(&coordinator, 2).await;
    let events = events(&mut watch, 1).await;
    let record: Record = serde_json::from_str(&events[0].1).unwrap();
    assert_eq!((events[0].0.as_str(), record.identity.pod.as_str()), ("record", "sort-2"));
    drop(watch);
    eventually("the watcher is gone", async || {
        let metrics = coordinator.get("/metrics").await.text().await.unwrap();
        metrics.contains("jobmeter_coordinator_watchers 0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_watcher_that_cannot_keep_up_is_told_and_dropped() {
    let coordinator = Running::local().await;
    coordinator.ready().await;
    let mut watch = coordinator.get("/v1/records?watch").await;
    // It does not read: its socket fills, and then what is kept for it.
    for round in 0..60 {
        let reports = (0..200).map(|n| evidence(round * 200 + n)).collect();
        coordinator.handle.report(batch(reports)).await.unwrap();
    }
    let mut text = String::new();
    while let Some(chunk) = tokio::time::timeout(std::time::Duration::from_secs(20), watch.chunk()).await.unwrap().unwrap() {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    let (name, data) = text.split("\n\n").filter_map(event).last().unwrap();
    assert_eq!(name, "lagged");
    assert!(serde_json::from_str::<serde_json::Value>(&data).unwrap()["missed"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_watch_ends_when_the_coordinator_stops() {
    let coordinator = Running::local().await;
    let mut watch = coordinator.get("/v1/records?watch").await;
    coordinator.stop().await;
    assert!(matches!(watch.chunk().await, Ok(None)));
}
