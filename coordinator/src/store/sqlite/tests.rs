//! What needs a hand on the connection: a full disk, and databases of other versions.

use jobmeter_decide::chase::Ending;
use jobmeter_decide::example;
use jobmeter_protocol::runs::RunQuery;

use super::*;
use crate::store::books::Books;
use crate::store::change::{Assembly, PodChange, StoredPod, apply};
use crate::store::engine::StoreEngine;
use crate::store::records;
use crate::store::runs::query::RunSelect;

fn books(path: &Path) -> Books<Sqlite> {
    Books::new(Sqlite::open(path).unwrap(), Default::default())
}

fn stored(n: usize) -> StoredPod {
    let uid = format!("{n}");
    let evidence = jobmeter_protocol::PodEvidence { pod_uid: uid.clone(), ..example::evidence() };
    let pod = apply(&uid, None, PodChange::Evidence(Box::new(evidence)), &Assembly::default(), example::at(9.0)).unwrap().after;
    apply(&uid, Some(pod), PodChange::Close(Ending::Whole), &Assembly::default(), example::at(9.0)).unwrap().after
}

#[test]
fn a_full_disk_fails_the_transaction_and_leaves_what_was_there() {
    let files = tempfile::tempdir().unwrap();
    let mut engine = books(&files.path().join("jobmeter.db"));
    engine.save_pod(&stored(0)).unwrap();
    let pages: i64 = engine.database.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    engine.database.connection.pragma_update(None, "max_page_count", pages + 2).unwrap();
    engine.begin().unwrap();
    let error = (1..100).find_map(|n| engine.save_pod(&stored(n)).err()).unwrap();
    assert!(error.is_full(), "{error:?}");
    engine.rollback().unwrap();
    assert!(engine.record("0").unwrap().is_some());
    assert_eq!(engine.record("1").unwrap(), None);
    // Space comes back, and so does the store.
    engine.database.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    engine.begin().unwrap();
    engine.save_pod(&stored(1)).unwrap();
    engine.commit().unwrap();
    assert!(engine.record("1").unwrap().is_some());
}

#[test]
fn every_released_schema_is_brought_up_to_date() {
    for from in 0..schema::MIGRATIONS.len() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("jobmeter.db");
        let connection = Connection::open(&path).unwrap();
        schema::MIGRATIONS[..from].iter().for_each(|migration| connection.execute_batch(migration).unwrap());
        connection.pragma_update(None, "user_version", i64::try_from(from).unwrap()).unwrap();
        drop(connection);
        let mut engine = books(&path);
        assert_eq!(schema::version(&engine.database.connection).unwrap(), schema::MIGRATIONS.len());
        engine.save_pod(&stored(1)).unwrap();
        assert_eq!(engine.load_pod("1").unwrap(), Some(stored(1)));
        assert_eq!(engine.run_secret(b"secret").unwrap(), b"secret");
        assert_eq!(engine.stored_runs().unwrap(), (vec![], vec![]));
        drop(engine);
        Sqlite::open(&path).unwrap();
    }
}

#[test]
fn a_file_of_before_there_were_runs_is_read_and_has_none() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("jobmeter.db");
    let connection = Connection::open(&path).unwrap();
    let before = schema::WITH_RUNS - 1;
    schema::MIGRATIONS[..before].iter().for_each(|migration| connection.execute_batch(migration).unwrap());
    connection.pragma_update(None, "user_version", i64::try_from(before).unwrap()).unwrap();
    drop(connection);
    let mut engine = Books::new(Sqlite::open_read_only(&path).unwrap(), Default::default());
    assert_eq!(engine.stored_runs().unwrap(), (vec![], vec![]));
    let all = RunSelect::new(&RunQuery::default()).unwrap();
    assert_eq!(engine.run_page(&all).unwrap().items, []);
    assert_eq!((engine.run("202611211930").unwrap(), engine.run_results("202611211930").unwrap()), (None, None));
}

#[test]
fn what_is_acknowledged_is_synced_to_the_disk() {
    let files = tempfile::tempdir().unwrap();
    let engine = Sqlite::open(&files.path().join("jobmeter.db")).unwrap();
    let pragma = |name: &str| engine.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, Column>(0)).unwrap();
    assert_eq!(pragma("journal_mode"), Column::Text("wal".into()));
    assert_eq!(pragma("synchronous"), Column::Integer(2), "FULL");
}

#[test]
fn counting_and_retention_use_an_index_and_not_the_whole_table() {
    let files = tempfile::tempdir().unwrap();
    let engine = Sqlite::open(&files.path().join("jobmeter.db")).unwrap();
    let plan = |sql: &str| -> String {
        let mut explain = engine.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![Value::Integer(1); explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    for (sql, expected) in [
        (records::TOTALS, "SCAN pods USING COVERING INDEX pods_quality"),
        (crate::store::retention::AGED, "SEARCH pods USING INDEX pods_closed (<expr><?)"),
        (crate::store::retention::OLDEST, "SCAN pods USING INDEX pods_closed"),
    ] {
        assert_eq!(plan(sql), expected);
    }
}

#[test]
fn a_file_name_of_any_kind_can_be_opened_as_immutable() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("100% of?it#all.db");
    let mut engine = books(&path);
    engine.save_pod(&stored(1)).unwrap();
    drop(engine);
    let mut engine = Books::new(Sqlite::read_only(&path, immutable(&path)).unwrap(), Default::default());
    assert!(engine.record("1").unwrap().is_some());
}
