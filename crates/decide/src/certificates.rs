//! When the webhook's certificates are made anew.
//!
//! In: what the Secret holds, as far as it can be read, and the time. Out: keep it, or what to make and why. Owner: the leader's
//! certificate task; the certificates themselves are made elsewhere.
//!
//! The authority outlives many leaves, so that a new leaf is trusted at once by whoever trusted the last one. A new authority is
//! the rare case: then callers are told of it before the first leaf of it is served, and of the old one as long as it is valid.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Of the authority, which signs leaves.
pub const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
/// Of what the server shows.
pub const LEAF_LIFE: Duration = DAY.saturating_mul(365);
/// How far the clock of whoever checks may be behind ours.
pub const BACKDATED: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// What the Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// Something that cannot be served: unreadable, of other names, of a key that is not its own. A sentence why.
    Unusable {
        why: String,
    },
    /// A leaf that its authority signed, for the names that are wanted.
    Pair {
        authority: Validity,
        leaf: Validity,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done before `until`.
    Keep { until: Timestamp },
    /// A leaf of the authority that is there.
    Leaf { why: Why },
    /// An authority and a leaf of it; the one that is there, if any, stays trusted while it is valid.
    Authority { why: Why },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Missing,
    Unusable {
        why: String,
    },
    /// Two thirds of its life are over.
    Aged {
        until: Timestamp,
    },
    /// It is valid from later on: this clock was wrong, or the other one.
    FromTheFuture {
        from: Timestamp,
    },
}

pub fn decide(found: &Found, now: Timestamp) -> Step {
    let (authority, leaf) = match found {
        Found::Nothing => return Step::Authority { why: Why::Missing },
        Found::Unusable { why } => return Step::Authority { why: Why::Unusable { why: why.clone() } },
        Found::Pair { authority, leaf } => (authority, leaf),
    };
    if let Some(why) = authority.over(now) {
        return Step::Authority { why };
    }
    if let Some(why) = leaf.over(now) {
        return Step::Leaf { why };
    }
    Step::Keep { until: authority.renewal().min(leaf.renewal()) }
}

impl Validity {
    /// From a while ago, for clocks that are behind.
    pub fn starting(now: Timestamp, life: Duration) -> Self {
        Self { from: now.saturating_sub(BACKDATED).unwrap_or(now), until: now.saturating_add(life).unwrap_or(Timestamp::MAX) }
    }

    /// After two thirds of its life.
    pub fn renewal(&self) -> Timestamp {
        let life = self.until.as_second().saturating_sub(self.from.as_second()).max(0);
        Timestamp::from_second(self.from.as_second().saturating_add(life / 3 * 2)).unwrap_or(self.from)
    }

    fn over(&self, now: Timestamp) -> Option<Why> {
        if now < self.from {
            return Some(Why::FromTheFuture { from: self.from });
        }
        (now >= self.renewal()).then_some(Why::Aged { until: self.until })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none yet"),
            Self::Unusable { why } => f.write_str(why),
            Self::Aged { until } => write!(f, "two thirds of its life are over, it ends at {until}"),
            Self::FromTheFuture { from } => {
                write!(f, "it is valid from {from} on, which is later than now: a clock is or was wrong")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + days * 86_400).unwrap()
    }

    fn pair(authority: (i64, i64), leaf: (i64, i64)) -> Found {
        let validity = |(from, until)| Validity { from: at(from), until: at(until) };
        Found::Pair { authority: validity(authority), leaf: validity(leaf) }
    }

    #[test]
    fn what_is_young_is_kept_until_the_first_of_the_two_has_lived_two_thirds() {
        assert_eq!(decide(&pair((0, 3000), (0, 300)), at(199)), Step::Keep { until: at(200) });
        assert_eq!(decide(&pair((0, 3000), (1900, 2200)), at(1901)), Step::Keep { until: at(2000) });
    }

    #[test]
    fn a_leaf_is_renewed_by_the_authority_that_is_trusted_already() {
        let step = decide(&pair((0, 3000), (0, 300)), at(200));
        assert_eq!(step, Step::Leaf { why: Why::Aged { until: at(300) } });
    }

    #[test]
    fn an_authority_goes_while_every_leaf_of_it_can_still_live_its_whole_life() {
        let step = decide(&pair((0, 3000), (1900, 2200)), at(2000));
        assert_eq!(step, Step::Authority { why: Why::Aged { until: at(3000) } });
        let left = AUTHORITY_LIFE - AUTHORITY_LIFE * 2 / 3;
        assert!(left > LEAF_LIFE, "{left:?}");
    }

    #[test]
    fn nothing_and_what_cannot_be_served_are_replaced_with_the_reason() {
        assert_eq!(decide(&Found::Nothing, at(0)), Step::Authority { why: Why::Missing });
        let why = "tls.key is not the key of tls.crt".to_owned();
        assert_eq!(
            decide(&Found::Unusable { why: why.clone() }, at(0)),
            Step::Authority { why: Why::Unusable { why: why.clone() } }
        );
        assert_eq!(Why::Unusable { why: why.clone() }.to_string(), why);
    }

    #[test]
    fn a_leaf_from_the_future_is_replaced_because_nobody_would_accept_it() {
        assert_eq!(decide(&pair((0, 3000), (10, 300)), at(9)), Step::Leaf { why: Why::FromTheFuture { from: at(10) } });
    }

    #[test]
    fn what_was_made_now_is_kept_and_clocks_that_are_behind_accept_it() {
        let (authority, leaf) = (Validity::starting(at(0), AUTHORITY_LIFE), Validity::starting(at(0), LEAF_LIFE));
        assert!(matches!(decide(&Found::Pair { authority, leaf }, at(0)), Step::Keep { .. }));
        assert!(leaf.from < at(0) && leaf.until == at(365));
    }
}
