//! The page of `jobmeter eff`; of one pod also the report at the end of `jobmeter run -- CMD`.

mod sections;

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp;
use jobmeter_decide::advice;
use jobmeter_protocol::{Figure, Job, Method, Record};

use super::sentences;
use crate::output::{Cell, Units, legend, mark};

/// `records`: of one job, or of one pod, oldest first.
pub fn write(job: Option<&Job>, records: &[Record], now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { out, methods: BTreeSet::new() };
    sections::who(&mut page, job, records)?;
    sections::time(&mut page, records, now)?;
    sections::cpu(&mut page, records)?;
    sections::memory(&mut page, records)?;
    sections::other(&mut page, records)?;
    sections::details(&mut page, records, now)?;
    sections::logs(&mut page, records)?;
    sections::quality(&mut page, records)?;
    page.lines("Next time", next_time(records))?;
    match legend(&page.methods) {
        Some(legend) => writeln!(page.out, "\n{legend}"),
        None => Ok(()),
    }
}

/// The advice in words. What was never executed has used nothing but our own preparations.
pub(super) fn next_time(records: &[Record]) -> Vec<String> {
    let never_ran = |record: &Record| record.outcome.runtime.as_deref() == Some(CANNOT_RUN);
    if !records.is_empty() && records.iter().all(never_ran) {
        return vec!["no advice: it could not be executed".to_owned()];
    }
    sentences::of_advice(&advice::advise(records))
}

/// What runtimes, and our executor, say of a container whose command could not be executed.
const CANNOT_RUN: &str = "ContainerCannotRun";

/// Lines with a label before the first one, and the methods that were met.
struct Page<'a> {
    out: &'a mut dyn Write,
    methods: BTreeSet<Method>,
}

const LABEL: usize = 12;

impl Page<'_> {
    fn lines(&mut self, label: &str, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        let mut label = if label.is_empty() { String::new() } else { format!("{label}:") };
        for line in lines {
            writeln!(self.out, "{}", format!("{label:LABEL$} {line}").trim_end())?;
            label.clear();
        }
        Ok(())
    }

    /// The figure with its mark, for people.
    fn figure<T: Copy>(&mut self, figure: Figure<T>, cell: fn(T) -> Cell) -> String {
        self.methods.insert(figure.method);
        format!("{}{}", cell(figure.value).text(Units::Human), mark(Some(figure.method)))
    }
}
