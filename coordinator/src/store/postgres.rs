//! PostgreSQL as the database of the store: 13 and later, by a blocking client on the store's own threads.
//!
//! What is lost is the connection, never the books: the next command connects again, with backoff. A commit whose answer did
//! not come is an error, because nobody knows whether it was done; changes are joins, so whoever made them makes them again.

use std::ops::ControlFlow;

use postgres::Error;

use super::engine::EngineError;
use super::sql::{Database, Dialect, Row, Value};
use session::{Session, is_lost};

mod address;
mod connect;
mod fence;
mod open;
mod schema;
mod session;
mod tls;
mod value;

pub use address::{Address, AddressError};
pub(super) use open::{follow, lead};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Reads,
    /// Only as long as that epoch is the last.
    Writes {
        epoch: u64,
    },
}

pub(super) struct Postgres {
    address: Address,
    role: Role,
    /// `None` after it was lost.
    session: Option<Session>,
    in_transaction: bool,
}

impl Postgres {
    fn session(&mut self) -> Result<&mut Session, EngineError> {
        let session = match self.session.take() {
            Some(session) => session,
            None if self.in_transaction => {
                return Err(EngineError::Unreachable { source: "the transaction went with its connection".into() });
            }
            None => connect::patiently(&self.address, self.role)?,
        };
        Ok(self.session.insert(session))
    }

    /// Outside of a transaction a lost connection is made again, once: nothing was done on it.
    fn on_session<T>(
        &mut self,
        action: &'static str,
        mut run: impl FnMut(&mut Session) -> Result<T, Error>,
    ) -> Result<T, EngineError> {
        match self.attempt(action, &mut run) {
            Err(EngineError::Lost { .. }) if !self.in_transaction => self.attempt(action, &mut run),
            done => done,
        }
    }

    fn attempt<T>(
        &mut self,
        action: &'static str,
        run: &mut impl FnMut(&mut Session) -> Result<T, Error>,
    ) -> Result<T, EngineError> {
        let done = run(self.session()?);
        done.map_err(|source| self.failed(action, source))
    }

    /// With the connection goes its transaction.
    fn failed(&mut self, action: &'static str, source: Error) -> EngineError {
        if is_lost(&source) {
            self.session = None;
            EngineError::Lost { action, source }
        } else {
            EngineError::Postgres { action, source }
        }
    }

    /// `begun`: a row was handed over.
    fn stream(
        &mut self,
        action: &'static str,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(Row) -> Result<ControlFlow<()>, EngineError>,
        begun: &mut bool,
    ) -> Result<(), EngineError> {
        let mut refused = None;
        let done = self.session()?.each(sql, values, &mut |next| {
            *begun = true;
            row(next).unwrap_or_else(|err| {
                refused = Some(err);
                ControlFlow::Break(())
            })
        });
        done.map_err(|source| self.failed(action, source))?;
        refused.map_or(Ok(()), Err)
    }
}

impl Database for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn begin(&mut self) -> Result<(), EngineError> {
        self.on_session("begin a transaction", |session| session.client.batch_execute("BEGIN"))?;
        self.in_transaction = true;
        let Role::Writes { epoch } = self.role else { return Ok(()) };
        let proven = self.attempt("prove that this coordinator leads", &mut fence::found);
        let proven = proven.and_then(|found| fence::check(epoch, found));
        if proven.is_err() {
            self.rollback()?;
        }
        proven
    }

    fn commit(&mut self) -> Result<(), EngineError> {
        let committed = self.attempt("commit", &mut |session: &mut Session| session.client.batch_execute("COMMIT"));
        self.in_transaction = false;
        committed
    }

    fn rollback(&mut self) -> Result<(), EngineError> {
        self.in_transaction = false;
        match &mut self.session {
            // A transaction that is over already is a warning, and no error.
            Some(session) => {
                let rolled = session.client.batch_execute("ROLLBACK");
                rolled.map_err(|source| self.failed("roll back", source))
            }
            None => Ok(()),
        }
    }

    fn settle(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn execute(&mut self, action: &'static str, sql: &str, values: &[Value]) -> Result<u64, EngineError> {
        self.on_session(action, |session| session.execute(sql, values))
    }

    fn each(
        &mut self,
        action: &'static str,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(Row) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let mut begun = false;
        match self.stream(action, sql, values, row, &mut begun) {
            Err(EngineError::Lost { .. }) if !begun && !self.in_transaction => self.stream(action, sql, values, row, &mut begun),
            done => done,
        }
    }

    fn bytes(&mut self) -> Result<u64, EngineError> {
        let bytes = super::sql::first(self, "ask for the size of the database", SIZE, &[], |row| row.integer(0))?;
        Ok(bytes.map_or(0, super::row::unsigned))
    }

    fn is_without_logs(&mut self) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn is_without_runs(&mut self) -> Result<bool, EngineError> {
        Ok(false)
    }
}

/// With indexes, and with what is too long for its row.
const SIZE: &str = "SELECT pg_total_relation_size('pods') + pg_total_relation_size('jobs') + pg_total_relation_size('logs')
                    + pg_total_relation_size('runs') + pg_total_relation_size('run_nodes')";
