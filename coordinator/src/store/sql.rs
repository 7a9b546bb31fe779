//! What both databases have in common: statements with question marks, values, rows, and the few words in which they differ.
//!
//! A statement is written once, as SQLite understands it; `?` and `?1` are its parameters, and a question mark is nothing else.

use std::ops::ControlFlow;

use super::engine::EngineError;
use super::row::unreadable;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// A connection, with the transaction that it is in.
pub(super) trait Database: Send {
    fn dialect(&self) -> Dialect;

    fn begin(&mut self) -> Result<(), EngineError>;
    /// Durable when it returns.
    fn commit(&mut self) -> Result<(), EngineError>;
    fn rollback(&mut self) -> Result<(), EngineError>;
    fn settle(&mut self) -> Result<(), EngineError>;

    /// How many rows it changed.
    fn execute(&mut self, action: &'static str, sql: &str, values: &[Value]) -> Result<u64, EngineError>;
    fn each(
        &mut self,
        action: &'static str,
        sql: &str,
        values: &[Value],
        row: &mut dyn FnMut(Row) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError>;

    /// What the books take on the disk.
    fn bytes(&mut self) -> Result<u64, EngineError>;
    /// An earlier release's file that was opened for reading only has no ledger of logs.
    fn is_without_logs(&mut self) -> Result<bool, EngineError>;
    /// Likewise no runs.
    fn is_without_runs(&mut self) -> Result<bool, EngineError>;
}

/// Columns are taken out: each once.
pub(super) struct Row(pub(super) Vec<Value>);

impl Dialect {
    /// Whether the parameter is somewhere in the column.
    pub(super) const fn contains(self) -> &'static str {
        match self {
            Self::Sqlite => "instr",
            Self::Postgres => "strpos",
        }
    }
}

pub(super) fn all<T>(
    database: &mut dyn Database,
    action: &'static str,
    sql: &str,
    values: &[Value],
    mut read: impl FnMut(&mut Row) -> Result<T, EngineError>,
) -> Result<Vec<T>, EngineError> {
    let mut found = Vec::new();
    database.each(action, sql, values, &mut |mut row| {
        found.push(read(&mut row)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

pub(super) fn first<T>(
    database: &mut dyn Database,
    action: &'static str,
    sql: &str,
    values: &[Value],
    mut read: impl FnMut(&mut Row) -> Result<T, EngineError>,
) -> Result<Option<T>, EngineError> {
    let mut found = None;
    database.each(action, sql, values, &mut |mut row| {
        found = Some(read(&mut row)?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// A condition in SQL and the values of its question marks.
#[derive(Default)]
pub(super) struct Conditions {
    conditions: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    pub(super) fn and(&mut self, condition: impl Into<String>, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.into());
        self.values.extend(values);
    }

    pub(super) fn conjunction(&self) -> String {
        if self.conditions.is_empty() { "TRUE".to_owned() } else { self.conditions.join(" AND ") }
    }
}

impl Row {
    pub(super) fn take(&mut self, column: usize) -> Value {
        self.0.get_mut(column).map_or(Value::Null, |value| std::mem::replace(value, Value::Null))
    }

    pub(super) fn text(&mut self, column: usize) -> Result<String, EngineError> {
        self.optional_text(column)?.ok_or_else(|| other(column, &Value::Null))
    }

    pub(super) fn optional_text(&mut self, column: usize) -> Result<Option<String>, EngineError> {
        match self.take(column) {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            value => Err(other(column, &value)),
        }
    }

    pub(super) fn integer(&mut self, column: usize) -> Result<i64, EngineError> {
        self.optional_integer(column)?.ok_or_else(|| other(column, &Value::Null))
    }

    pub(super) fn optional_integer(&mut self, column: usize) -> Result<Option<i64>, EngineError> {
        match self.take(column) {
            Value::Null => Ok(None),
            Value::Integer(integer) => Ok(Some(integer)),
            value => Err(other(column, &value)),
        }
    }

    pub(super) fn optional_real(&mut self, column: usize) -> Result<Option<f64>, EngineError> {
        match self.take(column) {
            Value::Null => Ok(None),
            Value::Real(real) => Ok(Some(real)),
            value => Err(other(column, &value)),
        }
    }

    pub(super) fn flag(&mut self, column: usize) -> Result<bool, EngineError> {
        self.integer(column).map(|flag| flag != 0)
    }
}

fn other(column: usize, value: &Value) -> EngineError {
    unreadable("a row", &format_args!("column {column} is of another kind: {value:?}"))
}
