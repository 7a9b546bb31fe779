//! Collects everything that is wrong with a configuration, so that it is corrected in one go. Input: key and reason of each
//! problem; output: one error that lists them all.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    problems: Vec<String>,
}

impl Problems {
    /// `key` is the path of the value in the file, such as `journal.limit`.
    pub fn add(&mut self, key: &str, why: impl fmt::Display) {
        self.found.push(format!("{key}: {why}"));
    }

    pub fn check(&mut self, holds: bool, key: &str, why: impl fmt::Display) {
        if !holds {
            self.add(key, why);
        }
    }

    /// The value, or its error as a problem of `key`.
    pub fn take<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error)).ok()
    }

    pub fn finish(self) -> Result<(), Invalid> {
        if self.found.is_empty() { Ok(()) } else { Err(Invalid { problems: self.found }) }
    }
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "invalid configuration: {only}"),
            problems => {
                write!(f, "invalid configuration, {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        let mut problems = Problems::default();
        problems.check(1 > 0, "interval", "must be above zero");
        problems.check(0 > 0, "interval", "must be above zero");
        assert_eq!(problems.take("port", "99999".parse::<u16>()), None);
        let error = problems.finish().unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid configuration, 2 problems:\n  interval: must be above zero\n  port: number too large to fit in target type"
        );
        assert_eq!(Problems::default().finish(), Ok(()));
    }
}
