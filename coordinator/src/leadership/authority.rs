//! The right to write, which ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The right to write to the cluster and to the store; cheap to clone. Ask [`Self::holds`] right before every write.
#[derive(Clone, Debug)]
pub struct Authority {
    epoch: u64,
    /// `None`: it never ends.
    term: Option<Arc<Term>>,
}

/// Until when, as nanoseconds after `began`: whoever asks compares it with the clock, so it ends also for a process that was
/// stopped and in which nothing ran that could have said so.
#[derive(Debug)]
struct Term {
    began: Instant,
    until: AtomicU64,
}

impl Authority {
    /// Where there is nobody else: one machine.
    pub fn alone() -> Self {
        Self { epoch: 0, term: None }
    }

    /// `until` after `began`.
    pub(super) fn of(epoch: u64, began: Instant, until: Duration) -> Self {
        Self { epoch, term: Some(Arc::new(Term { began, until: AtomicU64::new(nanoseconds(until)) })) }
    }

    /// `leaseTransitions` of the Lease; grows with every change of the leader.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// By this process's own monotonic clock the Lease is still ours.
    pub fn holds(&self) -> bool {
        self.term.as_ref().is_none_or(|term| nanoseconds(term.began.elapsed()) < term.until.load(Ordering::Acquire))
    }

    /// A renewal; one that comes too late changes nothing.
    pub(super) fn extend(&self, until: Duration) {
        if let Some(term) = &self.term
            && self.holds()
        {
            term.until.fetch_max(nanoseconds(until), Ordering::AcqRel);
        }
    }

    /// One that was lost.
    #[cfg(test)]
    pub(crate) fn lapsed(epoch: u64) -> Self {
        Self::of(epoch, Instant::now(), Duration::ZERO)
    }

    pub(super) fn revoke(&self) {
        if let Some(term) = &self.term {
            term.until.store(0, Ordering::Release);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_its_deadline_though_no_task_ran() {
        let authority = Authority::of(7, Instant::now(), DEADLINE);
        let writer = authority.clone();
        tokio::time::advance(DEADLINE - Duration::from_millis(1)).await;
        assert!(writer.holds());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!writer.holds());
        authority.extend(2 * DEADLINE);
        assert!(!writer.holds(), "a renewal that comes too late revives nothing");
        assert_eq!(writer.epoch(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_prolongs_it_and_giving_it_back_ends_it_at_once() {
        let authority = Authority::of(7, Instant::now(), DEADLINE);
        authority.extend(2 * DEADLINE);
        tokio::time::advance(DEADLINE + Duration::from_secs(1)).await;
        assert!(authority.holds());
        authority.revoke();
        assert!(!authority.clone().holds());
        assert!(Authority::alone().holds());
    }
}
