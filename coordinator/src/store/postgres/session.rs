//! One connection: the statements that it has prepared, and what tells that it is gone.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;

use postgres::error::{Severity, SqlState};
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Error, Statement};

use super::super::sql::{Row, Value};
use super::value;

/// Filters make statements of ever new forms; beyond so many they are prepared anew.
const STATEMENTS: usize = 256;

pub(super) struct Session {
    pub(super) client: Client,
    statements: HashMap<String, Statement>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client, statements: HashMap::new() }
    }

    pub(super) fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, Error> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        self.client.execute(&statement, &values)
    }

    pub(super) fn each(&mut self, sql: &str, values: &[Value], row: &mut dyn FnMut(Row) -> ControlFlow<()>) -> Result<(), Error> {
        let statement = self.prepared(sql)?;
        let mut found = self.client.query_raw(&statement, values)?;
        while let Some(next) = found.next()? {
            if row(value::row(&next)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&value::marks(sql))?;
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// The server or the network ended it, or the server is not (any more) the one that may be written to.
pub(super) fn is_lost(error: &Error) -> bool {
    let of_socket = std::error::Error::source(error).is_some_and(|source| source.is::<io::Error>());
    match error.as_db_error() {
        Some(told) => {
            matches!(told.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
                || *told.code() == SqlState::READ_ONLY_SQL_TRANSACTION
        }
        None => error.is_closed() || of_socket,
    }
}
