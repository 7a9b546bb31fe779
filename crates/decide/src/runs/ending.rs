//! How a run ends: by its nodes, by its own rules, or because somebody says so.
//!
//! A run is over when all its nodes are and none of its pods can still run; a pod that does not go is waited for
//! [`PATIENCE`] long, and one whose node is gone not at all.

use jiff::Timestamp;
use jobmeter_protocol::runs::{NodeRunState, Run, RunState};

use super::Runs;
use super::alarms::Alarm;
use super::attempt::{Failure, awaits_result, retries};
use super::deadlines::{PATIENCE, earliest};
use super::flights::later;
use super::kept::Kept;

const DEADLINE: &str = "the run's deadline passed";

/// Why a run gets no more pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing of it goes on.
    Cancel,
    Deadline,
    /// What runs may end.
    Failures,
}

impl Runs {
    pub(super) fn stop(&mut self, run: &str, stop: Stop, why: &str, now: Timestamp) {
        // Where all nodes are over there is nothing to stop: how they ended is the verdict.
        let Some(kept) = self.book.get(run).filter(|kept| !kept.nodes_over()) else { return };
        let unfinished = kept.unfinished();
        // Nothing is tried again from here on.
        self.book.change(run, |kept| {
            kept.run.stopping = true;
            kept.run.why = Some(why.to_owned());
        });
        for name in unfinished {
            let Some(node) = self.book.get(run).and_then(|kept| kept.node(&name)) else { continue };
            match (stop, node.state) {
                (Stop::Cancel, _) => self.change_node(run, &name, now, |node| {
                    node.state = NodeRunState::Cancelled;
                    node.why = Some(why.to_owned());
                    node.retry_at = None;
                }),
                (_, NodeRunState::Waiting) if retries(node) => {
                    let failed = node.why.as_deref().unwrap_or_default();
                    let why = format!("{failed}; but {why}");
                    self.fail(run, &name, Failure::for_good(why), now);
                }
                (_, NodeRunState::Waiting) | (Stop::Failures, NodeRunState::Queued) => self.skip(run, &name, why, now),
                (Stop::Deadline, NodeRunState::Running) if awaits_result(node) => {
                    self.fail(run, &name, Failure::no_result(), now);
                }
                (Stop::Deadline, _) => self.fail(run, &name, Failure::for_good(why), now),
                (Stop::Failures, _) => {}
            }
        }
    }

    /// Its rules, and whether it is over.
    pub(super) fn look_at_run(&mut self, run: &str, now: Timestamp) {
        let Some(kept) = self.book.get(run).filter(|kept| kept.is_active()) else { return };
        let deadline = kept.settings.run_deadline.map(|deadline| later(kept.run.created, deadline));
        if deadline.is_some_and(|at| at <= now) {
            self.stop(run, Stop::Deadline, DEADLINE, now);
        } else if !kept.run.stopping
            && let Some(why) = broken_rule(kept)
        {
            self.stop(run, Stop::Failures, &why, now);
        }
        let Some(kept) = self.book.get(run) else { return };
        if !kept.nodes_over() {
            return self.alarms.set(Alarm::Run(run.to_owned()), deadline.filter(|at| *at > now));
        }
        match self.held_up(kept, now) {
            HeldUp::No => self.end(run, now),
            HeldUp::Until(at) => self.alarms.set(Alarm::Run(run.to_owned()), at),
        }
    }

    /// Whether a pod of it may still run.
    fn held_up(&self, kept: &Kept, now: Timestamp) -> HeldUp {
        let run = &kept.run.id;
        if kept.unsure_until.is_some_and(|until| until > now) {
            return HeldUp::Until(kept.unsure_until);
        }
        if kept.making > 0 {
            return HeldUp::Until(None);
        }
        let mut held_up = HeldUp::No;
        for known in self.pods.open(run).filter(|known| self.nodes.has(&known.pod.node)) {
            let until = known.leaving.map(|since| later(since, PATIENCE));
            if until.is_some_and(|until| until <= now) {
                continue;
            }
            held_up = match held_up {
                HeldUp::No => HeldUp::Until(until),
                HeldUp::Until(other) => HeldUp::Until(earliest(until, other)),
            };
        }
        held_up
    }

    fn end(&mut self, run: &str, now: Timestamp) {
        self.book.change(run, |kept| {
            kept.run.finished = Some(now);
            (kept.run.state, kept.run.why) = verdict(kept);
        });
        self.alarms.set(Alarm::Run(run.to_owned()), None);
        if let Some(kept) = self.book.get(run) {
            self.look.history.insert(kept.run.definition.clone());
            self.look.newcomers = true;
        }
        self.look.pods.extend(self.pods.of_run(run).cloned());
    }

    /// A node of a run that is over turned out to have succeeded.
    pub(super) fn recount(&mut self, run: &str) {
        if self.book.get(run).is_some_and(|kept| !kept.is_active()) {
            self.book.change(run, |kept| (kept.run.state, kept.run.why) = verdict(kept));
        }
    }
}

enum HeldUp {
    No,
    /// At the latest, if that is known.
    Until(Option<Timestamp>),
}

/// What the run's own settings say about its failures.
fn broken_rule(kept: &Kept) -> Option<String> {
    let counts = &kept.run.nodes;
    let canary = canary(kept);
    if counts.failed > 0 && counts.succeeded < canary {
        let failed = kept.nodes().values().find(|node| node.state == NodeRunState::Failed)?;
        let why = failed.why.as_deref().unwrap_or("it failed");
        return Some(format!("node {}, one of the first {canary}, failed: {why}", failed.node));
    }
    let most = kept.settings.max_failures.filter(|most| counts.failed >= (*most).max(1))?;
    Some(format!("{} failed, and it stops after {most}", nodes(counts.failed)))
}

/// So many nodes must succeed before the others begin.
pub(super) fn canary(kept: &Kept) -> u32 {
    kept.settings.canary.min(kept.run.nodes.total - kept.run.nodes.skipped)
}

fn verdict(kept: &Kept) -> (RunState, Option<String>) {
    let Run { nodes: counts, why, stopping, .. } = &kept.run;
    if counts.cancelled > 0 {
        (RunState::Cancelled, why.clone())
    } else if *stopping {
        (RunState::Failed, why.clone())
    } else if counts.failed > 0 {
        (RunState::Failed, Some(format!("{} of {} failed", counts.failed, nodes(counts.total))))
    } else if counts.succeeded == 0 {
        (RunState::Failed, Some(format!("none of {} could take its pod", nodes(counts.total))))
    } else {
        (RunState::Succeeded, None)
    }
}

fn nodes(count: u32) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}
