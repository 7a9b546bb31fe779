//! Columns of text: for people ([`Table`], [`Grid`]) and for scripts that read sacct (`--parsable2`, [`Parsable`]).

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp;
use jobmeter_protocol::Method;

use super::column::{Align, Column};
use super::printable::printable;
use super::units::Units;
use super::{Renderer, Row};

/// Rows of text in columns that are as wide as their widest entry. Two blanks between columns, none at the end of a line.
#[derive(Debug, Default)]
pub struct Grid {
    columns: Vec<GridColumn>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct GridColumn {
    header: String,
    align: Align,
    fixed: Option<usize>,
}

impl Grid {
    pub fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        let columns =
            columns.into_iter().map(|(header, align)| GridColumn { header: header.to_owned(), align, fixed: None }).collect();
        Self { columns, rows: Vec::new() }
    }

    pub fn row(&mut self, entries: impl IntoIterator<Item = String>) {
        self.rows.push(entries.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn write(&self, header: bool, out: &mut dyn Write) -> io::Result<()> {
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(at, column)| self.width(at, column, header)).collect();
        if header {
            self.line(&widths, self.columns.iter().map(|column| column.header.as_str()), out)?;
        }
        self.rows.iter().try_for_each(|row| self.line(&widths, row.iter().map(String::as_str), out))
    }

    fn width(&self, at: usize, column: &GridColumn, header: bool) -> usize {
        let entries = self.rows.iter().filter_map(|row| row.get(at)).map(|entry| length(entry));
        let header = if header { length(&column.header) } else { 0 };
        column.fixed.unwrap_or_else(|| entries.max().unwrap_or(0).max(header))
    }

    fn line<'a>(&self, widths: &[usize], entries: impl Iterator<Item = &'a str>, out: &mut dyn Write) -> io::Result<()> {
        let padded = entries.zip(widths).zip(&self.columns).map(|((entry, width), column)| {
            let entry = if column.fixed.is_some() { cut(entry, *width) } else { entry.to_owned() };
            let blanks = " ".repeat(width.saturating_sub(length(&entry)));
            if column.align == Align::Right { blanks + &entry } else { entry + &blanks }
        });
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())
    }
}

/// Characters, not bytes. Names of Kubernetes objects are ASCII; for what is not, a column off by one is no harm.
fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, width: usize) -> String {
    if length(text) <= width { text.to_owned() } else { text.chars().take(width.saturating_sub(1)).chain(['+']).collect() }
}

/// What stands behind a figure that is not a counter of the kernel's.
pub const fn mark(method: Option<Method>) -> &'static str {
    match method {
        None | Some(Method::Kernel) => "",
        Some(Method::Derived) => "=",
        Some(Method::Rusage) => "*",
        Some(Method::Sampled) => "~",
    }
}

/// One line that explains the marks which were used; `None` where every figure is the kernel's own.
pub fn legend(methods: &BTreeSet<Method>) -> Option<String> {
    let explain = |method: &Method| match method {
        Method::Kernel => None,
        Method::Derived => Some("= derived from kernel counters"),
        Method::Rusage => Some("* rusage: wait4 of the process and the children it waited for"),
        Method::Sampled => Some("~ sampled: the largest seen, a lower bound"),
    };
    let parts: Vec<&str> = methods.iter().filter_map(explain).collect();
    if parts.is_empty() { None } else { Some(parts.join("   ")) }
}

/// The mark of a row whose figures are not the whole truth.
const PARTIAL: &str = "!";
const PARTIAL_LEGEND: &str = "! partial: not everything could be seen; -o wide and `jobmeter eff` say what is missing";

pub(super) struct Table {
    columns: Vec<Column>,
    header: bool,
    units: Units,
    now: Timestamp,
    lines: Vec<Vec<Entry>>,
    methods: BTreeSet<Method>,
    partial: bool,
}

struct Entry {
    text: String,
    mark: &'static str,
}

impl Table {
    pub(super) fn new(columns: Vec<Column>, header: bool, units: Units, now: Timestamp) -> Self {
        Self { columns, header, units, now, lines: Vec::new(), methods: BTreeSet::new(), partial: false }
    }

    fn entry(&mut self, row: &Row, column: &Column) -> Entry {
        let value = (column.field.get)(row, self.now);
        self.methods.extend(value.method);
        let partial = column.field.name == "State" && row.is_partial();
        self.partial |= partial;
        let text = printable(&value.cell.text(self.units)).into_owned();
        Entry {
            text: if text.is_empty() { "-".to_owned() } else { text },
            mark: if partial { PARTIAL } else { mark(value.method) },
        }
    }
}

impl Renderer for Table {
    fn rows(&mut self, rows: &[Row], _: &mut dyn Write) -> io::Result<()> {
        let columns = self.columns.clone();
        for row in rows {
            let line = columns.iter().map(|column| self.entry(row, column)).collect();
            self.lines.push(line);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let marked: Vec<bool> =
            (0..self.columns.len()).map(|at| self.lines.iter().any(|line| !line[at].mark.is_empty())).collect();
        // A blank stands where others of the column have a mark, so that the digits stay below each other.
        let padded = |at: usize, entry: Entry| {
            let blank = if marked[at] && entry.mark.is_empty() { " " } else { "" };
            format!("{}{}{blank}", entry.text, entry.mark)
        };
        let headers = self.columns.iter().enumerate().map(|(at, column)| GridColumn {
            header: padded(at, Entry { text: column.header.to_owned(), mark: "" }),
            align: column.align,
            fixed: column.width,
        });
        let mut grid = Grid { columns: headers.collect(), rows: Vec::new() };
        for line in self.lines.drain(..) {
            grid.row(line.into_iter().enumerate().map(|(at, entry)| padded(at, entry)));
        }
        grid.write(self.header, out)?;
        let legends = [legend(&self.methods), self.partial.then(|| PARTIAL_LEGEND.to_owned())];
        if self.header && legends.iter().any(Option::is_some) {
            writeln!(out)?;
            legends.into_iter().flatten().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Ok(())
    }
}

/// `a|b|c`, no padding, no legend: for scripts. Nothing in it contains a `|` or a line break.
pub(super) struct Parsable {
    columns: Vec<Column>,
    header: bool,
    units: Units,
    now: Timestamp,
}

impl Parsable {
    pub(super) fn new(columns: Vec<Column>, header: bool, units: Units, now: Timestamp) -> Self {
        Self { columns, header, units, now }
    }
}

impl Renderer for Parsable {
    fn rows(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.header) {
            writeln!(out, "{}", self.columns.iter().map(|column| column.field.name).collect::<Vec<_>>().join("|"))?;
        }
        for row in rows {
            let values = self.columns.iter().map(|column| (column.field.get)(row, self.now).cell.text(self.units));
            let safe = values.map(|value| printable(&value).replace('|', "\\u{7c}"));
            writeln!(out, "{}", safe.collect::<Vec<_>>().join("|"))?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.rows(&[], out)
    }
}
