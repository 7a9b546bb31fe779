//! Which of several coordinators leads: an elector over one Lease, by the rules of Kubernetes' own controllers.
//!
//! ```text
//! Elector::next(now) ──▶ Step        (the call is made)        Elector::answered(now, Answer) ──▶ Elector::next(…)
//! ```
//! In: what the API server answered, and this process's monotonic clock. Out: calls, waits, and when leadership begins and ends.
//!
//! Why there is never more than one leader. A Lease changes hands only by a write that names the version it was read in, so two
//! candidates cannot both win. Whoever takes it from a living holder has seen no change of it for `lease_duration` *by its own
//! clock*, counted from when it read it; the holder counts `renew_deadline`, which is shorter, from *before* it sent its last
//! successful write. No two clocks are compared; they only must not differ in speed by more than the two durations do.

mod elector;
mod timing;

use std::time::Duration;

pub use elector::Elector;
pub use timing::{Timing, TimingError};

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Another one after every write: the sign of life, whatever was written.
    pub resource_version: String,
    /// Empty: nobody holds it.
    pub holder: String,
    /// By its holder's wish.
    pub duration: Duration,
    /// `leaseTransitions`: the epoch.
    pub transitions: u64,
}

/// What is to be written into the Lease. Times of day are whoever's who writes it: nobody decides by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Empty: it is given back.
    pub holder: String,
    pub duration: Duration,
    pub transitions: u64,
    /// The holder changes with it: it is acquired, not renewed.
    pub acquires: bool,
}

/// What to do now. A call ends within the time that stands with it, or counts as [`Answer::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Get {
        within: Duration,
    },
    Create {
        claim: Claim,
        within: Duration,
    },
    /// Only if the Lease is still of that version.
    Replace {
        resource_version: String,
        claim: Claim,
        within: Duration,
    },
    /// `until` is a time of the elector's clock.
    Wait {
        until: Duration,
        why: Waiting,
    },
    /// Once for each elector: from now on, while [`Elector::holds_until`] says so.
    BecomeLeader {
        epoch: u64,
    },
    /// For ever: this elector does nothing more.
    Lost {
        why: Lost,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Another one leads, and renewed the Lease lately enough.
    HeldBy { holder: String },
    /// The Lease is gone; who held it may not know yet.
    HolderMayNotKnow { holder: String },
    /// Another candidate was quicker.
    Outrun,
    /// The last call failed, or nobody knows what came of it.
    CallFailed,
    /// We lead: until it is time to renew.
    Leading,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("it could not be renewed within {} s", within.as_secs_f64())]
    NotRenewed { within: Duration },
    #[error("{holder} has taken it")]
    TakenBy { holder: String },
    #[error("somebody else changed it: it has no holder")]
    TakenAway,
    #[error("somebody else changed its leaseTransitions from {ours} to {found}")]
    OtherEpoch { ours: u64, found: u64 },
    #[error("it was given back")]
    Released,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Found(Lease),
    /// There is no such Lease.
    Absent,
    /// Created or replaced: as it is now.
    Written(Lease),
    /// It exists already, or was changed since it was read: nothing was written.
    Conflict,
    /// Refused, or without an answer: it may or may not have been written.
    Unknown,
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
