//! Records and jobs as people and programs read them: tables, JSON, YAML, CSV, names.
//!
//! In: [`Row`]s, page by page. Out: text on a writer. Used by `jobmeter acct` and by the final table of `jobmeter run`.
//! A figure that is not the kernel's own is marked in every table, with a legend line below it; a program's format carries
//! base units (seconds, bytes, RFC 3339).

mod cell;
mod column;
mod field;
mod format_list;
mod machine;
mod printable;
mod row;
mod table;
mod units;

use std::io::{self, Write};

use jiff::Timestamp;
use jobmeter_protocol::Record;

pub use self::cell::{Cell, Value};
pub use self::column::{Align, Breadth, Column, default_columns};
pub use self::field::{FIELDS, Field};
pub use self::format_list::{FormatError, describe_fields, parse_format};
pub(crate) use self::machine::yaml;
pub use self::printable::printable;
pub use self::row::{Pods, Row};
pub use self::table::{Grid, legend, mark};
pub use self::units::{Units, bytes, cores, percent, quantity, seconds};

use self::machine::{Csv, Json, Names, Yaml};
use self::table::{Parsable, Table};

/// The form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Columns for people
    #[default]
    Table,
    /// The same lines with more columns
    Wide,
    /// An array of whole records, or of the fields of --format
    Json,
    /// A list of whole records, or of the fields of --format
    Yaml,
    /// Comma-separated values in base units
    Csv,
    /// kind/name only
    Name,
    /// Values between `|`, as `sacct --parsable2`
    #[value(skip)]
    Parsable,
}

/// How to render. `Rendering::table(now)` is what `jobmeter run` needs.
#[derive(Clone, Debug)]
pub struct Rendering {
    pub form: Form,
    /// `None`: the columns that belong to the form.
    pub columns: Option<Vec<Column>>,
    /// `false`: neither header nor legend.
    pub header: bool,
    /// `None`: people's units in tables, base units elsewhere.
    pub units: Option<Units>,
    /// Several namespaces may occur: show which.
    pub namespaces: bool,
    /// For the elapsed time of what still runs.
    pub now: Timestamp,
}

impl Rendering {
    pub fn table(now: Timestamp) -> Self {
        Self { form: Form::Table, columns: None, header: true, units: None, namespaces: false, now }
    }

    pub fn wide(now: Timestamp) -> Self {
        Self { form: Form::Wide, ..Self::table(now) }
    }
}

/// Takes rows as they arrive and writes them in one form. Call [`Renderer::finish`] at the end, also after no row at all.
pub trait Renderer {
    fn rows(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()>;
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// The renderer of one form; `pods` says whether the rows will be pods or jobs.
pub fn renderer(how: &Rendering, pods: bool) -> Box<dyn Renderer> {
    let (breadth, namespaces) = match how.form {
        Form::Csv | Form::Parsable => (Breadth::Programs, true),
        Form::Wide => (Breadth::Wide, how.namespaces),
        _ => (Breadth::Narrow, how.namespaces),
    };
    let columns = || how.columns.clone().unwrap_or_else(|| default_columns(pods, breadth, namespaces));
    let base = how.units.unwrap_or(Units::Base);
    match how.form {
        Form::Table | Form::Wide => Box::new(Table::new(columns(), how.header, how.units.unwrap_or(Units::Human), how.now)),
        Form::Parsable => Box::new(Parsable::new(columns(), how.header, base, how.now)),
        Form::Csv => Box::new(Csv::new(columns(), how.header, base, how.now)),
        Form::Json => Box::new(Json::new(how.columns.clone(), how.now)),
        Form::Yaml => Box::new(Yaml::new(how.columns.clone(), how.now)),
        Form::Name => Box::new(Names),
    }
}

/// All rows at once.
pub fn render(rows: &[Row], how: &Rendering, out: &mut dyn Write) -> io::Result<()> {
    let pods = matches!(rows.first(), None | Some(Row::Pod(_)));
    let mut renderer = renderer(how, pods);
    renderer.rows(rows, out)?;
    renderer.finish(out)
}

/// The table of some pods: the end of `jobmeter run -f`.
pub fn render_records(records: &[Record], how: &Rendering, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<Row> = records.iter().cloned().map(|record| Row::Pod(Box::new(record))).collect();
    render(&rows, how, out)
}
