//! One member, and where it stands.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::PoolSlot;

use crate::pool::{Kind, Member, Requirements, Target};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Gated, without a place.
    Queued,
    /// Gated, with a slot that a release may be on its way for that this ledger cannot take back.
    Inherited,
    /// That slot is being written anew.
    Fencing,
    Reserving,
    /// The slot is on it and nobody was told to release it.
    Reserved,
    Releasing,
    /// A release was refused: it is looked at before its place is given back.
    Denied,
    Ungated,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    /// The pool whose place it takes or waits for: the slot's, else the label's.
    pub(super) home: Arc<str>,
    pub(super) priority: i32,
    pub(super) created: Timestamp,
    pub(super) slots: u32,
    pub(super) requirements: Arc<Requirements>,
    pub(super) standing: Standing,
    /// Written, or being written. Of a queued one: what it had, and what may still be on it.
    pub(super) slot: Option<Box<PoolSlot>>,
    /// What it had before the slot that is being written, and has still if that is refused.
    pub(super) before: Option<Box<PoolSlot>>,
    pub(super) node: Option<Arc<str>>,
    /// When it was bound, as the start rate counts it.
    pub(super) started: Option<Timestamp>,
    /// Its node is gone.
    pub(super) lost: bool,
    pub(super) deleting: bool,
    pub(super) unschedulable: Option<Arc<str>>,
    /// The watch does not see it any more.
    pub(super) unwatched: bool,
    /// And an event showed it since, which may be an old one.
    pub(super) shown: bool,
    /// A step is under way.
    pub(super) in_flight: bool,
    /// When to look what is there.
    pub(super) look: Option<Timestamp>,
    pub(super) retry: Option<Box<Retry>>,
}

#[derive(Clone, Debug)]
pub(super) struct Retry {
    pub(super) why: String,
    pub(super) until: Timestamp,
    pub(super) attempts: u32,
    /// Not before `until`.
    pub(super) resting: bool,
}

/// The order of admission, and which member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) priority: Reverse<i32>,
    pub(super) created: Timestamp,
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) uid: Arc<str>,
}

impl Entry {
    /// As it is seen first.
    pub(super) fn new(member: &Member) -> Self {
        let standing = match (member.gated, &member.slot) {
            (false, _) => Standing::Ungated,
            (true, Some(_)) => Standing::Inherited,
            (true, None) => Standing::Queued,
        };
        Self {
            kind: member.kind,
            namespace: member.namespace.clone(),
            name: member.name.clone(),
            home: member.pool.clone(),
            priority: member.priority,
            created: member.created,
            slots: member.slots,
            requirements: member.requirements.clone(),
            standing,
            slot: member.slot.clone().map(Box::new),
            before: None,
            node: None,
            started: None,
            lost: false,
            deleting: member.deleting,
            unschedulable: member.unschedulable.clone(),
            unwatched: false,
            shown: false,
            in_flight: false,
            look: None,
            retry: None,
        }
    }

    pub(super) fn takes_place(&self) -> bool {
        self.standing != Standing::Queued && !self.lost
    }

    pub(super) fn resting(&self) -> bool {
        self.retry.as_ref().is_some_and(|retry| retry.resting)
    }

    /// Nodes that it may still come to.
    pub(super) fn held(&self) -> &[String] {
        match &self.slot {
            Some(slot) if self.standing != Standing::Queued && self.node.is_none() => &slot.nodes,
            _ => &[],
        }
    }

    /// Of an admission by [`Kind`]: a Job's pods are not known to the ledger, so no node can be counted for it.
    pub(super) fn has_node_limits(&self) -> bool {
        self.kind == Kind::Pod
    }

    pub(super) fn refused(&mut self, why: String, now: Timestamp) {
        let attempts = self.retry.as_ref().map_or(0, |retry| retry.attempts);
        let wait = FIRST_RETRY.saturating_mul(1 << attempts.min(10)).min(LAST_RETRY);
        let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.retry = Some(Box::new(Retry { why, until, attempts: attempts.saturating_add(1), resting: true }));
    }

    /// What may only become true: gone from the gate, bound to a node.
    pub(super) fn learn(&mut self, member: &Member) {
        self.deleting |= member.deleting;
        self.slots = member.slots;
        self.unschedulable = member.unschedulable.clone();
        if !member.gated && self.standing != Standing::Ungated {
            self.standing = Standing::Ungated;
            self.retry = None;
            if let Some(slot) = &member.slot {
                self.slot = Some(Box::new(slot.clone()));
            }
        }
    }

    /// A new slot is never equal to one that it had, so that no release for the old one can succeed. Nor is it of an earlier epoch:
    /// whoever deletes the Lease has the epochs begin anew, and the old one would be there for good.
    pub(super) fn write(&mut self, standing: Standing, epoch: u64, nodes: Vec<String>, now: Timestamp) -> PoolSlot {
        let after = self.slot.as_ref().and_then(|old| old.given.checked_add(SignedDuration::from_nanos(1)).ok());
        let given = after.map_or(now, |after| after.max(now));
        let epoch = self.slot.as_ref().map_or(epoch, |old| old.epoch.max(epoch));
        let slot = PoolSlot { pool: self.home.to_string(), epoch, given, nodes };
        self.standing = standing;
        self.before = self.slot.replace(Box::new(slot.clone()));
        slot
    }

    pub(super) fn turn(&self, uid: &Arc<str>) -> Turn {
        Turn {
            priority: Reverse(self.priority),
            created: self.created,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: uid.clone(),
        }
    }

    pub(super) fn target(&self, uid: &Arc<str>) -> Target {
        Target { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone(), uid: uid.clone() }
    }
}

/// The API server writes whole seconds, rounded down.
pub(super) fn start_of(member: &Member, now: Timestamp) -> Timestamp {
    let written = member.scheduled.and_then(|at| at.checked_add(SignedDuration::from_secs(1)).ok());
    written.map_or(now, |at| at.min(now))
}
