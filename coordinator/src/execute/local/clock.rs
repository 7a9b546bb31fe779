//! Wall-clock time that never jumps: read once, then carried on by the monotonic clock, so that an adjustment of the
//! machine's clock neither moves a deadline nor bends an elapsed time.

use std::time::Instant;

use jiff::Timestamp;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { wall: Timestamp::now(), steady: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.wall.checked_add(self.steady.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// When that will be on the monotonic clock; now where it has been.
    pub(super) fn instant(&self, at: Timestamp) -> Instant {
        let wait = std::time::Duration::try_from(at.duration_since(self.wall)).unwrap_or_default();
        self.steady.checked_add(wait).unwrap_or_else(|| self.steady + std::time::Duration::from_secs(86_400))
    }
}
