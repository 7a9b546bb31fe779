//! What one pool looks like: its head, who is in it, who waits and why. Pure.

use jiff::Timestamp;
use jobmeter_protocol::{PoolDetail, PoolMember, PoolStatus, PoolWait};

use super::{age, table};
use crate::output::{Align, Grid, printable};

/// What of a pool is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    Both,
    Members,
    Waiting,
}

impl Parts {
    fn members(self) -> bool {
        self != Self::Waiting
    }

    fn waiting(self) -> bool {
        self != Self::Members
    }
}

/// Of a whole answer what was asked for.
pub(super) fn narrow(mut detail: PoolDetail, parts: Parts, namespace: Option<&str>, limit: u32) -> PoolDetail {
    let is_wanted = |of: &str| namespace.is_none_or(|wanted| wanted == of);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    detail.members.retain(|member| parts.members() && is_wanted(&member.namespace));
    detail.members.truncate(limit);
    detail.waiting.retain(|wait| parts.waiting() && is_wanted(&wait.namespace));
    detail.waiting.truncate(limit);
    detail
}

/// Never empty. `detail` is narrowed already.
pub(super) fn lines(detail: &PoolDetail, parts: Parts, namespace: Option<&str>, now: Timestamp) -> Vec<String> {
    let mut lines = head(&detail.pool, now);
    let place = namespace.map(|name| format!(" of namespace {}", printable(name))).unwrap_or_default();
    // Only Jobs take several places.
    let slots = detail.members.iter().any(|member| member.slots != 1) || detail.waiting.iter().any(|wait| wait.slots != 1);
    if parts.members() {
        lines.push(String::new());
        match detail.members.as_slice() {
            [] => lines.push(format!("nobody{place} is in it")),
            members => lines.extend(members_table(members, slots, now)),
        }
        let places: u32 = detail.members.iter().map(|member| member.slots).fold(0, u32::saturating_add);
        more(detail.pool.used.saturating_sub(places), namespace, "places more", &mut lines);
    }
    if parts.waiting() {
        lines.push(String::new());
        match detail.waiting.as_slice() {
            [] => lines.push(format!("nobody{place} waits")),
            waiting => lines.extend(waiting_table(waiting, slots, now)),
        }
        let shown = u32::try_from(detail.waiting.len()).unwrap_or(u32::MAX);
        more(detail.pool.queued.saturating_sub(shown), namespace, "more that wait", &mut lines);
    }
    lines
}

fn head(pool: &PoolStatus, now: Timestamp) -> Vec<String> {
    let configured = printable(&pool.configured_size);
    let size = match pool.size {
        // A size, or a word where nobody configured one.
        0 if !configured.ends_with('%') => format!("{configured}: nobody is admitted"),
        size if pool.configured_size == size.to_string() => size.to_string(),
        size if configured.ends_with('%') => format!("{size} ({configured} of {} nodes)", pool.nodes),
        size => format!("{size} ({configured})"),
    };
    let used = match pool.over {
        0 => pool.used.to_string(),
        over => format!("{}, which is {over} over the size: nobody is admitted before some have ended", pool.used),
    };
    let queued = match (pool.queued, pool.oldest) {
        (0, _) | (_, None) => pool.queued.to_string(),
        (queued, oldest) => format!("{queued}, the oldest for {}", age(oldest, now)),
    };
    let mut facts = vec![
        ("Pool", printable(&pool.name).into_owned()),
        ("Size", size),
        ("Used", used),
        ("Queued", queued),
        ("Order", printable(&pool.order).into_owned()),
        ("Nodes", format!("{} can take its pods now", pool.nodes)),
    ];
    facts.extend(pool.per_node.map(|most| ("Per node", format!("at most {most} at once"))));
    facts.extend(pool.start_rate.as_deref().map(|rate| ("Starts", format!("at most {} on a node", printable(rate)))));
    facts.into_iter().map(|(name, value)| format!("{:<10} {value}", format!("{name}:"))).collect()
}

fn members_table(members: &[PoolMember], slots: bool, now: Timestamp) -> Vec<String> {
    let columns = [
        ("NAMESPACE", Align::Left),
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("PLACES", Align::Right),
        ("NODE", Align::Left),
        ("FOR", Align::Right),
    ];
    let why = members.iter().any(|member| member.why.is_some());
    let columns = columns.into_iter().chain(why.then_some(("WHY", Align::Left)));
    let mut grid = Grid::new(columns.filter(|(name, _)| slots || *name != "PLACES"));
    for member in members {
        let places = slots.then(|| member.slots.to_string());
        let first = [printable(&member.namespace).into_owned(), name(&member.kind, &member.name), member.state.clone()];
        let last =
            [member.node.as_deref().map_or_else(|| "-".to_owned(), |node| printable(node).into_owned()), age(member.since, now)];
        let why = why.then(|| member.why.as_deref().map_or_else(String::new, |why| printable(why).into_owned()));
        grid.row(first.into_iter().chain(places).chain(last).chain(why));
    }
    table(&grid)
}

fn waiting_table(waiting: &[PoolWait], slots: bool, now: Timestamp) -> Vec<String> {
    let columns = [
        ("POSITION", Align::Right),
        ("NAMESPACE", Align::Left),
        ("NAME", Align::Left),
        ("PRIORITY", Align::Right),
        ("PLACES", Align::Right),
        ("FOR", Align::Right),
        ("WHY", Align::Left),
    ];
    let mut grid = Grid::new(columns.into_iter().filter(|(name, _)| slots || *name != "PLACES"));
    for wait in waiting {
        let first = [
            wait.position.to_string(),
            printable(&wait.namespace).into_owned(),
            name(&wait.kind, &wait.name),
            wait.priority.to_string(),
        ];
        let places = slots.then(|| wait.slots.to_string());
        let last = [age(Some(wait.created), now), printable(&wait.why).into_owned()];
        grid.row(first.into_iter().chain(places).chain(last));
    }
    table(&grid)
}

/// A pod by its name, a Job as kubectl takes it.
fn name(kind: &str, name: &str) -> String {
    let name = printable(name);
    if kind == "Pod" { name.into_owned() } else { format!("{}/{name}", printable(&kind.to_lowercase())) }
}

/// What is not shown is said.
fn more(hidden: u32, namespace: Option<&str>, what: &str, lines: &mut Vec<String>) {
    if hidden > 0 {
        let why = if namespace.is_some() { "of other namespaces, or beyond --limit" } else { "--limit shows more" };
        lines.push(format!("… and {hidden} {what} ({why})"));
    }
}
