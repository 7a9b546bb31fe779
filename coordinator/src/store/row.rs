//! Between Rust and the columns: times as nanoseconds, documents as JSON, and errors that name what they were about.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jobmeter_protocol::{Figure, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::EngineError;
use super::sql::Value;

/// Good until the year 2262.
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    // Every i64 of nanoseconds is within what a Timestamp holds.
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| Value::Integer(nanoseconds(at)))
}

pub(super) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

pub(super) fn optional_text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

pub(super) fn real(figure: Option<Figure<f64>>) -> Value {
    figure.map_or(Value::Null, |figure| Value::Real(figure.value))
}

/// A figure beyond `i64` is stored as the largest there is; the record has it in full.
pub(super) fn integer(figure: Option<Figure<u64>>) -> Value {
    figure.map_or(Value::Null, |figure| Value::Integer(saturated(figure.value)))
}

pub(super) fn saturated(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn method<T>(figure: Option<Figure<T>>) -> Value {
    figure.map_or(Value::Null, |figure| text(figure.method.as_str()))
}

pub(super) fn figure<T>(value: Option<T>, method: Option<&str>) -> Option<Figure<T>> {
    let known = [Method::Kernel, Method::Derived, Method::Rusage, Method::Sampled];
    let method = known.into_iter().find(|known| Some(known.as_str()) == method)?;
    value.map(|value| Figure { value, method })
}

pub(super) fn json<T: Serialize>(subject: &str, value: &T) -> Result<Value, EngineError> {
    serde_json::to_string(value).map(Value::Text).map_err(|err| unreadable(subject, &err))
}

pub(super) fn optional_json<T: Serialize>(subject: &str, value: Option<&T>) -> Result<Value, EngineError> {
    value.map_or(Ok(Value::Null), |value| json(subject, value))
}

pub(super) fn parsed<T: DeserializeOwned>(subject: &str, text: &str) -> Result<T, EngineError> {
    serde_json::from_str(text).map_err(|err| unreadable(subject, &err))
}

/// Where many rows are read: one that cannot be is left out, said and counted, and does not cost the others.
pub(super) fn readable<T: DeserializeOwned>(uid: &str, text: &str, skipped: &AtomicU64) -> Option<T> {
    match parsed(uid, text) {
        Ok(value) => Some(value),
        Err(err) => {
            skipped.fetch_add(1, Ordering::Relaxed);
            tracing::error!(uid, error = &err as &dyn std::error::Error, "unreadable row left out");
            None
        }
    }
}

pub(super) fn unreadable(subject: &str, why: &dyn std::fmt::Display) -> EngineError {
    EngineError::Unreadable { subject: subject.to_owned(), why: why.to_string() }
}
