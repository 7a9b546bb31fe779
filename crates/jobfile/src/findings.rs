//! What is wrong with a file, and what of it is not honoured. Collected, so that all of it is said at once.

use std::collections::BTreeMap;
use std::fmt;

/// A place in the text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Something that keeps the file from being run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// `spec.template.spec.containers[0].env[1].value`; empty for the document itself.
    pub path: String,
    pub what: String,
}

/// A field of the file that has no effect on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub place: Place,
    pub path: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JobFileError {
    pub file: String,
    /// Never empty; in the order of the text.
    pub problems: Vec<Problem>,
}

#[derive(Default)]
pub(crate) struct Findings {
    problems: Vec<Problem>,
    /// Key: what makes it "the same field", so that each is mentioned once.
    notices: BTreeMap<String, Notice>,
}

impl Findings {
    pub(crate) fn problem(&mut self, place: Place, path: &str, what: impl Into<String>) {
        self.problems.push(Problem { place, path: path.to_owned(), what: what.into() });
    }

    /// The first one with this key is kept.
    pub(crate) fn notice(&mut self, key: String, place: Place, path: &str, what: impl Into<String>) {
        self.notices.entry(key).or_insert_with(|| Notice { place, path: path.to_owned(), what: what.into() });
    }

    pub(crate) fn conclude<T>(mut self, file: &str, value: T) -> Result<(T, Vec<Notice>), JobFileError> {
        if !self.problems.is_empty() {
            self.problems.sort_by_key(|problem| problem.place);
            return Err(JobFileError { file: file.to_owned(), problems: self.problems });
        }
        let mut notices: Vec<Notice> = self.notices.into_values().collect();
        notices.sort_by_key(|notice| notice.place);
        Ok((value, notices))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: ", self.file, problem.place)?;
            if !problem.path.is_empty() {
                write!(f, "{}: ", problem.path)?;
            }
            f.write_str(&problem.what)?;
        }
        Ok(())
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.place.line, self.path, self.what)
    }
}
