//! What people ask of the ledger: [`LogQuery`] → a page of entries, newest row first.

use std::str::FromStr;

use jiff::Timestamp;
use jobmeter_protocol::{LogEntry, LogQuery, LogState, Page};

use super::super::engine::EngineError;
use super::super::filter::MAX_LIMIT;
use super::super::row::{nanoseconds, text, timestamp};
use super::super::sql::{self, Conditions, Database, Dialect, Value};
use super::LogRow;
use super::rows::{COLUMNS, read};

const DEFAULT_LIMIT: u32 = 200;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFilterError {
    #[error("state: unknown {word:?}; known are expected, complete, truncated, lost, expired")]
    State { word: String },
    #[error("limit: {limit} is not between 1 and {MAX_LIMIT}")]
    Limit { limit: u32 },
    #[error("after: {text:?} is not the `next` of a page")]
    Cursor { text: String },
}

/// Understood.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct LogSelect {
    query: LogQuery,
    states: Vec<&'static str>,
    limit: u32,
    after: Option<Cursor>,
}

/// The last item of a page: the time of its row, and what tells rows of one time apart.
#[derive(Clone, Debug, PartialEq)]
struct Cursor {
    asked: Timestamp,
    pod_uid: String,
    container: String,
    attempt: u32,
}

impl LogSelect {
    pub(in crate::store) fn new(query: &LogQuery) -> Result<Self, LogFilterError> {
        let words = query.state.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
        let states = words.map(state).collect::<Result<_, _>>()?;
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(LogFilterError::Limit { limit });
        }
        let after = query.after.as_deref().map(str::parse).transpose()?;
        Ok(Self { query: query.clone(), states, limit, after })
    }
}

fn state(word: &str) -> Result<&'static str, LogFilterError> {
    let why = String::new;
    let known = [
        LogState::Expected,
        LogState::Complete,
        LogState::Truncated { why: why() },
        LogState::Lost { why: why() },
        LogState::Expired,
    ];
    let found = known.iter().map(LogState::as_str).find(|known| known.eq_ignore_ascii_case(word));
    found.ok_or_else(|| LogFilterError::State { word: word.to_owned() })
}

impl Cursor {
    fn of(row: &LogRow) -> Self {
        let log = &row.log;
        Self { asked: row.asked, pod_uid: log.pod_uid.clone(), container: log.container.clone(), attempt: log.attempt }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}", nanoseconds(self.asked), self.pod_uid, self.attempt, self.container)
    }
}

impl FromStr for Cursor {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        let mut parts = text.splitn(4, '/');
        let mut parse = || {
            let asked = parts.next()?.parse().ok().map(timestamp)?;
            let pod_uid = parts.next()?.to_owned();
            let attempt = parts.next()?.parse().ok()?;
            Some(Self { asked, pod_uid, attempt, container: parts.next()?.to_owned() })
        };
        parse().ok_or_else(|| LogFilterError::Cursor { text: text.to_owned() })
    }
}

pub(in crate::store) fn page(database: &mut dyn Database, select: &LogSelect) -> Result<Page<LogEntry>, EngineError> {
    let mut sql = Conditions::default();
    let query = &select.query;
    for (column, wanted) in [("l.namespace = ?", &query.namespace), ("l.job = ?", &query.job)] {
        if let Some(wanted) = wanted {
            sql.and(column, [text(wanted)]);
        }
    }
    if let Some(pod) = &query.pod {
        sql.and("(l.pod = ? OR l.pod_uid = ?)", [text(pod), text(pod)]);
    }
    if !select.states.is_empty() {
        let marks = vec!["?"; select.states.len()].join(", ");
        sql.and(format!("l.state IN ({marks})"), select.states.iter().map(|state| text(*state)));
    }
    if let Some(after) = &select.after {
        let values = [
            Value::Integer(nanoseconds(after.asked)),
            Value::Integer(nanoseconds(after.asked)),
            text(&after.pod_uid),
            text(&after.container),
            Value::Integer(i64::from(after.attempt)),
        ];
        sql.and("(l.asked < ? OR (l.asked = ? AND (l.pod_uid, l.container, l.attempt) > (?, ?, ?)))", values);
    }
    // An index of times has up to 128 KiB, and a page up to 1,000 logs: whoever reads a log asks for its own row.
    let columns = COLUMNS.replace("l.content", without_times(database.dialect()));
    let statement = format!(
        "SELECT {columns} FROM logs l WHERE {} ORDER BY l.asked DESC, l.pod_uid, l.container, l.attempt LIMIT {}",
        sql.conjunction(),
        u64::from(select.limit) + 1,
    );
    let mut rows = sql::all(database, "read a page of logs", &statement, &sql.values, read)?;
    let limit = usize::try_from(select.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| Cursor::of(row).to_string());
    rows.iter_mut().filter_map(|row| row.content.as_mut()).for_each(|content| content.times = None);
    Ok(Page { items: rows.iter().map(LogRow::entry).collect(), next })
}

/// The column `content` without the times of the lines, where the database can take them out.
const fn without_times(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "json_remove(l.content, '$.times')",
        // `jsonb` has no zero byte.
        Dialect::Postgres => {
            "CASE WHEN strpos(l.content, '\\u0000') > 0 THEN l.content ELSE (l.content::jsonb - 'times')::text END"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let select = |query: LogQuery| LogSelect::new(&query).unwrap_err().to_string();
        let known = "state: unknown \"gone\"; known are expected, complete, truncated, lost, expired";
        assert_eq!(select(LogQuery { state: Some("Lost, gone".into()), ..LogQuery::default() }), known);
        assert_eq!(select(LogQuery { limit: Some(0), ..LogQuery::default() }), "limit: 0 is not between 1 and 1000");
        let error = select(LogQuery { after: Some("x/y".into()), ..LogQuery::default() });
        assert_eq!(error, "after: \"x/y\" is not the `next` of a page");
    }

    #[test]
    fn a_cursor_comes_back_as_it_went_out() {
        let cursor = Cursor { asked: timestamp(17), pod_uid: "a-b".into(), container: "c.d".into(), attempt: 3 };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }
}
