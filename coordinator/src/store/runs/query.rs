//! What people ask of the runs: [`RunQuery`], checked.

use jobmeter_protocol::runs::{RunQuery, RunState};

use super::super::filter::MAX_LIMIT;

const DEFAULT_LIMIT: u32 = 100;
/// Digits of a minute; two or more follow where that was taken.
const MINUTE: usize = 12;
const LONGEST: usize = 22;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunFilterError {
    #[error("limit: {limit} is not between 1 and {MAX_LIMIT}")]
    Limit { limit: u32 },
    #[error("after: {text:?} is not the ID of a run")]
    After { text: String },
}

/// Understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct RunSelect {
    pub(super) definition: Option<String>,
    pub(super) state: Option<RunState>,
    pub(super) limit: u32,
    pub(super) after: Option<String>,
}

impl RunSelect {
    pub(in crate::store) fn new(query: &RunQuery) -> Result<Self, RunFilterError> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(RunFilterError::Limit { limit });
        }
        if let Some(text) = query.after.as_ref().filter(|after| !is_id(after)) {
            return Err(RunFilterError::After { text: text.clone() });
        }
        Ok(Self { definition: query.definition.clone(), state: query.state, limit, after: query.after.clone() })
    }
}

/// Whether a run can be called so.
pub(crate) fn is_id(text: &str) -> bool {
    let long_enough = text.len() == MINUTE || (MINUTE + 2..=LONGEST).contains(&text.len());
    long_enough && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let error = |query: RunQuery| RunSelect::new(&query).unwrap_err().to_string();
        for limit in [0, 1001] {
            let expected = format!("limit: {limit} is not between 1 and 1000");
            assert_eq!(error(RunQuery { limit: Some(limit), ..RunQuery::default() }), expected);
        }
        for after in ["", "latest", "20261121193", "2026112119301", "20261121193x"] {
            let expected = format!("after: {after:?} is not the ID of a run");
            assert_eq!(error(RunQuery { after: Some(after.into()), ..RunQuery::default() }), expected);
        }
        let good = RunQuery { after: Some("20261121193001".into()), ..RunQuery::default() };
        assert_eq!(RunSelect::new(&good).unwrap().limit, 100);
    }
}
