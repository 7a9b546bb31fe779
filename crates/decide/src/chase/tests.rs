//! The table of the chase: who knows what, for how long, and what is done.

use super::*;
use crate::example::at;

const DEADLINES: Deadlines = Deadlines {
    agent_alive: Duration::from_secs(60),
    agent_silent: Duration::from_secs(300),
    heartbeat: Duration::from_secs(30),
};

/// Ran on a node, and ended at 0 s; the agent has said nothing.
fn known() -> Known {
    Known {
        api: ApiKnown::Terminal,
        scheduled: true,
        ran: true,
        evidence: None,
        owners: true,
        ended: Some(at(0.0)),
        changed: at(0.0),
    }
}

fn heard(seconds: f64) -> Witness {
    Witness { last_heartbeat: Some(at(seconds)), says_unknown: false, listening_since: at(-1000.0) }
}

fn never_heard() -> Witness {
    Witness { last_heartbeat: None, ..heard(0.0) }
}

fn missing(missing: Missing) -> Step {
    Step::Close(Ending::Missing(missing))
}

#[test]
fn what_is_done_about_each_kind_of_silence() {
    let alive_at = |now: f64| heard(now - 5.0);
    let with = |evidence| Known { evidence: Some(evidence), ..known() };
    let unknown = |known: Known, now: f64| (known, Witness { says_unknown: true, ..alive_at(now) }, now);
    let not_ran = Known { ran: false, ..known() };
    let lost = missing(Missing::NodeLost { last_heartbeat: at(0.0) });
    for (case, (known, witness, now), expected) in [
        ("just ended, agent alive", (known(), alive_at(1.0), 1.0), Step::Ask),
        ("still time", (known(), alive_at(59.0), 59.0), Step::Ask),
        ("alive and silent", (known(), alive_at(60.0), 60.0), missing(Missing::AgentSilent)),
        ("alive, but the last reading does not come", (with(Stage::Ended), alive_at(60.0), 60.0), missing(Missing::LastReading)),
        ("the agent may be restarting", (known(), heard(0.0), 299.0), Step::Ask),
        ("the node is lost", (known(), heard(0.0), 300.0), lost),
        ("the node is lost with half of the evidence", (with(Stage::Running), heard(0.0), 300.0), lost),
        ("no agent yet", (known(), never_heard(), 299.0), Step::Ask),
        ("no agent at all", (known(), never_heard(), 300.0), missing(Missing::AgentAbsent)),
        ("the agent knows nothing", unknown(known(), 2.0), missing(Missing::AgentUnknown)),
        ("the agent forgot what it had told", unknown(with(Stage::Ended), 2.0), missing(Missing::LastReading)),
        ("nothing ever started", unknown(not_ran, 2.0), Step::Close(Ending::NeverRan)),
        ("nothing was seen to start, nobody to ask", (not_ran, never_heard(), 300.0), missing(Missing::NeverSeenToStart)),
        ("all is said", (with(Stage::Final), never_heard(), 0.0), Step::Close(Ending::Whole)),
    ] {
        assert_eq!(chase(&known, &witness, &DEADLINES, at(now)), expected, "{case}");
    }
}

#[test]
fn a_running_pod_is_left_alone_whatever_its_agent_does() {
    let running = Known { api: ApiKnown::Live, ended: None, ..known() };
    assert_eq!(chase(&running, &never_heard(), &DEADLINES, at(1e6)), Step::Wait(Waiting::StillRunning));
}

#[test]
fn after_a_restart_of_the_coordinator_agents_get_their_time_anew() {
    let restarted = Witness { listening_since: at(10_000.0), ..never_heard() };
    assert_eq!(chase(&known(), &restarted, &DEADLINES, at(10_299.0)), Step::Ask);
    assert_eq!(chase(&known(), &restarted, &DEADLINES, at(10_300.0)), missing(Missing::AgentAbsent));
}

#[test]
fn the_node_has_spoken_and_the_cluster_has_not() {
    let said = |api, owners| Known { api, owners, evidence: Some(Stage::Final), ..known() };
    let step = |known: Known, now| chase(&known, &heard(now), &DEADLINES, at(now));
    // The watch lags: it will tell.
    assert_eq!(step(said(ApiKnown::Live, true), 1e6), Step::Wait(Waiting::Outcome));
    // The pod was gone before the watch began.
    assert_eq!(step(said(ApiKnown::Never, true), 59.0), Step::Wait(Waiting::Outcome));
    assert_eq!(step(said(ApiKnown::Never, true), 60.0), Step::Close(Ending::Whole));
    // The owners cannot be looked up.
    assert_eq!(step(said(ApiKnown::Terminal, false), 59.0), Step::Wait(Waiting::Owners));
    assert_eq!(step(said(ApiKnown::Terminal, false), 60.0), Step::Close(Ending::Whole));
}

#[test]
fn a_pod_that_only_a_lost_node_knew_does_not_stay_open_for_ever() {
    let orphan = Known { api: ApiKnown::Never, ended: None, evidence: Some(Stage::Running), ..known() };
    let step = |witness: Witness, now| chase(&orphan, &witness, &DEADLINES, at(now));
    assert_eq!(step(heard(100.0), 101.0), Step::Wait(Waiting::StillRunning));
    assert_eq!(step(heard(0.0), 299.0), Step::Ask);
    assert_eq!(step(heard(0.0), 300.0), missing(Missing::NodeLost { last_heartbeat: at(0.0) }));
    // Its agent is alive: asked, but never given up without its word.
    assert_eq!(step(heard(1e5), 1e5), Step::Ask);
    assert_eq!(step(Witness { says_unknown: true, ..heard(1e5) }, 1e5), missing(Missing::LastReading));
}

#[test]
fn a_pod_without_a_node_is_over_when_it_is_gone() {
    let pending = Known { scheduled: false, ran: false, ..known() };
    for api in [ApiKnown::Terminal, ApiKnown::Vanished] {
        assert_eq!(whole(&Known { api, ..pending }), Step::Close(Ending::NeverRan));
    }
    assert_eq!(whole(&Known { api: ApiKnown::Live, ..pending }), Step::Wait(Waiting::StillRunning));
}

#[test]
fn words_come_back_as_they_went_out() {
    for known in [ApiKnown::Never, ApiKnown::Live, ApiKnown::Terminal, ApiKnown::Vanished] {
        assert_eq!(ApiKnown::from_word(known.as_str()), Some(known));
    }
    let every = [
        Missing::NeverSeenToStart,
        Missing::NodeLost { last_heartbeat: at(0.0) },
        Missing::AgentAbsent,
        Missing::AgentUnknown,
        Missing::AgentSilent,
        Missing::LastReading,
    ];
    assert_eq!(every.map(Missing::as_str), Missing::WORDS);
}
