//! When a record may be closed, and what to do for one whose evidence does not come.
//!
//! Inputs: what the coordinator knows of one open record ([`Known`]), of its node ([`Witness`]), and the time. Output: one
//! [`Step`]; doing nothing says why. Owner: the coordinator, whose store closes and whose chase task asks and gives up.

use std::time::Duration;

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, PodEvidence, PodPhase, Stage};

/// How long to wait after the end of a pod became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// While the agent of its node sends heartbeats.
    pub agent_alive: Duration,
    /// While it does not: it may be restarting, or the node rebooting.
    pub agent_silent: Duration,
    /// A node whose last heartbeat is older than this is not alive.
    pub heartbeat: Duration,
}

/// One record that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub api: ApiKnown,
    /// A node was chosen for it.
    pub scheduled: bool,
    /// By any witness, a container of it started.
    pub ran: bool,
    pub evidence: Option<Stage>,
    /// The chain of owners was resolved, or will never be.
    pub owners: bool,
    /// When its end became known here; the clock of the deadlines.
    pub ended: Option<Timestamp>,
    /// When anything was last learned of it.
    pub changed: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiKnown {
    /// The API server has not told of this pod (yet).
    Never,
    Live,
    Terminal,
    /// Its object is gone.
    Vanished,
}

/// What is known of the agent that should give evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    pub last_heartbeat: Option<Timestamp>,
    /// The agent answered that it knows nothing of this pod.
    pub says_unknown: bool,
    /// Since when heartbeats could have been received: this coordinator's start.
    pub listening_since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Wait(Waiting),
    /// Name the pod to its agent in the next heartbeat's answer.
    Ask,
    Close(Ending),
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    StillRunning,
    Owners,
    /// The evidence is there; the API server has not told the outcome.
    Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that can be known is known.
    Whole,
    /// No container started, for certain: there is nothing to read.
    NeverRan,
    Missing(Missing),
}

/// Why a record is closed without its last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// Nobody saw a container of it start, and its node cannot be asked.
    NeverSeenToStart,
    NodeLost {
        last_heartbeat: Timestamp,
    },
    AgentAbsent,
    AgentUnknown,
    /// The agent is alive and says nothing of this pod.
    AgentSilent,
    /// There are readings, and the last one did not come in time.
    LastReading,
}

impl ApiKnown {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Live => "live",
            Self::Terminal => "terminal",
            Self::Vanished => "vanished",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Never, Self::Live, Self::Terminal, Self::Vanished].into_iter().find(|known| known.as_str() == word)
    }
}

impl Missing {
    /// Every [`Missing::as_str`].
    pub const WORDS: [&'static str; 6] =
        ["never_seen_to_start", "node_lost", "agent_absent", "agent_unknown", "agent_silent", "last_reading"];

    /// For a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverSeenToStart => "never_seen_to_start",
            Self::NodeLost { .. } => "node_lost",
            Self::AgentAbsent => "agent_absent",
            Self::AgentUnknown => "agent_unknown",
            Self::AgentSilent => "agent_silent",
            Self::LastReading => "last_reading",
        }
    }

    /// The sentence of the record.
    pub fn sentence(self, node: Option<&str>) -> String {
        let node = node.unwrap_or("(none)");
        match self {
            Self::NeverSeenToStart => format!("no container of this pod was seen to start, and node {node} could not be asked"),
            Self::NodeLost { last_heartbeat } => {
                format!("node {node} was lost: its agent was last heard at {last_heartbeat:.0}, before the pod's last reading")
            }
            Self::AgentAbsent => format!("no agent was ever heard on node {node}"),
            Self::AgentUnknown => {
                format!("the agent of node {node} knows nothing of this pod: it was not running when the pod was")
            }
            Self::AgentSilent => format!("the agent of node {node} is alive but sent nothing about this pod"),
            Self::LastReading => {
                format!("the pod's last reading did not arrive from node {node}; the figures are of an earlier one")
            }
        }
    }
}

/// What the record's two witnesses say, for [`Known`].
pub fn api_known(api: Option<&ApiPod>, vanished: bool) -> ApiKnown {
    match api {
        _ if vanished => ApiKnown::Vanished,
        None => ApiKnown::Never,
        Some(pod) if pod.phase.is_terminal() => ApiKnown::Terminal,
        Some(_) => ApiKnown::Live,
    }
}

pub fn ran(api: Option<&ApiPod>, evidence: Option<&PodEvidence>) -> bool {
    let by_api = api.is_some_and(|pod| {
        pod.phase == PodPhase::Succeeded
            || pod.containers.iter().any(|c| c.started.is_some() || c.exit.is_some() || c.container_id.is_some())
    });
    by_api || evidence.is_some_and(|evidence| !evidence.containers.is_empty() || !evidence.segments.is_empty())
}

/// Whether both witnesses have said their last word. The store asks this at each change of a record.
pub fn whole(known: &Known) -> Step {
    match (known.evidence, known.api) {
        _ if !known.owners => Step::Wait(Waiting::Owners),
        (Some(Stage::Final), ApiKnown::Terminal | ApiKnown::Vanished) => Step::Close(Ending::Whole),
        (Some(Stage::Final), ApiKnown::Live | ApiKnown::Never) => Step::Wait(Waiting::Outcome),
        // No node ever had it: nobody can have evidence.
        (None, ApiKnown::Terminal | ApiKnown::Vanished) if !known.ran && !known.scheduled => Step::Close(Ending::NeverRan),
        _ => Step::Wait(Waiting::StillRunning),
    }
}

/// What to do about a record that [`whole`] left open.
pub fn chase(known: &Known, witness: &Witness, deadlines: &Deadlines, now: Timestamp) -> Step {
    let whole = whole(known);
    if matches!(whole, Step::Close(_)) {
        return whole;
    }
    let alive = witness.last_heartbeat.is_some_and(|at| !passed(at, deadlines.heartbeat, now));
    let orphaned = known.ended.is_none() && is_orphan(known, alive, deadlines, now);
    let Some(ended) = known.ended.or(orphaned.then_some(known.changed)) else {
        return Step::Wait(Waiting::StillRunning);
    };
    let patience = if alive { deadlines.agent_alive } else { deadlines.agent_silent };
    let overdue = passed(ended.max(witness.listening_since), patience, now);
    if known.evidence == Some(Stage::Final) {
        // The owners or the outcome are what is missing, and they do not come from an agent. While the API server has the
        // pod it will tell; what it never told of, it will not.
        return if overdue && known.api != ApiKnown::Live { Step::Close(Ending::Whole) } else { whole };
    }
    if witness.says_unknown {
        return Step::Close(match known.evidence {
            None if !known.ran => Ending::NeverRan,
            None => Ending::Missing(Missing::AgentUnknown),
            Some(_) => Ending::Missing(Missing::LastReading),
        });
    }
    // An agent that is alive may be watching an orphan run: only its own word ends that.
    if !overdue || (orphaned && alive) {
        return Step::Ask;
    }
    Step::Close(Ending::Missing(match (witness.last_heartbeat, known.evidence) {
        _ if !known.ran => Missing::NeverSeenToStart,
        (Some(last_heartbeat), _) if !alive => Missing::NodeLost { last_heartbeat },
        (None, None) => Missing::AgentAbsent,
        (_, Some(_)) => Missing::LastReading,
        (Some(_), None) => Missing::AgentSilent,
    }))
}

/// A pod that only its agent ever knew, and of which nothing is heard any more.
fn is_orphan(known: &Known, alive: bool, deadlines: &Deadlines, now: Timestamp) -> bool {
    known.api == ApiKnown::Never && (!alive || passed(known.changed, deadlines.agent_silent, now))
}

fn passed(since: Timestamp, patience: Duration, now: Timestamp) -> bool {
    now.duration_since(since) >= jiff::SignedDuration::try_from(patience).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
