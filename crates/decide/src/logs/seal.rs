//! When the log of a run is complete.
//!
//! Input: plain facts of one run and of its newest file. Output: seal it, or why not yet. Owner: the agent's capture.

use std::time::Duration;

/// What nobody can be asked about counts as complete when it has not changed for so long after the end of its run.
pub const SETTLED: Duration = Duration::from_secs(10);
/// Who holds a file of a pod that is over, and has not written for so long, has forgotten to close it.
pub const FORGOTTEN: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The run is known to have ended.
    pub ended: bool,
    /// A later run of the same container has a log.
    pub newer_attempt: bool,
    /// Nothing more can come of the whole pod.
    pub pod_over: bool,
    /// Somebody has the newest file open for writing; `None`: it cannot be told here.
    pub has_writer: Option<bool>,
    /// Since the size of the newest file, or which file that is, last changed.
    pub unchanged_for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Seal,
    Wait(Waiting),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// As far as anybody knows.
    Running,
    /// The runtime has not closed the file.
    Written,
    /// Nobody can say whether it is closed; it changed a moment ago.
    Settling,
}

impl Waiting {
    /// Every [`Waiting::as_str`].
    pub const WORDS: [&'static str; 3] = ["running", "written", "settling"];

    /// For status and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Written => "written",
            Self::Settling => "settling",
        }
    }
}

/// A file that nobody has open says nothing by itself: a runtime that is restarting opens it again.
pub fn seal(facts: &Facts) -> Step {
    if !(facts.ended || facts.newer_attempt || facts.pod_over) {
        return Step::Wait(Waiting::Running);
    }
    match facts.has_writer {
        Some(false) => Step::Seal,
        Some(true) if facts.pod_over && facts.unchanged_for >= FORGOTTEN => Step::Seal,
        Some(true) => Step::Wait(Waiting::Written),
        None if facts.unchanged_for >= SETTLED => Step::Seal,
        None => Step::Wait(Waiting::Settling),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Facts =
        Facts { ended: false, newer_attempt: false, pod_over: false, has_writer: Some(true), unchanged_for: Duration::ZERO };

    #[test]
    fn a_log_is_complete_when_its_run_is_over_and_its_file_is_closed() {
        let ended = Facts { ended: true, ..LIVE };
        let restarted = Facts { newer_attempt: true, ..LIVE };
        let over = Facts { pod_over: true, ..LIVE };
        let closed = |facts: Facts| Facts { has_writer: Some(false), ..facts };
        let unknown =
            |facts: Facts, seconds: u64| Facts { has_writer: None, unchanged_for: Duration::from_secs(seconds), ..facts };
        let quiet = |facts: Facts, seconds: u64| Facts { unchanged_for: Duration::from_secs(seconds), ..facts };
        for (case, facts, expected) in [
            ("running", LIVE, Step::Wait(Waiting::Running)),
            ("running, and the runtime is being restarted", closed(LIVE), Step::Wait(Waiting::Running)),
            ("running, quiet for a day, and nobody can be asked", unknown(LIVE, 86_400), Step::Wait(Waiting::Running)),
            ("ended, the last bytes are still to come", ended, Step::Wait(Waiting::Written)),
            ("ended and closed", closed(ended), Step::Seal),
            ("restarted and closed", closed(restarted), Step::Seal),
            ("the pod is over and closed", closed(over), Step::Seal),
            ("ended a moment ago, and nobody can be asked", unknown(ended, 9), Step::Wait(Waiting::Settling)),
            ("ended and settled", unknown(ended, 10), Step::Seal),
            ("a background process of an ended container still writes", quiet(ended, 86_400), Step::Wait(Waiting::Written)),
            ("the pod is over, and the file was forgotten", quiet(over, 600), Step::Seal),
            ("the pod is over, and the file not yet forgotten", quiet(over, 599), Step::Wait(Waiting::Written)),
        ] {
            assert_eq!(seal(&facts), expected, "{case}");
        }
    }
}
