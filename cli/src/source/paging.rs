//! All pages of an answer, one at a time, never more than was asked for.

use futures::Stream;
use futures::stream::try_unfold;
use jobmeter_protocol::runs::{Run, RunQuery};
use jobmeter_protocol::{Job, LogEntry, LogQuery, Page, Record, RecordQuery};

use super::{Source, SourceError};

/// The most that a coordinator gives at once.
pub const PAGE_SIZE: u32 = 1_000;

enum Next {
    First,
    After(String),
    Done,
}

impl Source {
    pub fn all_records<'a>(
        &'a self,
        query: &'a RecordQuery,
        limit: Option<u64>,
    ) -> impl Stream<Item = Result<Vec<Record>, SourceError>> + 'a {
        pages(limit, async |after, limit| self.records(&RecordQuery { after, limit, ..query.clone() }).await)
    }

    pub fn all_jobs<'a>(
        &'a self,
        query: &'a RecordQuery,
        limit: Option<u64>,
    ) -> impl Stream<Item = Result<Vec<Job>, SourceError>> + 'a {
        pages(limit, async |after, limit| self.jobs(&RecordQuery { after, limit, ..query.clone() }).await)
    }

    pub fn all_runs<'a>(
        &'a self,
        query: &'a RunQuery,
        limit: Option<u64>,
    ) -> impl Stream<Item = Result<Vec<Run>, SourceError>> + 'a {
        pages(limit, async |after, limit| self.runs(&RunQuery { after, limit, ..query.clone() }).await)
    }

    pub fn all_logs<'a>(&'a self, query: &'a LogQuery) -> impl Stream<Item = Result<Vec<LogEntry>, SourceError>> + 'a {
        pages(None, async |after, limit| self.logs(&LogQuery { after, limit, ..query.clone() }).await)
    }
}

/// `ask` gets the cursor and the size of a page.
fn pages<'a, T: 'a, F>(limit: Option<u64>, ask: F) -> impl Stream<Item = Result<Vec<T>, SourceError>> + 'a
where
    F: AsyncFn(Option<String>, Option<u32>) -> Result<Page<T>, SourceError> + 'a,
{
    try_unfold((Next::First, limit, ask), move |(next, left, ask)| async move {
        let after = match next {
            Next::First => None,
            Next::After(cursor) => Some(cursor),
            Next::Done => return Ok(None),
        };
        let page_size = left.map_or(PAGE_SIZE, |left| u32::try_from(left).map_or(PAGE_SIZE, |left| left.min(PAGE_SIZE)));
        if page_size == 0 {
            return Ok(None);
        }
        let page = ask(after, Some(page_size)).await?;
        let mut items = page.items;
        let left = left.map(|left| {
            items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left - items.len() as u64
        });
        Ok(Some((items, (page.next.map_or(Next::Done, Next::After), left, ask))))
    })
}
