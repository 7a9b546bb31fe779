//! The tables of runs, as a migration of each database.
//!
//! Documents (`run`, `settings`, `doc`, `result`) are the protocol's JSON, times are nanoseconds since 1970. A node's row may have a
//! result and nothing else yet.

pub(in crate::store) const SQLITE: &str = "
CREATE TABLE runs (
    id         TEXT PRIMARY KEY NOT NULL,
    definition TEXT NOT NULL,
    state      TEXT NOT NULL, -- running | succeeded | failed | cancelled
    created    INTEGER NOT NULL,
    finished   INTEGER,
    run        TEXT NOT NULL,
    settings   TEXT NOT NULL
) STRICT;
CREATE INDEX runs_definition ON runs (definition, id);
CREATE TABLE run_nodes (
    run    TEXT NOT NULL,
    node   TEXT NOT NULL,
    state  TEXT,
    doc    TEXT,
    result TEXT,
    PRIMARY KEY (run, node)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_definitions (
    definition TEXT PRIMARY KEY NOT NULL,
    doc        TEXT NOT NULL
) STRICT;
CREATE TABLE run_secret (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    secret TEXT NOT NULL -- base64
) STRICT;
";

/// The same for PostgreSQL.
pub(in crate::store) const POSTGRES: &str = r#"
CREATE TABLE runs (
    id         TEXT COLLATE "C" PRIMARY KEY,
    definition TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    created    BIGINT NOT NULL,
    finished   BIGINT,
    run        TEXT NOT NULL,
    settings   TEXT NOT NULL
);
CREATE INDEX runs_definition ON runs (definition, id);
CREATE TABLE run_nodes (
    run    TEXT COLLATE "C" NOT NULL,
    node   TEXT COLLATE "C" NOT NULL,
    state  TEXT COLLATE "C",
    doc    TEXT,
    result TEXT,
    PRIMARY KEY (run, node)
);
CREATE TABLE run_definitions (
    definition TEXT COLLATE "C" PRIMARY KEY,
    doc        TEXT NOT NULL
);
CREATE TABLE run_secret (
    one    BIGINT PRIMARY KEY CHECK (one = 1),
    secret TEXT NOT NULL
);
"#;
