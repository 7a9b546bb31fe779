//! `jobmeter logs --list`: which logs there are, and where.

use std::io::{self, Write};

use futures::{TryStreamExt, pin_mut};
use jobmeter_protocol::{LogEntry, LogQuery};

use super::ListForm;
use super::pick::Picked;
use crate::output::{Align, Grid, bytes, printable};
use crate::source::Source;

/// Of the jobs or pods that were named. A container that runs may not be in the books of logs yet.
pub(super) fn of(logs: &[Picked<'_>], form: ListForm, out: &mut dyn Write) -> io::Result<()> {
    let entries = logs.iter().filter_map(|log| log.run?.entry.clone()).map(without_times).collect();
    write(entries, form, false, out)
}

pub(super) async fn all(source: &Source, form: ListForm, out: &mut dyn Write) -> anyhow::Result<()> {
    let query = LogQuery { namespace: source.default_namespace.clone(), ..LogQuery::default() };
    let pages = source.all_logs(&query);
    pin_mut!(pages);
    let mut entries = Vec::new();
    while let Some(page) = pages.try_next().await? {
        entries.extend(page.into_iter().map(without_times));
    }
    write(entries, form, source.default_namespace.is_none(), out)?;
    Ok(())
}

/// The index of a log's times is as long as the log has lines, and no reading for people.
fn without_times(mut entry: LogEntry) -> LogEntry {
    if let Some(content) = &mut entry.content {
        content.times = None;
    }
    entry
}

fn write(entries: Vec<LogEntry>, form: ListForm, namespaces: bool, out: &mut dyn Write) -> io::Result<()> {
    match form {
        ListForm::Json => writeln!(out, "{}", serde_json::to_string_pretty(&entries).map_err(io::Error::other)?),
        ListForm::Table if entries.is_empty() => {
            super::tell("no logs are known");
            Ok(())
        }
        ListForm::Table => table(&entries, namespaces, out),
    }
}

fn table(entries: &[LogEntry], namespaces: bool, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        ("NAMESPACE", Align::Left),
        ("POD", Align::Left),
        ("CONTAINER", Align::Left),
        ("ATTEMPT", Align::Right),
        ("STATE", Align::Left),
        ("LINES", Align::Right),
        ("BYTES", Align::Right),
        ("LOCATION", Align::Left),
    ];
    let skipped = usize::from(!namespaces);
    let mut grid = Grid::new(columns.into_iter().skip(skipped));
    for LogEntry { log, state, location, content, .. } in entries {
        let of_content = |number: fn(&jobmeter_protocol::LogContent) -> String| content.as_ref().map_or("-".to_owned(), number);
        let row = [
            log.namespace.clone(),
            log.pod.clone(),
            log.container.clone(),
            log.attempt.to_string(),
            state.as_str().to_owned(),
            of_content(|content| content.lines.to_string()),
            of_content(|content| bytes(content.bytes)),
            printable(location).into_owned(),
        ];
        grid.row(row.into_iter().skip(skipped));
    }
    grid.write(true, out)
}
