//! Pods of runs that are not in the runs' store yet: the ledger does not see them. A create may be answered late, or be the work of a
//! coordinator that leads no more; what the store does not know of is deleted and must not be let go before.
//!
//! In: observations on their way to the ledger, the UIDs that are stored. Out: the observations that the ledger may have. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jobmeter_decide::pool::{Member, Observation};

/// UIDs of pods of runs that are stored and not over. `None`: nobody keeps runs here, and no pod is held.
pub type StoredPods = Option<HashSet<Arc<str>>>;

#[derive(Debug, Default)]
pub(super) struct Held(HashMap<Arc<str>, Member>);

impl Held {
    /// `None`: it is kept until its pod is stored.
    pub(super) fn pass(&mut self, what: Observation, stored: &StoredPods) -> Option<Observation> {
        match what {
            Observation::Applied(member) if waits(&member, stored) => {
                self.0.insert(member.uid.clone(), member);
                None
            }
            Observation::Listed { kind, members } => {
                let (held, members): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| waits(member, stored));
                self.0.retain(|_, member| member.kind != kind);
                self.0.extend(held.into_iter().map(|member| (member.uid.clone(), member)));
                Some(Observation::Listed { kind, members })
            }
            what => {
                if let Observation::Applied(Member { uid, .. }) | Observation::Gone { uid, .. } = &what {
                    self.0.remove(uid);
                }
                Some(what)
            }
        }
    }

    /// Those that are stored by now.
    pub(super) fn free(&mut self, stored: &StoredPods) -> Vec<Observation> {
        let is_free = |_: &Arc<str>, member: &mut Member| !waits(member, stored);
        self.0.extract_if(is_free).map(|(_, member)| Observation::Applied(member)).collect()
    }
}

/// One that has a place had it from a ledger that was allowed to see it.
fn waits(member: &Member, stored: &StoredPods) -> bool {
    let is_stored = |stored: &HashSet<Arc<str>>| stored.contains(&member.uid);
    member.of_run && member.gated && member.slot.is_none() && !stored.as_ref().is_none_or(is_stored)
}

#[cfg(test)]
mod tests;
