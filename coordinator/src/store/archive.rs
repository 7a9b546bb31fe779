//! Which closed records are to be archived. The database itself queues each record when it is closed, in the same
//! transaction, so none is passed over whatever the clock does and however often the process dies.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::engine::EngineError;
use super::row::timestamp;
use super::sql::{Database, Row, Value};

/// A record whose log is stored later is not queued again: the manifest beside the log tells of it.
pub(super) const SQLITE: &str = "
CREATE TABLE archive_queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL
) STRICT;
CREATE INDEX archive_queue_uid ON archive_queue (uid);
INSERT INTO archive_queue (uid) SELECT uid FROM pods WHERE state != 'open' ORDER BY recorded, uid;
CREATE TRIGGER archive_closed AFTER INSERT ON pods WHEN NEW.state != 'open'
    BEGIN INSERT INTO archive_queue (uid) VALUES (NEW.uid); END;
CREATE TRIGGER archive_changed AFTER UPDATE ON pods
    WHEN NEW.state != 'open' AND (OLD.state != NEW.state OR (NEW.state = 'amendable' AND OLD.evidence IS NOT NEW.evidence))
    BEGIN INSERT INTO archive_queue (uid) VALUES (NEW.uid); END;
CREATE TRIGGER archive_deleted AFTER DELETE ON pods
    BEGIN DELETE FROM archive_queue WHERE uid = OLD.uid; END;
";

/// The same for PostgreSQL.
pub(super) const POSTGRES: &str = "
CREATE TABLE archive_queue (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid TEXT COLLATE \"C\" NOT NULL
);
CREATE INDEX archive_queue_uid ON archive_queue (uid);
CREATE FUNCTION archive_queue_add() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO archive_queue (uid) VALUES (NEW.uid); RETURN NULL; END $$;
CREATE FUNCTION archive_queue_drop() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN DELETE FROM archive_queue WHERE uid = OLD.uid; RETURN NULL; END $$;
CREATE TRIGGER archive_closed AFTER INSERT ON pods FOR EACH ROW WHEN (NEW.state != 'open')
    EXECUTE FUNCTION archive_queue_add();
CREATE TRIGGER archive_changed AFTER UPDATE ON pods FOR EACH ROW
    WHEN (NEW.state != 'open' AND (OLD.state != NEW.state OR (NEW.state = 'amendable' AND OLD.evidence IS DISTINCT FROM NEW.evidence)))
    EXECUTE FUNCTION archive_queue_add();
CREATE TRIGGER archive_deleted AFTER DELETE ON pods FOR EACH ROW EXECUTE FUNCTION archive_queue_drop();
";

/// A closed record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archivable {
    /// In the order of closing.
    pub seq: i64,
    pub uid: String,
    pub finished: Option<Timestamp>,
    pub recorded: Timestamp,
    /// JSON, one line.
    pub record: String,
}

/// The oldest that wait, until there are so many or they have so many bytes; at least one if any waits.
pub(super) fn batch(database: &mut dyn Database, records: u32, bytes: usize) -> Result<Vec<Archivable>, EngineError> {
    const OLDEST: &str = "SELECT q.seq, q.uid, p.finished, p.recorded, p.record FROM archive_queue q JOIN pods p ON p.uid = q.uid
                          ORDER BY q.seq LIMIT ?";
    let mut found = Vec::new();
    let mut size = 0;
    let limit = Value::Integer(i64::from(records));
    database.each("list the records to archive", OLDEST, &[limit], &mut |mut row| {
        let record = archivable(&mut row)?;
        size += record.record.len();
        if size > bytes && !found.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        found.push(record);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// All up to that one are archived.
pub(super) fn done(database: &mut dyn Database, seq: i64) -> Result<(), EngineError> {
    const DONE: &str = "DELETE FROM archive_queue WHERE seq <= ?";
    database.execute("note what was archived", DONE, &[Value::Integer(seq)]).map(drop)
}

fn archivable(row: &mut Row) -> Result<Archivable, EngineError> {
    Ok(Archivable {
        seq: row.integer(0)?,
        uid: row.text(1)?,
        finished: row.optional_integer(2)?.map(timestamp),
        recorded: timestamp(row.integer(3)?),
        record: row.text(4)?,
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::sqlite::Sqlite;

    fn database() -> Sqlite {
        let connection = Connection::open_in_memory().unwrap();
        let pods = "CREATE TABLE pods (uid TEXT PRIMARY KEY, state TEXT, finished INTEGER, recorded INTEGER, record TEXT, evidence TEXT);
                    INSERT INTO pods VALUES ('b', 'complete', 2, 2, 'B', NULL), ('a', 'partial', NULL, 1, 'A', NULL), ('o', 'open', NULL, 3, 'O', NULL);";
        connection.execute_batch(pods).unwrap();
        connection.execute_batch(SQLITE).unwrap();
        Sqlite::of(connection)
    }

    fn waiting(database: &mut Sqlite, records: u32, bytes: usize) -> String {
        batch(database, records, bytes).unwrap().into_iter().map(|record| record.record).collect()
    }

    #[test]
    fn what_was_closed_before_waits_first_and_then_in_the_order_of_closing() {
        let mut books = database();
        assert_eq!(waiting(&mut books, 10, 100), "AB");
        let close = "INSERT INTO pods VALUES ('n', 'complete', 0, 0, 'N', NULL);
                     UPDATE pods SET state = 'complete', record = 'Q' WHERE uid = 'o';
                     UPDATE pods SET record = 'R' WHERE uid = 'o';";
        books.connection.execute_batch(close).unwrap();
        assert_eq!(waiting(&mut books, 10, 100), "ABNR");
        assert_eq!(
            (waiting(&mut books, 2, 100), waiting(&mut books, 10, 3), waiting(&mut books, 10, 0)),
            ("AB".into(), "ABN".into(), "A".into())
        );
    }

    #[test]
    fn what_is_done_or_deleted_waits_no_more_and_what_is_amended_waits_again() {
        let mut books = database();
        let first = batch(&mut books, 1, 100).unwrap()[0].seq;
        done(&mut books, first).unwrap();
        assert_eq!(waiting(&mut books, 10, 100), "B");
        books
            .connection
            .execute_batch("DELETE FROM pods WHERE uid = 'b'; UPDATE pods SET state = 'complete' WHERE uid = 'a'")
            .unwrap();
        assert_eq!(waiting(&mut books, 10, 100), "A");
    }

    #[test]
    fn a_record_that_is_amended_and_still_amendable_waits_again_and_one_that_only_got_its_log_does_not() {
        let mut books = database();
        books.connection.execute_batch("UPDATE pods SET state = 'amendable' WHERE uid = 'a'; DELETE FROM archive_queue").unwrap();
        books.connection.execute_batch("UPDATE pods SET record = 'L' WHERE uid = 'a'").unwrap();
        assert_eq!(waiting(&mut books, 10, 100), "");
        books.connection.execute_batch("UPDATE pods SET record = 'M', evidence = '{}' WHERE uid = 'a'").unwrap();
        assert_eq!(waiting(&mut books, 10, 100), "M");
    }
}
