//! The two databases that a test runs over: [`Bed`] hides which one it is.
//!
//! SQLite always. PostgreSQL where its programs are found (`JOBMETER_POSTGRES_BIN`, the `PATH`, `/usr/lib/postgresql`); where
//! not, its tests say so and pass, except with `CI=true`.

use std::path::PathBuf;

use jobmeter_coordinator::store::{Address, Assembly, Place, Store};
use tempfile::TempDir;

use crate::postgres::Server;

/// Each test once for each engine.
macro_rules! on_each_engine {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&crate::engines::Bed::sqlite()).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(bed) = crate::engines::Bed::postgres() {
                    super::$test(&bed).await;
                }
            })+
        }
    };
}
pub(crate) use on_each_engine;

/// One empty database, and a directory beside it.
pub(crate) struct Bed {
    pub(crate) files: TempDir,
    /// `None`: SQLite.
    url: Option<String>,
}

impl Bed {
    pub(crate) fn sqlite() -> Self {
        Self { files: tempfile::tempdir().unwrap(), url: None }
    }

    pub(crate) fn postgres() -> Option<Self> {
        Server::of_all_tests().map(Self::on)
    }

    pub(crate) fn on(server: &Server) -> Self {
        Self { files: tempfile::tempdir().unwrap(), url: Some(server.database()) }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.files.path().join("jobmeter.db")
    }

    /// Of PostgreSQL.
    pub(crate) fn url(&self) -> String {
        self.url.clone().unwrap()
    }

    pub(crate) fn place(&self) -> Place {
        match &self.url {
            Some(url) => Place::Postgres(Address::url(url).unwrap()),
            None => Place::file(&self.file()),
        }
    }

    /// To read and to write; a database again and again, a file once at a time.
    pub(crate) fn open(&self) -> Store {
        Store::open_leader(&self.place(), 0, Assembly::default(), Box::new(|_| {})).unwrap()
    }

    pub(crate) fn reader(&self) -> Store {
        Store::open_follower(&self.place()).unwrap()
    }

    /// Behind the store's back.
    pub(crate) fn sabotage(&self, sql: &str) {
        match self.url.clone() {
            Some(url) => {
                // Blocking, and therefore not on a thread of the runtime.
                let sql = sql.to_owned();
                let run = move || postgres::Client::connect(&url, postgres::NoTls).unwrap().batch_execute(&sql).unwrap();
                std::thread::spawn(run).join().unwrap();
            }
            None => rusqlite::Connection::open(self.file()).unwrap().execute_batch(sql).unwrap(),
        }
    }
}
