//! The books of the places.
//!
//! ```text
//!            reserve          (written)        release         (seen without gate)
//! Queued ──▶ Reserving ──▶ Reserved ──────▶ Releasing ──▶ Ungated ──▶ ended or gone: buried
//!    ▲          │              │                │ refused: Denied, looked at, then Queued
//!    └──────────┴──────────────┘                │ nobody knows: Inherited
//!                 Fencing ◀── Inherited ◀───────┘ also: a slot that somebody else wrote
//! ```
//! All but `Queued` take a place. A release is sent only for a slot that this ledger saw written itself; a slot of an earlier
//! leader, or one whose release may be on its way, is first written anew (*fenced*), so that no old release can succeed any more:
//! then the place may be used or given back.
//! What is known of a member only grows: without gate, bound, ended and gone are final, whatever old events say.

mod apply;
mod books;
mod cluster;
mod entry;
mod graves;
mod observe;
mod plan;
mod queue;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_protocol::{PoolDetail, PoolStatus};

use self::books::Books;
use self::cluster::Cluster;
use self::graves::Graves;
use super::{Kind, Observation, Step};

/// Steps that are under way at once.
const MOST_IN_FLIGHT: usize = 256;

/// All pools of the cluster, for one term of leadership.
#[derive(Clone, Debug)]
pub struct Ledger {
    epoch: u64,
    /// What was not listed yet.
    awaited: Awaited,
    books: Books,
    cluster: Cluster,
    graves: Graves,
    /// Steps that were given out and not answered, by the member.
    flights: BTreeSet<Arc<str>>,
    /// When the start rate of a pool allows more.
    wakes: BTreeMap<Arc<str>, Timestamp>,
    /// The pool that was planned last, so that the next one is first when not all had their turn.
    last: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Awaited {
    pools: bool,
    nodes: bool,
    kinds: BTreeSet<Kind>,
}

impl Ledger {
    /// Nothing is admitted before pools, nodes and every kind in `kinds` were listed.
    pub fn new(epoch: u64, kinds: &[Kind]) -> Self {
        Self {
            epoch,
            awaited: Awaited { pools: true, nodes: true, kinds: kinds.iter().copied().collect() },
            books: Books::default(),
            cluster: Cluster::default(),
            graves: Graves::default(),
            flights: BTreeSet::new(),
            wakes: BTreeMap::new(),
            last: None,
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Everything was listed.
    pub fn is_ready(&self) -> bool {
        !self.awaited.pools && !self.awaited.nodes && self.awaited.kinds.is_empty()
    }

    /// Steps that were given out and not answered yet.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    pub fn observe(&mut self, observation: Observation, now: Timestamp) {
        self.take_in(observation, now);
    }

    /// What to do now. A step is given out once; its answer must be observed.
    pub fn plan(&mut self, now: Timestamp) -> Vec<Step> {
        if self.is_ready() { self.next_steps(now) } else { Vec::new() }
    }

    /// When to plan again at the latest, if nothing is observed before.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if !self.is_ready() || self.flights.len() >= MOST_IN_FLIGHT {
            return None;
        }
        self.books.next_due().into_iter().chain(self.wakes.values().copied()).min()
    }

    /// In the order of names; also those that members name and nobody configured.
    pub fn pools(&self, now: Timestamp) -> Vec<PoolStatus> {
        self.books.pools.keys().filter_map(|name| self.status(name, now)).collect()
    }

    /// At most `limit` members and waiting ones each.
    pub fn pool(&self, name: &str, limit: usize, now: Timestamp) -> Option<PoolDetail> {
        self.detail(name, limit, now)
    }
}

#[cfg(test)]
mod tests;
