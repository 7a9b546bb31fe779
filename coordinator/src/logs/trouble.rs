//! Whether the object store was in trouble a moment ago, so that tickets need not find it out with every log anew.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::objects::ObjectError;

/// After so long the next ticket is given: its upload is the probe.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<(Timestamp, String)>>);

impl Trouble {
    pub(super) fn began(&self, err: &ObjectError, now: Timestamp) {
        let mut why = err.to_string();
        let mut source = std::error::Error::source(err);
        while let Some(err) = source {
            why = format!("{why}: {err}");
            source = err.source();
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, why));
    }

    pub(super) fn over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why, and for how many seconds more nobody should try.
    pub(super) fn now(&self, now: Timestamp) -> Option<(String, u32)> {
        let trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, why) = trouble.as_ref()?;
        let patience = SignedDuration::try_from(PATIENCE).unwrap_or(SignedDuration::MAX);
        let left = patience - now.duration_since(*since);
        (left > SignedDuration::ZERO).then(|| (why.clone(), u32::try_from(left.as_secs() + 1).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_with_its_cause_and_is_over_after_a_while() {
        let trouble = Trouble::default();
        let (began, source) = (Timestamp::UNIX_EPOCH, "connection refused".into());
        trouble.began(&ObjectError::Failed { action: "put", key: "a.log".into(), source }, began);
        let at = |seconds| began + SignedDuration::from_secs(seconds);
        assert_eq!(trouble.now(at(5)), Some(("failed to put a.log: connection refused".to_owned(), 11)));
        assert_eq!(trouble.now(at(15)), None);
        trouble.over();
        assert_eq!(trouble.now(at(5)), None);
    }
}
