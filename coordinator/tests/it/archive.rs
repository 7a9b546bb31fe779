//! Closed records in the object store. What is archived is compared with what the record store says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jobmeter_coordinator::archive::{Archive, ArchiveMetrics};
use jobmeter_coordinator::config::export::ArchiveConfig;
use jobmeter_coordinator::config::objects::ObjectsConfig;
use jobmeter_coordinator::objects::Objects;
use jobmeter_coordinator::store::{Change, Store};
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_decide::chase::{Ending, Missing};
use jobmeter_decide::example;
use jobmeter_protocol::Record;
use prometheus::Registry;

use crate::engines::{Bed, on_each_engine};
use crate::harness::{Running, api, apply, eventually, pod, uid, whole};

on_each_engine!(
    closed_records_are_archived_once_and_open_ones_when_they_are_closed,
    a_record_that_is_amended_later_does_not_overwrite_the_records_that_were_archived_with_it,
    a_store_that_is_away_costs_no_record,
    a_directory_gets_no_archive_unless_it_is_asked_for_and_then_all_of_it,
);

fn archive(store: &Store, data: &Path, directory: bool) -> Archive {
    Archive {
        store: store.clone(),
        objects: Objects::new(ObjectsConfig::standalone(data), SourceBoard::default()),
        config: ArchiveConfig { interval: Duration::from_secs(600), directory },
        cluster: "site".to_owned(),
        metrics: ArchiveMetrics::register(&Registry::new()).unwrap(),
    }
}

/// Every file below a directory whose name ends so.
fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return vec![] };
    let mut found: Vec<PathBuf> = entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, suffix) } else { vec![path] }
        })
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    found.sort();
    found
}

fn records(file: &Path) -> Vec<Record> {
    let text = zstd::stream::decode_all(std::fs::File::open(file).unwrap()).unwrap();
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn closed_records_are_archived_once_and_open_ones_when_they_are_closed(bed: &Bed) {
    let data = &bed.files;
    let store = bed.open();
    let archive = archive(&store, data.path(), true);
    apply(&store, (1..=3).flat_map(|n| whole(n, "sort")).collect()).await;
    let late = api(pod(4, "sort"), &[example::owner("batch/v1", "Job", "sort")]);
    apply(&store, vec![late]).await;

    assert_eq!(archive.everything().await.unwrap(), 3);
    let found = files(data.path(), ".jsonl.zst");
    let [file] = found.as_slice() else { panic!("{found:?}") };
    assert!(file.starts_with(data.path().join("logs/records/site")), "{file:?}");
    let mut expected = Vec::new();
    for n in 1..=3 {
        expected.push(store.record(&uid(n)).await.unwrap().unwrap());
    }
    assert_eq!(records(file), expected);
    let date = expected[0].time.finished.unwrap().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    assert!(file.to_string_lossy().contains(&format!("/date={date}/")), "{file:?}");

    assert_eq!(archive.everything().await.unwrap(), 0);
    apply(&store, whole(4, "sort")).await;
    assert_eq!(archive.everything().await.unwrap(), 1);
    assert_eq!(files(data.path(), ".jsonl.zst").len(), 2);
}

async fn a_record_that_is_amended_later_does_not_overwrite_the_records_that_were_archived_with_it(bed: &Bed) {
    let data = &bed.files;
    let store = bed.open();
    let archive = archive(&store, data.path(), true);
    // Closed without its readings, and the first of its object.
    let ended = api(pod(1, "sort"), &[example::owner("batch/v1", "Job", "sort")]);
    let close = Change::Close { uid: uid(1), ending: Ending::Missing(Missing::AgentSilent) };
    apply(&store, vec![ended, close]).await;
    apply(&store, whole(2, "sort")).await;
    assert_eq!(archive.everything().await.unwrap(), 2);
    apply(&store, whole(1, "sort")).await;
    assert_eq!(archive.everything().await.unwrap(), 1);
    let archived: Vec<String> =
        files(data.path(), ".jsonl.zst").iter().flat_map(|file| records(file)).map(|record| record.identity.pod_uid).collect();
    assert_eq!(archived.iter().filter(|pod| **pod == uid(2)).count(), 1, "{archived:?}");
    assert_eq!(archived.len(), 3);
}

async fn a_store_that_is_away_costs_no_record(bed: &Bed) {
    let data = &bed.files;
    let store = bed.open();
    let archive = archive(&store, data.path(), true);
    // A file where the directory should be.
    std::fs::write(data.path().join("logs"), "").unwrap();
    apply(&store, whole(1, "sort")).await;
    archive.everything().await.unwrap_err();
    apply(&store, whole(2, "sort")).await;
    archive.everything().await.unwrap_err();
    std::fs::remove_file(data.path().join("logs")).unwrap();
    assert_eq!(archive.everything().await.unwrap(), 2);
    let found = files(data.path(), ".jsonl.zst");
    assert_eq!(found.len(), 1);
    assert_eq!(records(&found[0]).iter().map(|record| record.identity.pod_uid.clone()).collect::<Vec<_>>(), [uid(1), uid(2)]);
}

async fn a_directory_gets_no_archive_unless_it_is_asked_for_and_then_all_of_it(bed: &Bed) {
    let data = &bed.files;
    let store = bed.open();
    apply(&store, whole(1, "sort")).await;
    assert_eq!(archive(&store, data.path(), false).everything().await.unwrap(), 0);
    assert_eq!(archive(&store, data.path(), true).everything().await.unwrap(), 1);
}

#[tokio::test]
async fn a_running_coordinator_archives_by_itself_and_counts() {
    let coordinator = Running::local_with(|config, _| {
        config.archive = ArchiveConfig { interval: Duration::from_secs(1), directory: true };
    })
    .await;
    apply(coordinator.handle.store(), whole(1, "sort")).await;
    eventually("the count of archived records", async || {
        let text = coordinator.get("/metrics").await.text().await.unwrap();
        text.contains("jobmeter_archive_records_total 1").then_some(())
    })
    .await;
    coordinator.stop().await;
}
