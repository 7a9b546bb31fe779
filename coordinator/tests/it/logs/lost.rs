//! Logs that do not come.

use jobmeter_protocol::{HeartbeatReply, LogManifest, LogState, LostLog};

use super::*;
use crate::harness::heartbeat;

#[tokio::test]
async fn a_lost_log_has_a_notice_in_its_place_until_it_arrives_after_all() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    let mut beat = heartbeat(NODE, vec![]);
    beat.logs_unknown = vec![LostLog { log: log.clone(), why: "the spool was full".into() }];
    let body = serde_json::to_string(&beat).unwrap();
    let response = coordinator.post(&format!("/v1/nodes/{NODE}/heartbeat"), TOKEN, body).await;
    assert_eq!(response.json::<HeartbeatReply>().await.unwrap().logs_wanted, []);
    let lost = reference(&coordinator, 1, "main", 0, "lost").await;
    let why = "the agent of node node-a does not have it: the spool was full";
    assert_eq!(lost.state, LogState::Lost { why: why.into() });
    let key = "bench/sort/sort-1.log";
    let notice = text_of(data.path(), key);
    let sentence = format!("The log of container main (run 0) of pod bench/sort-1 (UID {}) was lost: {why}.\n", uid(1));
    assert_eq!(notice, sentence);
    let manifest: LogManifest = serde_json::from_str(&text_of(data.path(), &format!("{key}.manifest.json"))).unwrap();
    assert_eq!(manifest.entry.state, lost.state);
    let response = coordinator.get("/v1/logs/bench/sort-1").await;
    assert_eq!(response.status(), 404);
    assert!(response.text().await.unwrap().contains("the spool was full"));
    let metrics = coordinator.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("jobmeter_logs_lost_total{why=\"agent_unknown\"} 1"), "{metrics}");

    // It had it after all.
    assert_eq!(upload(&coordinator, &log, RAW).await, key);
    assert_eq!(text_of(data.path(), key), TEXT);
    reference(&coordinator, 1, "main", 0, "complete").await;
    let manifest: LogManifest = serde_json::from_str(&text_of(data.path(), &format!("{key}.manifest.json"))).unwrap();
    assert_eq!(manifest.entry.state, LogState::Complete);
}

#[tokio::test]
async fn a_notice_never_takes_the_place_of_a_log_that_a_lost_ledger_knew() {
    let data = tempfile::tempdir().unwrap();
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let log = log_of(1, "main", 0);
    let key = upload(&coordinator, &log, RAW).await;
    reference(&coordinator, 1, "main", 0, "complete").await;
    coordinator.stop().await;
    for file in ["jobmeter.db", "jobmeter.db-wal", "jobmeter.db-shm"] {
        std::fs::remove_file(data.path().join(file)).unwrap_or_default();
    }
    let coordinator = start(data.path()).await;
    closed(&coordinator, 1).await;
    let mut beat = heartbeat(NODE, vec![]);
    beat.logs_unknown = vec![LostLog { log, why: "it was stored long ago".into() }];
    let body = serde_json::to_string(&beat).unwrap();
    assert_eq!(coordinator.post(&format!("/v1/nodes/{NODE}/heartbeat"), TOKEN, body).await.status(), 200);
    let found = reference(&coordinator, 1, "main", 0, "complete").await;
    assert_eq!(found.bytes, TEXT.len() as u64);
    assert_eq!(text_of(data.path(), &key), TEXT);
}
