//! What may become runs, one line each. Pure.

use jiff::Timestamp;
use jobmeter_protocol::runs::DefinitionStatus;

use super::{apart, or_dash, table};
use crate::output::{Align, Grid, printable};

/// Never empty.
pub(super) fn lines(definitions: &[DefinitionStatus], now: Timestamp) -> Vec<String> {
    if definitions.is_empty() {
        return vec!["there are no definitions of node runs".to_owned()];
    }
    let mut grid = Grid::new([
        ("DEFINITION", Align::Left),
        ("NAMESPACE", Align::Left),
        ("POOL", Align::Left),
        ("SCHEDULE", Align::Left),
        ("NEXT", Align::Right),
        ("LAST RUN", Align::Left),
        ("SOURCE", Align::Left),
        ("SKIPPED", Align::Left),
    ]);
    for definition in definitions {
        let next = match definition.next {
            _ if definition.suspended => "suspended".to_owned(),
            Some(next) if next > now => format!("in {}", apart(next, now)),
            Some(_) => "now".to_owned(),
            None => "-".to_owned(),
        };
        let skipped = definition
            .skipped
            .as_ref()
            .map_or_else(|| "-".to_owned(), |skipped| format!("{} ago: {}", apart(now, skipped.at), printable(&skipped.why)));
        grid.row([
            printable(&definition.name).into_owned(),
            printable(&definition.namespace).into_owned(),
            printable(&definition.pool).into_owned(),
            or_dash(definition.schedule.as_deref()),
            next,
            or_dash(definition.last_run.as_deref()),
            printable(&definition.source).into_owned(),
            skipped,
        ]);
    }
    table(&grid)
}
