//! PostgreSQL's tables, and the way from each earlier version of them to the present one.
//!
//! The table `migrations` has a row for each that was applied. One is never changed once it was released, and each must leave
//! what the release before it needs: during a rollout the two work on one database.

use postgres::{Error, Transaction};

use super::super::archive;
use super::super::engine::EngineError;
use super::super::open::OpenError;
use super::super::runs;
use super::Address;
use super::session::Session;

const MIGRATIONS: &[&str] = &[FIRST, archive::POSTGRES, runs::schema::POSTGRES];
/// What the lock is called during a migration: "jobmeter".
const LOCK: i64 = 0x6a6f_626d_6574_6572;
const OLDEST_SERVER: i32 = 130_000;

/// As SQLite's: times are nanoseconds since 1970, flags are 0 and 1, documents are the protocol's JSON as text. Text is compared by its bytes.
const FIRST: &str = r#"
CREATE TABLE leadership (
    one   BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    epoch BIGINT NOT NULL
);
INSERT INTO leadership (epoch) VALUES (0);

CREATE TABLE pods (
    uid           TEXT COLLATE "C" PRIMARY KEY,
    namespace     TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    job_uid       TEXT COLLATE "C" NOT NULL,
    job_name      TEXT COLLATE "C" NOT NULL,
    owner_keys    TEXT COLLATE "C" NOT NULL,
    node          TEXT COLLATE "C",
    reason        TEXT COLLATE "C" NOT NULL,
    quality       TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    created       BIGINT,
    started       BIGINT,
    finished      BIGINT,
    elapsed       DOUBLE PRECISION,
    cpu           DOUBLE PRECISION,
    cpu_method    TEXT COLLATE "C",
    memory        BIGINT,
    memory_method TEXT COLLATE "C",
    rss           BIGINT,
    rss_method    TEXT COLLATE "C",
    oom_kills     BIGINT NOT NULL,
    api_known     TEXT COLLATE "C" NOT NULL,
    scheduled     BIGINT NOT NULL,
    ran           BIGINT NOT NULL,
    stage         TEXT COLLATE "C",
    vanished      BIGINT,
    ended         BIGINT,
    recorded      BIGINT NOT NULL,
    changed       BIGINT NOT NULL,
    labels        JSONB NOT NULL,
    resources     TEXT NOT NULL,
    owners        TEXT,
    api           TEXT,
    evidence      TEXT,
    record        TEXT NOT NULL
);
CREATE INDEX pods_finished ON pods (COALESCE(finished, 9223372036854775807) DESC, uid);
CREATE INDEX pods_started  ON pods (COALESCE(started, 9223372036854775807) DESC, uid);
CREATE INDEX pods_name     ON pods (namespace, name);
CREATE INDEX pods_job      ON pods (job_uid);
CREATE INDEX pods_open     ON pods (state) WHERE state = 'open';
CREATE INDEX pods_closed   ON pods (COALESCE(finished, recorded)) WHERE state != 'open';
CREATE INDEX pods_quality  ON pods (quality);

CREATE TABLE jobs (
    uid         TEXT COLLATE "C" PRIMARY KEY,
    namespace   TEXT COLLATE "C" NOT NULL,
    api_version TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    cluster     TEXT COLLATE "C" NOT NULL,
    condition   TEXT COLLATE "C",
    created     BIGINT,
    finished    BIGINT,
    gone        BIGINT NOT NULL DEFAULT 0,
    owned       BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX jobs_name ON jobs (namespace, name);

CREATE TABLE logs (
    pod_uid      TEXT COLLATE "C" NOT NULL,
    container    TEXT COLLATE "C" NOT NULL,
    attempt      BIGINT NOT NULL,
    namespace    TEXT COLLATE "C" NOT NULL,
    pod          TEXT COLLATE "C" NOT NULL,
    job          TEXT COLLATE "C" NOT NULL,
    node         TEXT COLLATE "C",
    kind         TEXT COLLATE "C",
    key          TEXT COLLATE "C" NOT NULL UNIQUE,
    location     TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    why          TEXT,
    object_bytes BIGINT NOT NULL,
    raw_bytes    BIGINT,
    times_bytes  BIGINT,
    content      TEXT,
    asked        BIGINT NOT NULL,
    ended        BIGINT,
    stored       BIGINT,
    PRIMARY KEY (pod_uid, container, attempt)
);
CREATE INDEX logs_asked    ON logs (asked DESC, pod_uid, container, attempt);
CREATE INDEX logs_pod      ON logs (namespace, pod);
CREATE INDEX logs_job      ON logs (job, namespace);
CREATE INDEX logs_state    ON logs (state, asked) WHERE state IN ('expected', 'truncated', 'lost');
CREATE INDEX logs_stored   ON logs (stored) WHERE stored IS NOT NULL AND state != 'expired';
CREATE INDEX logs_expected ON logs (asked) WHERE state = 'expected';
"#;

/// One transaction, under a lock: of several coordinators that start at once one does it, and the others find it done.
pub(super) fn bring_up_to_date(session: &mut Session, address: &Address) -> Result<(), OpenError> {
    let store = || address.to_string();
    let failed = |source| {
        let action = "migrate its schema";
        OpenError::Schema { store: store(), source: EngineError::Postgres { action, source } }
    };
    let (number, name) = server(session).map_err(failed)?;
    if number < OLDEST_SERVER {
        return Err(OpenError::TooOld { store: store(), found: name });
    }
    let mut transaction = session.client.transaction().map_err(failed)?;
    let found = version(&mut transaction).map_err(failed)?;
    if found > MIGRATIONS.len() {
        return Err(OpenError::NewerSchema { store: store(), found, known: MIGRATIONS.len() });
    }
    migrate(&mut transaction, found).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn server(session: &mut Session) -> Result<(i32, String), Error> {
    let row =
        session.client.query_one("SELECT current_setting('server_version_num')::int, current_setting('server_version')", &[])?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Under the lock from here on.
fn version(transaction: &mut Transaction<'_>) -> Result<usize, Error> {
    transaction.batch_execute("SET LOCAL statement_timeout = 0")?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let exists: bool = transaction.query_one("SELECT to_regclass('migrations') IS NOT NULL", &[])?.try_get(0)?;
    if !exists {
        transaction
            .batch_execute("CREATE TABLE migrations (version BIGINT PRIMARY KEY, applied TIMESTAMPTZ NOT NULL DEFAULT now())")?;
    }
    let found: i64 = transaction.query_one("SELECT COALESCE(max(version), 0) FROM migrations", &[])?.try_get(0)?;
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

fn migrate(transaction: &mut Transaction<'_>, found: usize) -> Result<(), Error> {
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        transaction.batch_execute(migration)?;
        let version = i64::try_from(index + 1).unwrap_or(i64::MAX);
        transaction.execute("INSERT INTO migrations (version) VALUES ($1)", &[&version])?;
    }
    Ok(())
}
