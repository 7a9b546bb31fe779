//! What to do about a log that should be in the store and is not.
//!
//! Input: what the coordinator knows of the log ([`Expected`]) and of its node ([`Witness`]), and the time. Output: one
//! [`Step`]; doing nothing says why. Owner: the coordinator. A log that was given up is still taken when it comes after all.

use std::time::Duration;

use jiff::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// After the end of a run its log comes by itself; asking earlier is of no use.
    pub unasked: Duration,
    /// A node of which nothing is heard for so long does not bring it.
    pub node_silent: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { unasked: Duration::from_secs(15), node_silent: Duration::from_secs(900) }
    }
}

/// A log that is in the ledger, and not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// When the end of its run became known here; `None`: it is running.
    pub ended: Option<Timestamp>,
    /// It was given up before.
    pub lost: bool,
}

/// Whoever should bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness<'a> {
    /// `None`: no node is known to have run it.
    pub node: Option<&'a str>,
    pub last_heartbeat: Option<Timestamp>,
    /// The node is deleted from the cluster, or came back with another identity.
    pub gone: bool,
    /// The agent answered that it does not have the log, and why: a sentence.
    pub says_unknown: Option<&'a str>,
    /// Since when heartbeats could have been received: this coordinator's start.
    pub listening_since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Wait(Waiting),
    /// Name it in the answer to the node's next heartbeat.
    Ask,
    /// Put a notice in its place.
    Lose(Lost),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waiting {
    Running,
    /// It ended a moment ago: the log is on its way.
    OnItsWay,
    /// There is a notice in its place, and nothing new to say.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub reason: Reason,
    /// A sentence, for the notice and the ledger.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The agent does not have it.
    AgentUnknown,
    NodeGone,
    NodeSilent,
    /// No agent was ever heard on its node, or no node is known.
    AgentAbsent,
}

impl Reason {
    /// Every [`Reason::as_str`].
    pub const WORDS: [&'static str; 4] = ["agent_unknown", "node_gone", "node_silent", "agent_absent"];

    /// For a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentUnknown => "agent_unknown",
            Self::NodeGone => "node_gone",
            Self::NodeSilent => "node_silent",
            Self::AgentAbsent => "agent_absent",
        }
    }
}

/// An agent that is alive and silent about a log may be shipping a large one, or have a full queue: it is asked for as long as it
/// lives, since only its own word tells that there is nothing to come.
pub fn chase(expected: &Expected, witness: &Witness<'_>, deadlines: &Deadlines, now: Timestamp) -> Step {
    let Some(ended) = expected.ended else { return Step::Wait(Waiting::Running) };
    let heard = witness.last_heartbeat.unwrap_or(witness.listening_since).max(ended);
    let silent = passed(heard.max(witness.listening_since), deadlines.node_silent, now);
    if expected.lost {
        // Whoever was thought dead and lives may have it.
        let may_have_it = !silent && !witness.gone && witness.says_unknown.is_none() && witness.last_heartbeat.is_some();
        return if may_have_it { Step::Ask } else { Step::Wait(Waiting::Lost) };
    }
    let node = witness.node.unwrap_or("(none)");
    let lose = |reason, why| Step::Lose(Lost { reason, why });
    if let Some(why) = witness.says_unknown {
        return lose(Reason::AgentUnknown, format!("the agent of node {node} does not have it: {why}"));
    }
    if witness.gone {
        return lose(Reason::NodeGone, format!("node {node} was removed from the cluster before it brought the log"));
    }
    match witness.last_heartbeat {
        Some(last) if silent => {
            let why = format!("nothing was heard of node {node} since {last:.0}; should it come back, so may the log");
            lose(Reason::NodeSilent, why)
        }
        None if silent => {
            lose(Reason::AgentAbsent, format!("no agent was heard on node {node}; should one come, so may the log"))
        }
        _ if passed(ended, deadlines.unasked, now) => Step::Ask,
        _ => Step::Wait(Waiting::OnItsWay),
    }
}

fn passed(since: Timestamp, patience: Duration, now: Timestamp) -> bool {
    now.duration_since(since) >= jiff::SignedDuration::try_from(patience).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::at;

    const ENDED: Expected = Expected { ended: Some(Timestamp::UNIX_EPOCH), lost: false };

    fn ended() -> Expected {
        Expected { ended: Some(at(0.0)), ..ENDED }
    }

    fn heard(seconds: f64) -> Witness<'static> {
        let last_heartbeat = Some(at(seconds));
        Witness { node: Some("node-a"), last_heartbeat, gone: false, says_unknown: None, listening_since: at(-1000.0) }
    }

    #[derive(Debug, PartialEq)]
    enum Short {
        Wait(Waiting),
        Ask,
        Lose(Reason),
    }

    fn short(step: Step) -> Short {
        match step {
            Step::Wait(waiting) => Short::Wait(waiting),
            Step::Ask => Short::Ask,
            Step::Lose(lost) => Short::Lose(lost.reason),
        }
    }

    #[test]
    fn what_is_done_about_each_kind_of_silence() {
        let never = Witness { last_heartbeat: None, ..heard(0.0) };
        let unknown = |at| Witness { says_unknown: Some("its spool was full"), ..heard(at) };
        let gone = Witness { gone: true, ..heard(50.0) };
        let running = Expected { ended: None, lost: false };
        let lost = Expected { lost: true, ..ended() };
        let fresh = Witness { listening_since: at(800.0), ..heard(0.0) };
        for (case, expected, witness, now, step) in [
            ("running", running, heard(99_999.0), 99_999.0, Short::Wait(Waiting::Running)),
            ("just ended", ended(), heard(14.0), 14.0, Short::Wait(Waiting::OnItsWay)),
            ("it should be here", ended(), heard(14.0), 15.0, Short::Ask),
            ("alive and silent about it, for a day", ended(), heard(86_399.0), 86_400.0, Short::Ask),
            ("the agent does not have it", ended(), unknown(130.0), 131.0, Short::Lose(Reason::AgentUnknown)),
            ("the node may come back", ended(), heard(10.0), 909.0, Short::Ask),
            ("the node is silent", ended(), heard(10.0), 910.0, Short::Lose(Reason::NodeSilent)),
            ("the node was silent before the end was known", ended(), heard(-500.0), 899.0, Short::Ask),
            ("silent, but this coordinator has just begun to listen", ended(), fresh, 1000.0, Short::Ask),
            ("no agent yet", ended(), never, 899.0, Short::Ask),
            ("no agent at all", ended(), never, 900.0, Short::Lose(Reason::AgentAbsent)),
            ("the node is gone for good", ended(), gone, 60.0, Short::Lose(Reason::NodeGone)),
            ("lost, and still silent", lost, heard(10.0), 2000.0, Short::Wait(Waiting::Lost)),
            ("lost, and the node came back", lost, heard(1999.0), 2000.0, Short::Ask),
            ("lost, and the agent said that it does not have it", lost, unknown(1999.0), 2000.0, Short::Wait(Waiting::Lost)),
        ] {
            assert_eq!(short(chase(&expected, &witness, &Deadlines::default(), at(now))), step, "{case}");
        }
    }

    #[test]
    fn the_notice_says_what_the_agent_said() {
        let witness = Witness { says_unknown: Some("its spool was full"), ..heard(1.0) };
        let Step::Lose(lost) = chase(&ended(), &witness, &Deadlines::default(), at(2.0)) else { panic!("it is lost") };
        assert_eq!(lost.why, "the agent of node node-a does not have it: its spool was full");
    }
}
