//! What passes with time: deadlines of a node's attempt, retries that are due, results that do not come, nodes that stay unusable.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{NodeRun, NodeRunState};

use super::Runs;
use super::attempt::{Failure, awaits_result, retries};
use super::flights::later;
use super::kept::Kept;
use super::nodes::Usable;

/// A node that is not usable, or a pod that does not go, holds up a run so long at most.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

impl Runs {
    /// When it must be looked at again.
    pub(super) fn due(&self, kept: &Kept, node: &NodeRun, now: Timestamp) -> Option<Timestamp> {
        if !kept.is_active() {
            return None;
        }
        let settings = &kept.settings;
        let unusable =
            || self.nodes.usable(&node.node, settings).and_then(Usable::obstacle).map(|(_, since)| later(since, PATIENCE));
        let after = |from: Option<Timestamp>, deadline: Option<SignedDuration>| Some(later(from?, deadline?));
        match node.state {
            NodeRunState::Waiting => match node.retry_at {
                Some(at) if at > now => Some(at),
                Some(at) => earliest(Some(later(at, PATIENCE)).filter(|at| *at > now), unusable().filter(|at| *at > now)),
                None => unusable(),
            },
            NodeRunState::Queued => unusable(),
            NodeRunState::Starting => after(node.admitted, settings.start_deadline),
            NodeRunState::Running if awaits_result(node) => kept.awaiting.get(&node.node).copied(),
            NodeRunState::Running => after(node.started, settings.node_deadline),
            NodeRunState::Succeeded | NodeRunState::Failed | NodeRunState::Skipped | NodeRunState::Cancelled => None,
        }
    }

    /// Its alarm rang.
    pub(super) fn look_at_node(&mut self, run: &str, name: &str, now: Timestamp) {
        let Some(kept) = self.book.get(run).filter(|kept| kept.is_active()) else { return };
        let Some(node) = kept.node(name) else { return };
        let passed = |from: Option<Timestamp>, deadline: Option<SignedDuration>| {
            deadline.filter(|deadline| from.is_some_and(|from| later(from, *deadline) <= now))
        };
        let obstacle = self.nodes.usable(name, &kept.settings).and_then(Usable::obstacle);
        let unusable = obstacle.filter(|(_, since)| later(*since, PATIENCE) <= now).map(|(why, _)| why);
        let stuck = node.retry_at.is_some_and(|at| later(at, PATIENCE) <= now) && self.is_occupied(run, name);
        let overdue = awaits_result(node) && kept.awaiting.get(name).is_none_or(|until| *until <= now);
        match node.state {
            NodeRunState::Waiting if retries(node) && stuck => {
                let why = format!("{}; but its earlier pod could not be deleted", node.why.as_deref().unwrap_or_default());
                self.fail(run, name, Failure::for_good(why), now);
            }
            NodeRunState::Waiting if retries(node) && unusable.is_some() => {
                let why = format!("{}; but {}", node.why.as_deref().unwrap_or_default(), unusable.unwrap_or_default());
                self.fail(run, name, Failure::for_good(why), now);
            }
            NodeRunState::Waiting | NodeRunState::Queued if !retries(node) && unusable.is_some() => {
                self.skip(run, name, unusable.unwrap_or_default(), now);
            }
            NodeRunState::Starting => {
                if let Some(deadline) = passed(node.admitted, kept.settings.start_deadline) {
                    let waits = node.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                    self.fail(run, name, Failure::of(format!("it did not start within {deadline:#}{waits}")), now);
                }
            }
            NodeRunState::Running if overdue => self.fail(run, name, Failure::no_result(), now),
            NodeRunState::Running if awaits_result(node) => {}
            NodeRunState::Running => {
                if let Some(deadline) = passed(node.started, kept.settings.node_deadline) {
                    self.fail(run, name, Failure::of(format!("it ran longer than its deadline of {deadline:#}")), now);
                }
            }
            _ => {}
        }
        self.follow(run, name, now);
    }
}
