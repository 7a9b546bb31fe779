//! SQLite's tables, and the way from each earlier version of them to the present one.
//!
//! `user_version` counts the migrations that were applied. A migration is never changed once it was released.

use rusqlite::Connection;

/// Applied in order; the version of a database is how many it has.
pub(super) const MIGRATIONS: &[&str] = &[FIRST, LOGS, super::archive::SQLITE, super::runs::schema::SQLITE];

/// From this version on there is a ledger of logs.
pub(super) const WITH_LOGS: usize = 2;
/// From this version on there are runs.
pub(super) const WITH_RUNS: usize = 4;

/// Times are nanoseconds since 1970. Documents (`api`, `evidence`, `owners`, `record`) are the protocol's JSON; the columns
/// before them repeat of the record what queries filter and sort by.
const FIRST: &str = "
CREATE TABLE pods (
    uid           TEXT PRIMARY KEY NOT NULL,
    namespace     TEXT NOT NULL,
    name          TEXT NOT NULL,
    job_uid       TEXT NOT NULL,
    job_name      TEXT NOT NULL,
    owner_keys    TEXT NOT NULL, -- name and UID of each owner, each between line feeds
    node          TEXT,
    reason        TEXT NOT NULL,
    quality       TEXT NOT NULL, -- provisional | complete | partial
    state         TEXT NOT NULL, -- open | complete | partial | amendable
    created       INTEGER,
    started       INTEGER,
    finished      INTEGER,
    elapsed       REAL,
    cpu           REAL,
    cpu_method    TEXT,
    memory        INTEGER,
    memory_method TEXT,
    rss           INTEGER,
    rss_method    TEXT,
    oom_kills     INTEGER NOT NULL,
    api_known     TEXT NOT NULL, -- never | live | terminal | vanished
    scheduled     INTEGER NOT NULL,
    ran           INTEGER NOT NULL,
    stage         TEXT, -- of the evidence: running | ended | final
    vanished      INTEGER, -- when the API object was found to be gone
    ended         INTEGER, -- when the end became known here
    recorded      INTEGER NOT NULL,
    changed       INTEGER NOT NULL,
    labels        TEXT NOT NULL,
    resources     TEXT NOT NULL,
    owners        TEXT,
    api           TEXT,
    evidence      TEXT,
    record        TEXT NOT NULL
) STRICT;
CREATE INDEX pods_finished ON pods (COALESCE(finished, 9223372036854775807) DESC, uid);
CREATE INDEX pods_started  ON pods (COALESCE(started, 9223372036854775807) DESC, uid);
CREATE INDEX pods_name     ON pods (namespace, name);
CREATE INDEX pods_job      ON pods (job_uid);
CREATE INDEX pods_open     ON pods (state) WHERE state = 'open';
CREATE INDEX pods_closed   ON pods (COALESCE(finished, recorded)) WHERE state != 'open';
CREATE INDEX pods_quality  ON pods (quality);

CREATE TABLE jobs (
    uid         TEXT PRIMARY KEY NOT NULL,
    namespace   TEXT NOT NULL,
    api_version TEXT NOT NULL,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    cluster     TEXT NOT NULL,
    condition   TEXT, -- active | complete | failed, where its object was seen
    created     INTEGER,
    finished    INTEGER,
    gone        INTEGER NOT NULL DEFAULT 0,
    owned       INTEGER NOT NULL DEFAULT 0 -- it is a step of something above it, to which its pods are counted
) STRICT;
CREATE INDEX jobs_name ON jobs (namespace, name);
";

/// `content` is the protocol's JSON. `asked` is when the row was made; `stored` of a lost log is that of its notice.
const LOGS: &str = "
CREATE TABLE logs (
    pod_uid      TEXT NOT NULL,
    container    TEXT NOT NULL,
    attempt      INTEGER NOT NULL,
    namespace    TEXT NOT NULL,
    pod          TEXT NOT NULL,
    job          TEXT NOT NULL,
    node         TEXT,
    kind         TEXT, -- init | sidecar | main | ephemeral
    key          TEXT NOT NULL UNIQUE,
    location     TEXT NOT NULL,
    state        TEXT NOT NULL, -- expected | complete | truncated | lost | expired
    why          TEXT,
    object_bytes INTEGER NOT NULL,
    raw_bytes    INTEGER,
    times_bytes  INTEGER, -- of the object with the times of the lines
    content      TEXT,
    asked        INTEGER NOT NULL,
    ended        INTEGER,
    stored       INTEGER,
    PRIMARY KEY (pod_uid, container, attempt)
) STRICT;
CREATE INDEX logs_asked    ON logs (asked DESC, pod_uid, container, attempt);
CREATE INDEX logs_pod      ON logs (namespace, pod);
CREATE INDEX logs_job      ON logs (job, namespace);
CREATE INDEX logs_state    ON logs (state, asked) WHERE state IN ('expected', 'truncated', 'lost');
CREATE INDEX logs_stored   ON logs (stored) WHERE stored IS NOT NULL AND state != 'expired';
CREATE INDEX logs_expected ON logs (asked) WHERE state = 'expected';
";

#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("version {found}")]
    Newer { found: usize },
}

pub(super) fn version(connection: &Connection) -> Result<usize, rusqlite::Error> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        .map(|version| usize::try_from(version).unwrap_or(usize::MAX))
}

/// Each step is one transaction with its new version, so a crash between leaves a database that goes on from there.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let found = version(connection)?;
    if found > MIGRATIONS.len() {
        return Err(SchemaError::Newer { found });
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", i64::try_from(index + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}
