//! The store on a real disk: what it keeps, what it refuses to open, what it deletes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobmeter_coordinator::StoreError;
use jobmeter_coordinator::store::{Applied, Assembly, Change, LockError, OpenError, Retention, Store};
use jobmeter_protocol::{Quality, RecordQuery};

use crate::engines::{Bed, on_each_engine};
use crate::harness::{Running, apply, evidence, open, pod, uid, whole};

on_each_engine!(
    a_repeated_report_changes_nothing,
    who_only_reads_cannot_write,
    old_records_go_and_open_ones_stay,
    one_unreadable_row_does_not_stop_the_books_of_the_others,
    one_unreadable_row_stops_neither_the_world_nor_a_page,
    a_pod_that_is_no_job_leaves_no_record_and_its_agent_does_not_bring_it_back,
    a_row_of_a_log_that_cannot_be_read_does_not_stop_the_reports_of_its_pod_and_of_others,
    what_was_answered_is_there_after_the_store_was_opened_again,
);

async fn what_was_answered_is_there_after_the_store_was_opened_again(bed: &Bed) {
    let store = bed.open();
    let applied = apply(&store, whole(1, "sort")).await;
    assert!(matches!(applied.as_slice(), [Applied::Pod(_), Applied::Pod(_)]));
    let before = store.record(&uid(1)).await.unwrap().unwrap();
    assert_eq!(before.quality, Quality::Complete { notes: vec![] });
    // Read while the writer has it open, and after.
    assert_eq!(bed.reader().record(&uid(1)).await.unwrap().as_ref(), Some(&before));
    store.close().await.unwrap();
    assert!(matches!(store.apply(whole(2, "sort"), Timestamp::now()).await, Err(StoreError::Closed { .. })));
    assert_eq!(bed.open().record(&uid(1)).await.unwrap(), Some(before));
}

#[tokio::test]
async fn a_file_that_was_closed_is_all_there_is() {
    let bed = Bed::sqlite();
    let store = bed.open();
    apply(&store, whole(1, "sort")).await;
    store.close().await.unwrap();
    let copy = bed.files.path().join("copy.db");
    std::fs::copy(bed.file(), &copy).unwrap();
    assert!(Store::open_read_only(&copy).unwrap().record(&uid(1)).await.unwrap().is_some());
    drop(bed.open());
}

async fn a_repeated_report_changes_nothing(bed: &Bed) {
    let store = bed.open();
    apply(&store, whole(1, "sort")).await;
    assert_eq!(apply(&store, vec![Change::Evidence(Box::new(evidence(1)))]).await, [Applied::Nothing]);
}

#[test]
fn only_one_coordinator_writes_a_file() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("jobmeter.db");
    let _first = open(files.path());
    let second = Store::open(&path, Assembly::default(), Box::new(|_| {})).err().unwrap();
    assert!(matches!(&second, OpenError::Lock(LockError::Taken { .. })), "{second}");
    assert!(second.to_string().contains("another coordinator has the record store open"), "{second}");
}

async fn who_only_reads_cannot_write(bed: &Bed) {
    drop(bed.open());
    let store = bed.reader();
    assert!(matches!(store.apply(whole(1, "sort"), Timestamp::now()).await, Err(StoreError::ReadOnly { .. })));
}

#[test]
fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("jobmeter.db");
    std::fs::write(&path, "these are not the books you are looking for".repeat(100)).unwrap();
    let error = Store::open(&path, Assembly::default(), Box::new(|_| {})).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains(".recover"), "{text}");
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("jobmeter.db");
    drop(open(files.path()));
    let set_version = |version: i64| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
    };
    set_version(99);
    let error = crate::store::reopen(&path).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    assert!(matches!(Store::open_read_only(&path).err().unwrap(), OpenError::Newer { .. }));
}

/// The lock of a store that was just dropped goes with its thread.
fn reopen(path: &std::path::Path) -> Result<Store, OpenError> {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(path, Assembly::default(), Box::new(|_| {})) {
            Err(OpenError::Lock(LockError::Taken { .. })) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_a_reader() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("jobmeter.db");
    assert!(matches!(Store::open_read_only(&path).err().unwrap(), OpenError::Missing { .. }));
    assert!(!path.exists());
}

async fn old_records_go_and_open_ones_stay(bed: &Bed) {
    let store = bed.open();
    let mut changes: Vec<Change> = (1..=5).flat_map(|n| whole(n, "sort")).collect();
    let mut running = evidence(6);
    running.stage = jobmeter_protocol::Stage::Running;
    changes.push(Change::Evidence(Box::new(running)));
    apply(&store, changes).await;

    let far = Timestamp::now() + SignedDuration::from_hours(24 * 365);
    let by_count = Retention { max_age: Duration::from_secs(3600 * 24 * 10_000), max_records: 4 };
    assert_eq!(store.prune(by_count, far).await.unwrap(), 2);
    assert_eq!(store.prune(by_count, far).await.unwrap(), 0);
    let by_age = Retention { max_age: Duration::from_secs(3600), max_records: 1000 };
    assert_eq!(store.prune(by_age, far).await.unwrap(), 3);
    let left = store.records(&RecordQuery::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|record| record.identity.pod_uid.clone()).collect::<Vec<_>>(), [uid(6)]);
    assert_eq!(store.jobs(&RecordQuery::default()).await.unwrap().items.len(), 1, "the job of deleted records goes with them");
}

async fn one_unreadable_row_does_not_stop_the_books_of_the_others(bed: &Bed) {
    let store = bed.open();
    apply(&store, [whole(1, "sort"), whole(2, "sort")].concat()).await;
    bed.sabotage(&format!("UPDATE pods SET evidence = '{{' WHERE uid = '{}'", uid(1)));
    let applied = apply(&store, vec![Change::Evidence(Box::new(evidence(1))), Change::Evidence(Box::new(evidence(3)))]).await;
    assert!(matches!(&applied[0], Applied::Unreadable { uid: found, .. } if *found == uid(1)), "{applied:?}");
    assert!(matches!(&applied[1], Applied::Pod(_)));
}

async fn one_unreadable_row_stops_neither_the_world_nor_a_page(bed: &Bed) {
    let store = bed.open();
    let unresolved = |n| Change::Api { pod: Box::new(pod(n, "sort")), owners: None };
    apply(&store, vec![unresolved(1), unresolved(2)]).await;
    bed.sabotage(&format!("UPDATE pods SET api = '{{', record = '{{' WHERE uid = '{}'", uid(1)));
    let unresolved = store.unresolved_pods(None).await.unwrap();
    assert_eq!(unresolved.iter().map(|pod| pod.uid.clone()).collect::<Vec<_>>(), [uid(2)]);
    let page = store.records(&RecordQuery::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|record| record.identity.pod_uid.clone()).collect::<Vec<_>>(), [uid(2)]);
    assert_eq!(store.totals().await.unwrap().skipped, 2);
    assert_eq!(store.totals().await.unwrap().skipped, 0, "each is counted once");
}

async fn a_pod_that_is_no_job_leaves_no_record_and_its_agent_does_not_bring_it_back(bed: &Bed) {
    let store = bed.open();
    apply(&store, vec![Change::Api { pod: Box::new(pod(1, "sort")), owners: None }]).await;
    apply(&store, whole(2, "sort")).await;
    let discard = |n| Change::Discard { uid: uid(n) };
    let late = Change::Evidence(Box::new(evidence(1)));
    let applied = apply(&store, vec![discard(1), late, discard(2)]).await;
    assert_eq!(applied, [Applied::Discarded, Applied::Nothing, Applied::Nothing], "a closed record stays");
    assert_eq!(store.record(&uid(1)).await.unwrap(), None);
    assert!(store.record(&uid(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_else_may_read_the_records() {
    let files = tempfile::tempdir().unwrap();
    let store = open(files.path());
    apply(&store, whole(1, "sort")).await;
    for name in ["jobmeter.db", "jobmeter.db-wal", "jobmeter.db.lock"] {
        let mode = files.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let coordinator = Running::local_with(|config, files| config.data_dir = files.join("made/here")).await;
    let file = std::path::PathBuf::from(coordinator.handle.store().place().to_string());
    let made = file.parent().unwrap().metadata().unwrap().permissions().mode();
    assert_eq!(made & 0o777, 0o700);
}

async fn a_row_of_a_log_that_cannot_be_read_does_not_stop_the_reports_of_its_pod_and_of_others(bed: &Bed) {
    bed.open().close().await.unwrap();
    let row = format!(
        "INSERT INTO logs (pod_uid, container, attempt, namespace, pod, job, key, location, state, object_bytes, asked)
         VALUES ('{}', 'main', 0, 'bench', 'sort-1', 'sort', 'a', 'a', 'of a later release', 0, 0)",
        uid(1)
    );
    bed.sabotage(&row);
    let store = bed.open();
    let applied = apply(&store, (1..=2).flat_map(|n| whole(n, "sort")).collect()).await;
    assert!(applied.iter().all(|applied| matches!(applied, Applied::Pod(_))), "{applied:?}");
    assert!(store.record(&uid(1)).await.unwrap().is_some() && store.record(&uid(2)).await.unwrap().is_some());
}
