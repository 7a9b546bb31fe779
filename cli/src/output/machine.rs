//! Forms for programs: JSON, YAML, CSV, names. Written row by row, so that a million records need no memory.

use std::io::{self, Write};

use jiff::Timestamp;
use jobmeter_protocol::{Job, Record};
use serde::{Serialize, Serializer};
use serde_json::{Value as JsonValue, json};

use super::column::Column;
use super::printable::printable;
use super::units::Units;
use super::{Renderer, Row};

/// The whole record or job, or an object of the chosen fields in their order; a figure keeps its method.
#[derive(Serialize)]
#[serde(untagged)]
enum Document<'a> {
    Record(&'a Record),
    Job(&'a Job),
    #[serde(serialize_with = "as_object")]
    Fields(Vec<(&'static str, JsonValue)>),
}

impl<'a> Document<'a> {
    fn of(row: &'a Row, columns: Option<&[Column]>, now: Timestamp) -> Self {
        match (columns, row) {
            (None, Row::Pod(record)) => Self::Record(record),
            (None, Row::Job { job, .. }) => Self::Job(job),
            (Some(columns), _) => Self::Fields(columns.iter().map(|column| field(row, column, now)).collect()),
        }
    }
}

fn field(row: &Row, column: &Column, now: Timestamp) -> (&'static str, JsonValue) {
    let value = (column.field.get)(row, now);
    let json = match value.method {
        Some(method) => json!({ "value": value.cell.json(), "method": method }),
        None => value.cell.json(),
    };
    (column.field.key, json)
}

fn as_object<S: Serializer>(fields: &[(&'static str, JsonValue)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(key, value)| (key, value)))
}

/// An array, one element at a time.
pub(super) struct Json {
    columns: Option<Vec<Column>>,
    now: Timestamp,
    written: bool,
}

impl Json {
    pub(super) fn new(columns: Option<Vec<Column>>, now: Timestamp) -> Self {
        Self { columns, now, written: false }
    }
}

impl Renderer for Json {
    fn rows(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        for row in rows {
            let document = Document::of(row, self.columns.as_deref(), self.now);
            let text = serde_json::to_string_pretty(&document).map_err(io::Error::other)?;
            let before = if std::mem::replace(&mut self.written, true) { ",\n" } else { "[\n" };
            write!(out, "{before}  {}", text.replace('\n', "\n  "))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.written { writeln!(out, "\n]") } else { writeln!(out, "[]") }
    }
}

/// A list; its elements written one after the other are one document.
pub(super) struct Yaml {
    columns: Option<Vec<Column>>,
    now: Timestamp,
    written: bool,
}

impl Yaml {
    pub(super) fn new(columns: Option<Vec<Column>>, now: Timestamp) -> Self {
        Self { columns, now, written: false }
    }
}

impl Renderer for Yaml {
    fn rows(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        for row in rows {
            self.written = true;
            let document = Document::of(row, self.columns.as_deref(), self.now);
            out.write_all(yaml(&[document])?.as_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.written { Ok(()) } else { writeln!(out, "[]") }
    }
}

pub(crate) fn yaml(value: &impl Serialize) -> io::Result<String> {
    let text = serde_saphyr::to_string(value).map_err(io::Error::other)?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// RFC 4180, with `\n` line ends as every tool here writes them.
pub(super) struct Csv {
    columns: Vec<Column>,
    header: bool,
    units: Units,
    now: Timestamp,
}

impl Csv {
    pub(super) fn new(columns: Vec<Column>, header: bool, units: Units, now: Timestamp) -> Self {
        Self { columns, header, units, now }
    }
}

impl Renderer for Csv {
    fn rows(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.header) {
            writeln!(out, "{}", self.columns.iter().map(|column| column.field.key).collect::<Vec<_>>().join(","))?;
        }
        for row in rows {
            let values = self.columns.iter().map(|column| quoted(&(column.field.get)(row, self.now).cell.text(self.units)));
            writeln!(out, "{}", values.collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.rows(&[], out)
    }
}

fn quoted(text: &str) -> String {
    let text = printable(text);
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into_owned() }
}

/// `job/pi`, `pod/pi-x7k2p`: what `jobmeter eff` and kubectl take.
pub(super) struct Names;

impl Renderer for Names {
    fn rows(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        rows.iter().try_for_each(|row| match row {
            Row::Pod(record) => writeln!(out, "pod/{}", printable(&record.identity.pod)),
            Row::Job { job, .. } => writeln!(out, "{}/{}", job.owner.kind.to_lowercase(), printable(&job.owner.name)),
        })
    }

    fn finish(&mut self, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
