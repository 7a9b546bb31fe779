//! What people ask for, understood: [`RecordQuery`] → [`Query`], with every mistake named before the database is asked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jobmeter_decide::selector::{Selector, SelectorError};
use jobmeter_protocol::{JobState, Reason, Record, RecordQuery, SortBy};

use super::cursor::{Cursor, CursorError, sort_name};

pub(super) const MAX_LIMIT: u32 = 1_000;
const DEFAULT_LIMIT: u32 = 200;

/// Which records; without order and pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    pub namespace: Option<String>,
    pub job: Option<String>,
    pub pod: Option<String>,
    pub selector: Selector,
    /// Any where empty.
    pub reasons: Vec<Reason>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) filter: RecordFilter,
    /// Of jobs; any where empty.
    pub(super) states: Vec<JobState>,
    pub(super) sort: SortBy,
    pub(super) limit: u32,
    pub(super) after: Option<Cursor>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error("state: unknown {word:?}; known are {known}")]
    State { word: String, known: String },
    #[error("limit: {limit} is not between 1 and {MAX_LIMIT}")]
    Limit { limit: u32 },
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("after: this page was sorted by {was}, and now {now} is asked for")]
    OtherSort { was: &'static str, now: &'static str },
}

const JOB_STATES: [(JobState, &str); 5] = [
    (JobState::Pending, "Pending"),
    (JobState::Running, "Running"),
    (JobState::Completed, "Completed"),
    (JobState::Failed, "Failed"),
    (JobState::Deleted, "Deleted"),
];

impl Query {
    pub(super) fn records(query: &RecordQuery) -> Result<Self, FilterError> {
        let mut filter = RecordFilter::conditions(query)?;
        filter.reasons = reasons(query)?;
        Self::new(query, filter, Vec::new())
    }

    pub(super) fn jobs(query: &RecordQuery) -> Result<Self, FilterError> {
        let states = words(query.state.as_deref(), JOB_STATES.map(|(state, name)| (name, state)).as_slice())?;
        Self::new(query, RecordFilter::conditions(query)?, states)
    }

    fn new(query: &RecordQuery, filter: RecordFilter, states: Vec<JobState>) -> Result<Self, FilterError> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(FilterError::Limit { limit });
        }
        let after = query.after.as_deref().map(str::parse::<Cursor>).transpose()?;
        let sort = query.sort_by.or(after.as_ref().map(|after| after.sort)).unwrap_or(SortBy::Finished);
        if let Some(after) = after.as_ref().filter(|after| after.sort != sort) {
            return Err(FilterError::OtherSort { was: sort_name(after.sort), now: sort_name(sort) });
        }
        if let Some(after) = after.as_ref().filter(|after| !after.fits()) {
            let why = "its sort key is of another kind";
            return Err(FilterError::Cursor(CursorError { text: after.to_string(), why }));
        }
        Ok(Self { filter, states, sort, limit, after })
    }
}

impl RecordFilter {
    /// For a watch, which has no order and no pages.
    pub fn of(query: &RecordQuery) -> Result<Self, FilterError> {
        Ok(Self { reasons: reasons(query)?, ..Self::conditions(query)? })
    }

    fn conditions(query: &RecordQuery) -> Result<Self, FilterError> {
        Ok(Self {
            namespace: query.namespace.clone(),
            job: query.job.clone(),
            pod: query.pod.clone(),
            selector: query.selector.as_deref().unwrap_or_default().parse()?,
            reasons: Vec::new(),
            since: query.since,
            until: query.until,
        })
    }

    /// The same conditions as the database applies.
    pub fn matches(&self, record: &Record, labels: &BTreeMap<String, String>) -> bool {
        let identity = &record.identity;
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let of_job = self
            .job
            .as_deref()
            .is_none_or(|job| identity.job.name == job || identity.owners.iter().any(|owner| owner.name == job));
        is(&self.namespace, &identity.namespace)
            && of_job
            && (is(&self.pod, &identity.pod) || is(&self.pod, &identity.pod_uid))
            && self.selector.matches(labels)
            && (self.reasons.is_empty() || self.reasons.contains(&record.outcome.reason))
            && self.since.is_none_or(|since| record.time.finished.is_none_or(|finished| finished >= since))
            && self.until.is_none_or(|until| record.time.started.or(record.time.created).is_none_or(|started| started <= until))
    }
}

fn reasons(query: &RecordQuery) -> Result<Vec<Reason>, FilterError> {
    words(query.state.as_deref(), Reason::ALL.map(|reason| (reason.as_str(), reason)).as_slice())
}

fn words<T: Copy>(text: Option<&str>, known: &[(&'static str, T)]) -> Result<Vec<T>, FilterError> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            found.map(|(_, value)| *value).ok_or_else(|| FilterError::State {
                word: word.to_owned(),
                known: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_known_by_name_in_any_case_and_others_are_named() {
        let query = RecordQuery { state: Some("completed, OOMkilled".into()), ..Default::default() };
        assert_eq!(Query::records(&query).unwrap().filter.reasons, [Reason::Completed, Reason::OOMKilled]);
        let error = Query::jobs(&query).unwrap_err();
        assert_eq!(error.to_string(), "state: unknown \"OOMkilled\"; known are Pending, Running, Completed, Failed, Deleted");
    }

    #[test]
    fn a_page_of_another_order_is_refused() {
        let query = RecordQuery { after: Some("cpu.r0.abc".into()), sort_by: Some(SortBy::Name), ..Default::default() };
        assert_eq!(Query::records(&query).unwrap_err(), FilterError::OtherSort { was: "cpu", now: "name" });
        let query = RecordQuery { sort_by: None, ..query };
        assert_eq!(Query::records(&query).unwrap().sort, SortBy::Cpu);
    }

    #[test]
    fn a_page_whose_end_cannot_be_compared_is_refused() {
        let query = RecordQuery { after: Some("cpu.i1.abc".into()), ..Default::default() };
        assert!(Query::records(&query).unwrap_err().to_string().contains("another kind"));
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        for limit in [0, MAX_LIMIT + 1] {
            let query = RecordQuery { limit: Some(limit), ..Default::default() };
            assert_eq!(Query::records(&query).unwrap_err(), FilterError::Limit { limit });
        }
    }
}
