//! What people read: sentences for why a member waits and a node does not fit, and settings as they were written.

use std::fmt;
use std::time::Duration;

use super::placement::Unfit;
use super::{Order, Size, StartRate, WaitReason};

/// Reasons of nodes that one sentence holds.
const REASONS: usize = 3;

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoolFull { used, size } => write!(f, "the pool is full: {used} of {size} places are taken"),
            Self::Paused => f.write_str("the pool is paused: its size is 0"),
            Self::NoSuchPool { pool } => write!(f, "there is no pool {pool:?}: configure it, or correct the label"),
            Self::TooLarge { slots, size } => write!(f, "it needs {slots} places and the pool has {size}: it can never start"),
            Self::Behind { slots } => write!(f, "it is behind one that needs {slots} places at once, more than are free"),
            Self::NoNode { nodes: 0, .. } => f.write_str("the pool has no node: none is there that its selector matches"),
            Self::NoNode { nodes, why } => write!(f, "none of {} can take it: {why}", Count(*nodes)),
            Self::NodesFull { nodes, per_node } => {
                write!(f, "{} could take it, and each has its fill of {per_node} of this pool", Count(*nodes))
            }
            Self::StartRate { until } => {
                write!(f, "each node that could take it has started as many as it may; the next at {until}")
            }
            Self::Refused { why, until } => write!(f, "the API server refused: {why}; tried again at {until}"),
            Self::NotListed => f.write_str("pods and nodes are still being listed"),
            Self::ItsTurn { writes } => {
                write!(f, "it is its turn: it starts as soon as some of {writes} writes on their way are done")
            }
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("not ready"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::NotSelected => f.write_str("not selected by its node selector, its affinity or the pool"),
            Self::Taint { key } => write!(f, "tainted with {key}, which it does not tolerate"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Places(places) => write!(f, "{places}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// `5/1m`.
impl fmt::Display for StartRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.starts, Span(self.within))
    }
}

impl Order {
    /// For JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::FairShare => "fair_share",
        }
    }
}

/// The commonest reasons first: `3 not ready, 1 cordoned`.
pub(super) fn summary(unfit: &std::collections::BTreeMap<Unfit, u32>) -> String {
    let mut reasons: Vec<_> = unfit.iter().collect();
    reasons.sort_by_key(|(_, nodes)| std::cmp::Reverse(**nodes));
    let said: Vec<_> = reasons.iter().take(REASONS).map(|(why, nodes)| format!("{nodes} {why}")).collect();
    let more: u32 = reasons.iter().skip(REASONS).map(|(_, nodes)| **nodes).sum();
    if more > 0 { format!("{}, {more} for other reasons", said.join(", ")) } else { said.join(", ") }
}

struct Count(u32);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} node{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// In the largest unit that is exact.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let exact = |unit: u128| milliseconds > 0 && milliseconds.is_multiple_of(unit);
        let (number, unit) = match milliseconds {
            _ if exact(3_600_000) => (milliseconds / 3_600_000, "h"),
            _ if exact(60_000) => (milliseconds / 60_000, "m"),
            _ if exact(1000) => (milliseconds / 1000, "s"),
            _ => (milliseconds, "ms"),
        };
        write!(f, "{number}{unit}")
    }
}
