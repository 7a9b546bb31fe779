//! One value of one line: what it is, and how it was obtained.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use jobmeter_protocol::{Figure, Method};
use serde_json::{Value as Json, json};

use super::units::{self, Units};

#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Absent,
    Text(String),
    Count(u64),
    /// CPU time and other sums of time.
    Seconds(f64),
    /// Time by the clock on the wall.
    Elapsed(f64),
    Bytes(u64),
    Millicores(u64),
    Ratio(f64),
    Moment(Timestamp),
}

/// A cell and the method behind it; `None` where it was not measured (a name, a request).
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub cell: Cell,
    pub method: Option<Method>,
}

impl Value {
    pub const ABSENT: Self = Self { cell: Cell::Absent, method: None };

    pub fn text(text: impl Into<String>) -> Self {
        Cell::Text(text.into()).into()
    }

    /// Absent where there is nothing.
    pub fn of<T>(value: Option<T>, cell: fn(T) -> Cell) -> Self {
        value.map_or(Self::ABSENT, |value| cell(value).into())
    }

    pub fn figure<T>(figure: Option<Figure<T>>, cell: fn(T) -> Cell) -> Self {
        figure.map_or(Self::ABSENT, |figure| Self { cell: cell(figure.value), method: Some(figure.method) })
    }
}

impl From<Cell> for Value {
    fn from(cell: Cell) -> Self {
        Self { cell, method: None }
    }
}

impl Cell {
    /// Empty where there is nothing to say.
    pub fn text(&self, units: Units) -> String {
        match (self, units) {
            (Self::Absent, _) => String::new(),
            (Self::Text(text), _) => text.clone(),
            (Self::Count(count), _) => count.to_string(),
            (Self::Seconds(value) | Self::Elapsed(value), Units::Human) => units::seconds(*value),
            (Self::Seconds(value) | Self::Elapsed(value), Units::Base) => units::decimal(*value).to_string(),
            (Self::Seconds(value), Units::Slurm) => units::slurm_cpu(*value),
            (Self::Elapsed(value), Units::Slurm) => units::slurm_elapsed(*value),
            (Self::Bytes(value), Units::Human) => units::bytes(*value),
            (Self::Bytes(value), Units::Base) => value.to_string(),
            (Self::Bytes(value), Units::Slurm) => format!("{}K", value.div_ceil(1024)),
            (Self::Millicores(value), Units::Human) => units::cores(*value),
            (Self::Millicores(value), Units::Base) => value.to_string(),
            (Self::Millicores(value), Units::Slurm) => value.div_ceil(1000).to_string(),
            (Self::Ratio(value), Units::Base) => units::decimal(*value).to_string(),
            (Self::Ratio(value), _) => units::percent(*value),
            (Self::Moment(at), Units::Slurm) => at.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            (Self::Moment(at), Units::Human) => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            (Self::Moment(at), Units::Base) => at.to_string(),
        }
    }

    /// In base units.
    pub fn json(&self) -> Json {
        match self {
            Self::Absent => Json::Null,
            Self::Text(text) => json!(text),
            Self::Count(value) | Self::Bytes(value) | Self::Millicores(value) => json!(value),
            Self::Seconds(value) | Self::Elapsed(value) | Self::Ratio(value) => json!(units::decimal(*value)),
            Self::Moment(at) => json!(at),
        }
    }
}
