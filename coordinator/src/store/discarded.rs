//! Pods that are no jobs by their chain of owners, and whose agents may not have heard of it yet: their evidence would make
//! a record once more.
//!
//! In memory only: after a restart the world judges what the cluster has anew. Owner: the writer's thread.

use std::collections::{HashSet, VecDeque};

/// The oldest is forgotten beyond it.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Discarded {
    uids: HashSet<String>,
    /// May have UIDs that were removed meanwhile.
    order: VecDeque<String>,
}

impl Discarded {
    pub(super) fn insert(&mut self, uid: &str) {
        if !self.uids.insert(uid.to_owned()) {
            return;
        }
        self.order.push_back(uid.to_owned());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }

    /// It is a job after all.
    pub(super) fn remove(&mut self, uid: &str) {
        self.uids.remove(uid);
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }
}
