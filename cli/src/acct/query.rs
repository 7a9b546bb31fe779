//! From flags to questions: pure, so that every refusal is tested without a coordinator.

use std::fmt;

use jiff::Zoned;
use jobmeter_decide::selector::{Selector, SelectorError};
use jobmeter_protocol::RecordQuery;

use super::AcctArgs;
use super::states::{self, StateError};
use super::when::{self, WhenError};

/// What is asked, once for each subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) subjects: Vec<Subject>,
    /// One line for each pod.
    pub(super) pods: bool,
    /// Conditions beside the subject are set.
    pub(super) narrowed: bool,
    conditions: RecordQuery,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    All,
    Job(String),
    Pod(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("\"{0}\" is neither NAME nor job/NAME nor pod/NAME")]
    Subject(String),
    #[error("jobs and pods in one table do not go together: name only pods, or only jobs")]
    Mixed,
    #[error("--selector: {0}")]
    Selector(#[from] SelectorError),
    #[error("--state: {0}")]
    State(#[from] StateError),
    #[error("--{flag}: {source}")]
    When { flag: &'static str, source: WhenError },
    #[error("--since is later than --until")]
    Backwards,
}

pub(super) fn plan(args: &AcctArgs, now: &Zoned) -> Result<Plan, QueryError> {
    let mut subjects = args.subjects.iter().map(|text| Subject::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let named_pods = subjects.iter().filter(|subject| matches!(subject, Subject::Pod(_))).count();
    if named_pods > 0 && named_pods < subjects.len() && !args.pods {
        return Err(QueryError::Mixed);
    }
    let pods = args.pods || named_pods > 0;
    if subjects.is_empty() {
        subjects.push(Subject::All);
    }
    let moment = |flag, text: &Option<String>| {
        text.as_deref().map(|text| when::parse_when(text, now)).transpose().map_err(|source| QueryError::When { flag, source })
    };
    let (since, until) = (moment("since", &args.since)?, moment("until", &args.until)?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(QueryError::Backwards);
    }
    if let Some(text) = &args.selector {
        text.parse::<Selector>()?;
    }
    let state = args.state.as_deref().map(|text| states::parse(text, pods)).transpose()?;
    let conditions = RecordQuery {
        selector: args.selector.clone(),
        state,
        since,
        until,
        sort_by: args.sort_by.map(Into::into),
        ..RecordQuery::default()
    };
    let narrowed = RecordQuery { sort_by: None, ..conditions.clone() } != RecordQuery::default();
    Ok(Plan { subjects, pods, narrowed, conditions })
}

impl Plan {
    pub(super) fn query_for(&self, subject: &Subject) -> RecordQuery {
        let query = self.conditions.clone();
        match subject {
            Subject::All => query,
            Subject::Job(name) => RecordQuery { job: Some(name.clone()), ..query },
            Subject::Pod(name) => RecordQuery { pod: Some(name.clone()), ..query },
        }
    }
}

impl Subject {
    /// `pi`, `job/pi`, `cronjob/pi`, `pod/pi-x7k2p`: what kubectl and `-o name` write.
    fn parse(text: &str) -> Result<Self, QueryError> {
        match text.split_once('/') {
            None if !text.is_empty() => Ok(Self::Job(text.to_owned())),
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                let is_pod = ["pod", "pods", "po"].iter().any(|word| kind.eq_ignore_ascii_case(word));
                Ok(if is_pod { Self::Pod(name.to_owned()) } else { Self::Job(name.to_owned()) })
            }
            _ => Err(QueryError::Subject(text.to_owned())),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(formatter, "job"),
            Self::Job(name) => write!(formatter, "job \"{name}\""),
            Self::Pod(name) => write!(formatter, "pod \"{name}\""),
        }
    }
}
