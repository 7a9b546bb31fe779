//! One PostgreSQL and several coordinators: who may write, and what becomes of the books when the server or its connections go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_coordinator::StoreError;
use jobmeter_coordinator::store::{Address, Assembly, Fenced, OpenError, Place, Retention, Store};
use jobmeter_protocol::RecordQuery;

use crate::engines::Bed;
use crate::harness::{apply, eventually, uid, whole};
use crate::postgres::Server;

fn leader(bed: &Bed, epoch: u64) -> Result<Store, OpenError> {
    Store::open_leader(&bed.place(), epoch, Assembly::default(), Box::new(|_| {}))
}

/// Everything that an error says, with its causes.
fn said(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}"));
    std::iter::once(format!("{error} {error:?}")).chain(causes).collect()
}

async fn count(store: &Store) -> usize {
    let mut query = RecordQuery { limit: Some(1000), ..RecordQuery::default() };
    let mut found = 0;
    loop {
        let page = store.records(&query).await.unwrap();
        found += page.items.len();
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn a_write_of_an_old_epoch_is_refused_and_nothing_of_it_is_stored() {
    let Some(bed) = Bed::postgres() else { return };
    let old = leader(&bed, 1).unwrap();
    apply(&old, whole(1, "sort")).await;
    let new = leader(&bed, 2).unwrap();
    let error = old.apply(whole(2, "sort"), Timestamp::now()).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { epoch: 1, found: 2, .. }), "{error:?}");
    assert!(error.to_string().starts_with("another coordinator leads now"), "{error}");
    old.ended().await;
    assert_eq!(old.fenced(), Some(Fenced { epoch: 1, found: 2 }));
    for error in [
        old.apply(whole(3, "sort"), Timestamp::now()).await.unwrap_err(),
        old.prune(Retention::default(), Timestamp::now()).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
    }
    assert!(matches!(leader(&bed, 1).err().unwrap(), OpenError::Fenced { .. }));
    apply(&new, whole(4, "sort")).await;
    assert_eq!(count(&new).await, 2, "those of the first and of the last write");
    assert!(old.record(&uid(4)).await.unwrap().is_some(), "it still reads");
}

#[tokio::test]
async fn two_leaders_of_one_epoch_do_not_both_write_after_the_lease_was_deleted() {
    let Some(bed) = Bed::postgres() else { return };
    let old = leader(&bed, 1).unwrap();
    // Whoever makes the Lease anew counts from the beginning.
    let error = leader(&bed, 1).err().unwrap();
    assert!(matches!(error, OpenError::Fenced { .. }), "{error:?}");
    apply(&old, whole(1, "sort")).await;
    apply(&leader(&bed, 2).unwrap(), whole(2, "sort")).await;
    assert!(matches!(old.apply(whole(3, "sort"), Timestamp::now()).await, Err(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn whatever_an_old_leader_was_told_is_stored_is_there_and_nothing_else() {
    let Some(bed) = Bed::postgres() else { return };
    let old = leader(&bed, 7).unwrap();
    let writing = tokio::spawn(async move {
        let mut stored = 0;
        while old.apply(whole(stored, "sort"), Timestamp::now()).await.is_ok() {
            stored += 1;
        }
        stored
    });
    let follower = bed.reader();
    eventually("the old leader to write", async || (count(&follower).await >= 20).then_some(())).await;
    let new = tokio::task::spawn_blocking(move || leader(&bed, 8).map(|new| (bed, new))).await.unwrap();
    let (_bed, new) = new.unwrap();
    let at_once = count(&new).await;
    assert_eq!(writing.await.unwrap(), at_once, "acknowledged and stored");
    assert_eq!(count(&new).await, at_once);
}

#[tokio::test]
async fn a_follower_reads_what_the_leader_writes_and_takes_its_place() {
    let Some(bed) = Bed::postgres() else { return };
    let (old, follower) = (leader(&bed, 1).unwrap(), bed.reader());
    for n in 0..20 {
        apply(&old, whole(n, "sort")).await;
        assert_eq!(count(&follower).await, n + 1);
    }
    let error = follower.apply(whole(50, "sort"), Timestamp::now()).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    // Whoever had it before has the writing one.
    let clone = follower.clone();
    follower.lead(2, Assembly::default(), Box::new(|_| {})).unwrap();
    apply(&clone, whole(50, "sort")).await;
    assert!(matches!(old.apply(whole(51, "sort"), Timestamp::now()).await, Err(StoreError::Fenced { .. })));
    assert!(matches!(clone.lead(2, Assembly::default(), Box::new(|_| {})), Err(OpenError::Leading { .. })));
    assert_eq!(count(&follower).await, 21);
}

/// Each pod is told until it is stored, as agents do.
async fn write_all(store: Store, pods: std::ops::Range<usize>) -> usize {
    let mut errors = 0;
    for n in pods {
        while let Err(error) = store.apply(whole(n, "sort"), Timestamp::now()).await {
            assert!(matches!(error, StoreError::Engine { .. }), "{error:?}");
            errors += 1;
        }
    }
    errors
}

async fn all_once(bed: &Bed, store: &Store, pods: usize) {
    assert_eq!(count(store).await, pods);
    for n in 0..pods {
        let record = store.record(&uid(n)).await.unwrap().unwrap_or_else(|| panic!("record {n} is lost"));
        assert!((record.usage.cpu_seconds.unwrap().value - n as f64 / 100.0).abs() < 1e-9, "record {n}");
    }
    // Closed once, and so queued once for the archive.
    bed.sabotage(&format!("DO $$ BEGIN ASSERT (SELECT count(*) FROM archive_queue) = {pods}; END $$"));
}

#[tokio::test]
async fn a_server_that_is_restarted_costs_no_record_and_doubles_none() {
    let Some(server) = tokio::task::spawn_blocking(Server::start).await.unwrap().map(Arc::new) else { return };
    let bed = Bed::on(&server);
    let store = leader(&bed, 1).unwrap();
    let writers = [0..100, 100..200].map(|pods| tokio::spawn(write_all(store.clone(), pods)));
    for seen in [30, 100] {
        eventually("some records", async || store.records(&RecordQuery::default()).await.is_ok().then_some(())).await;
        eventually("more records", async || (count(&store).await >= seen).then_some(())).await;
        let server = server.clone();
        tokio::task::spawn_blocking(move || {
            server.stop();
            server.run();
        })
        .await
        .unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    all_once(&bed, &store, 200).await;
}

#[tokio::test]
async fn connections_that_are_cut_cost_no_record_and_double_none() {
    let Some(bed) = Bed::postgres() else { return };
    let store = leader(&bed, 1).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let cutting = {
        let (done, place) = (done.clone(), bed.url());
        std::thread::spawn(move || {
            let mut client = postgres::Client::connect(&place, postgres::NoTls).unwrap();
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid != pg_backend_pid()";
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                client.batch_execute(cut).unwrap();
                times += 1;
                std::thread::sleep(Duration::from_millis(150));
            }
            times
        })
    };
    write_all(store.clone(), 0..100).await;
    done.store(true, Ordering::Relaxed);
    assert!(cutting.join().unwrap() > 1);
    all_once(&bed, &store, 100).await;
}

#[tokio::test]
async fn several_coordinators_open_an_empty_database_at_once() {
    let Some(bed) = Bed::postgres() else { return };
    let opened: Vec<_> = (0..6)
        .map(|_| {
            let place = bed.place();
            std::thread::spawn(move || Store::open_follower(&place))
        })
        .collect();
    for store in opened {
        assert_eq!(count(&store.join().unwrap().unwrap()).await, 0);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let Some(bed) = Bed::postgres() else { return };
    drop(bed.reader());
    bed.sabotage("INSERT INTO migrations (version) VALUES (99)");
    let error = Store::open_follower(&bed.place()).err().unwrap();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_without_the_password() {
    let Some(bed) = Bed::postgres() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = format!("postgres://jobmeter:never-shown@127.0.0.1:{port}/books");
    let nobody = bed.url().replace("/test", "/no-such-test");
    for url in [away, nobody] {
        let place = Place::Postgres(Address::url(&url).unwrap());
        let error = said(&Store::open_follower(&place).err().unwrap());
        assert!(error.contains("failed to reach the record store postgres://127.0.0.1:"), "{error}");
        assert!(!error.contains("never-shown") && !format!("{place:?}").contains("never-shown"), "{error}");
    }
}
