//! Which closed records are to be archived. The database itself queues each record when it is closed, in the same
//! transaction, so none is passed over whatever the clock does and however often the process dies.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::engine::EngineError;
use super::row::{failed, timestamp};

/// A record whose log is stored later is not queued again: the manifest beside the log tells of it.
pub(super) const MIGRATION: &str = "
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
pub(super) fn batch(connection: &Connection, records: u32, bytes: usize) -> Result<Vec<Archivable>, EngineError> {
    const OLDEST: &str = "SELECT q.seq, q.uid, p.finished, p.recorded, p.record FROM archive_queue q JOIN pods p ON p.uid = q.uid
                          ORDER BY q.seq LIMIT ?";
    let mut found = Vec::new();
    let mut size = 0;
    let mut read = || -> Result<(), rusqlite::Error> {
        let mut select = connection.prepare_cached(OLDEST)?;
        let mut rows = select.query([records])?;
        while let Some(row) = rows.next()? {
            let record = archivable(row)?;
            size += record.record.len();
            if size > bytes && !found.is_empty() {
                break;
            }
            found.push(record);
        }
        Ok(())
    };
    read().map_err(failed("list the records to archive"))?;
    Ok(found)
}

/// All up to that one are archived.
pub(super) fn done(connection: &Connection, seq: i64) -> Result<(), EngineError> {
    let deleted = connection.execute("DELETE FROM archive_queue WHERE seq <= ?", [seq]);
    deleted.map(drop).map_err(failed("note what was archived"))
}

fn archivable(row: &Row<'_>) -> Result<Archivable, rusqlite::Error> {
    Ok(Archivable {
        seq: row.get(0)?,
        uid: row.get(1)?,
        finished: row.get::<_, Option<i64>>(2)?.map(timestamp),
        recorded: timestamp(row.get(3)?),
        record: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let pods = "CREATE TABLE pods (uid TEXT PRIMARY KEY, state TEXT, finished INTEGER, recorded INTEGER, record TEXT, evidence TEXT);
                    INSERT INTO pods VALUES ('b', 'complete', 2, 2, 'B', NULL), ('a', 'partial', NULL, 1, 'A', NULL), ('o', 'open', NULL, 3, 'O', NULL);";
        connection.execute_batch(pods).unwrap();
        connection.execute_batch(MIGRATION).unwrap();
        connection
    }

    fn waiting(connection: &Connection, records: u32, bytes: usize) -> String {
        batch(connection, records, bytes).unwrap().into_iter().map(|record| record.record).collect()
    }

    #[test]
    fn what_was_closed_before_waits_first_and_then_in_the_order_of_closing() {
        let connection = database();
        assert_eq!(waiting(&connection, 10, 100), "AB");
        let close = "INSERT INTO pods VALUES ('n', 'complete', 0, 0, 'N', NULL);
                     UPDATE pods SET state = 'complete', record = 'Q' WHERE uid = 'o';
                     UPDATE pods SET record = 'R' WHERE uid = 'o';";
        connection.execute_batch(close).unwrap();
        assert_eq!(waiting(&connection, 10, 100), "ABNR");
        assert_eq!(
            (waiting(&connection, 2, 100), waiting(&connection, 10, 3), waiting(&connection, 10, 0)),
            ("AB".into(), "ABN".into(), "A".into())
        );
    }

    #[test]
    fn what_is_done_or_deleted_waits_no_more_and_what_is_amended_waits_again() {
        let connection = database();
        let first = batch(&connection, 1, 100).unwrap()[0].seq;
        done(&connection, first).unwrap();
        assert_eq!(waiting(&connection, 10, 100), "B");
        connection.execute_batch("DELETE FROM pods WHERE uid = 'b'; UPDATE pods SET state = 'complete' WHERE uid = 'a'").unwrap();
        assert_eq!(waiting(&connection, 10, 100), "A");
    }

    #[test]
    fn a_record_that_is_amended_and_still_amendable_waits_again_and_one_that_only_got_its_log_does_not() {
        let connection = database();
        connection.execute_batch("UPDATE pods SET state = 'amendable' WHERE uid = 'a'; DELETE FROM archive_queue").unwrap();
        connection.execute_batch("UPDATE pods SET record = 'L' WHERE uid = 'a'").unwrap();
        assert_eq!(waiting(&connection, 10, 100), "");
        connection.execute_batch("UPDATE pods SET record = 'M', evidence = '{}' WHERE uid = 'a'").unwrap();
        assert_eq!(waiting(&connection, 10, 100), "M");
    }
}
