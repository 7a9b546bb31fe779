//! `--state`: our names, and sacct's with their letters.

use jobmeter_protocol::Reason;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StateError {
    #[error("there is no state \"{word}\"; {subject} have {known}")]
    Unknown { word: String, subject: &'static str, known: String },
    #[error("\"{word}\" is a state of pods; jobs have {}: add --pods", JOB_STATES.join(", "))]
    OfPods { word: String },
    #[error("no state is named")]
    Empty,
}

const JOB_STATES: [&str; 5] = ["Pending", "Running", "Completed", "Failed", "Deleted"];

/// sacct's word and letters, what it means for a job, and what for a pod.
const SLURM: [(&str, &str, &str, &[Reason]); 9] = [
    ("pending", "pd", "Pending", &[]),
    ("running", "r", "Running", &[Reason::Running]),
    ("completed", "cd", "Completed", &[Reason::Completed]),
    ("failed", "f", "Failed", FAILED),
    ("cancelled", "ca", "Deleted", &[Reason::Deleted]),
    ("timeout", "to", "", &[Reason::Deadline]),
    ("out_of_memory", "oom", "", &[Reason::OOMKilled]),
    ("node_fail", "nf", "", &[Reason::Lost]),
    ("preempted", "pr", "", &[Reason::Evicted]),
];

/// Everything that is neither success nor a person's own doing.
const FAILED: &[Reason] = &[Reason::Error, Reason::OOMKilled, Reason::Evicted, Reason::Deadline, Reason::Lost, Reason::NeverRan];

/// To the names that the coordinator knows.
pub(super) fn parse(text: &str, pods: bool) -> Result<String, StateError> {
    let mut names: Vec<&str> = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        names.extend(if pods { pod_states(word)? } else { vec![job_state(word)?] });
    }
    if names.is_empty() { Err(StateError::Empty) } else { Ok(names.join(",")) }
}

fn pod_states(word: &str) -> Result<Vec<&'static str>, StateError> {
    let own =
        Reason::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(word)).map(|reason| vec![reason.as_str()]);
    let slurm = || slurm(word).map(|(_, _, _, reasons)| reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    own.or_else(slurm).filter(|states| !states.is_empty()).ok_or_else(|| {
        let known = Reason::ALL.map(Reason::as_str).join(", ");
        StateError::Unknown { word: word.to_owned(), subject: "pods", known }
    })
}

fn job_state(word: &str) -> Result<&'static str, StateError> {
    let own = JOB_STATES.into_iter().find(|state| state.eq_ignore_ascii_case(word));
    let slurm = || slurm(word).map(|(_, _, state, _)| *state).filter(|state| !state.is_empty());
    own.or_else(slurm).ok_or_else(|| match pod_states(word) {
        Ok(_) => StateError::OfPods { word: word.to_owned() },
        Err(_) => StateError::Unknown { word: word.to_owned(), subject: "jobs", known: JOB_STATES.join(", ") },
    })
}

fn slurm(word: &str) -> Option<&'static (&'static str, &'static str, &'static str, &'static [Reason])> {
    SLURM.iter().find(|(name, letters, _, _)| name.eq_ignore_ascii_case(word) || letters.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_and_slurms_become_what_the_coordinator_knows() {
        assert_eq!(parse("FAILED, cd", false).unwrap(), "Failed,Completed");
        assert_eq!(parse("oomkilled,TO,CA", true).unwrap(), "OOMKilled,Deadline,Deleted");
        assert_eq!(parse("f", true).unwrap(), "Error,OOMKilled,Evicted,Deadline,Lost,NeverRan");
    }

    #[test]
    fn a_state_that_only_pods_have_says_to_add_pods() {
        assert_eq!(parse("oom", false).unwrap_err(), StateError::OfPods { word: "oom".into() });
        assert!(parse("pending", true).unwrap_err().to_string().starts_with("there is no state \"pending\"; pods have Running,"));
        assert_eq!(parse(" ,", true).unwrap_err(), StateError::Empty);
    }
}
