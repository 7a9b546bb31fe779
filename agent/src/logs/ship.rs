//! Ships sealed logs to the object store.
//!
//! In: [`SealedLog`]s. Out: exactly one [`Outcome`] for each, however often it had to be tried. What is not done when the
//! process stops has no outcome: capture offers it again after the restart, and what was uploaded by then is not sent again
//! ([`progress`]).
//!
//! ```text
//! sealed ─▶ run ─▶ attempt: ticket ─▶ encode (blocking thread) ─parts─▶ upload ─▶ complete ─▶ outcome
//!            │                         pieces ─▶ LogEncoder ─▶ cutter      └── put: target, bytes, ETag
//!            └── which one, and when: `jobmeter_decide::shipping`
//! ```
//! Memory: [`buffers`] bound what is under way; a log that waits holds none.

mod attempt;
mod buffers;
mod encode;
mod metrics;
mod pieces;
mod progress;
mod put;
mod route;
mod run;
mod times;
mod trouble;
mod upload;

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jobmeter_decide::shipping::Limits;

use crate::uplink::LogUplink;

pub use metrics::ShipMetrics;

pub struct Shipper {
    pub uplink: Arc<dyn LogUplink>,
    /// As the API server knows it.
    pub node: String,
    pub metrics: ShipMetrics,
    pub options: ShipOptions,
}

#[derive(Clone, Debug)]
pub struct ShipOptions {
    pub limits: Limits,
    /// Of the large log; one more is being filled.
    pub parts_in_flight: usize,
    /// Of a log that failed, and of all while the store is away: the first wait and the longest.
    pub waits: (Duration, Duration),
    /// Of one piece, before the whole attempt is given up: the first wait, and how many.
    pub piece_waits: (Duration, usize),
    /// A piece waits no longer than this within its attempt: it holds memory that others need.
    pub piece_patience: Duration,
    /// Who asks for more is not believed.
    pub longest_retry_after: Duration,
    /// While uploads pass through the coordinator: how often one log tries the store itself.
    pub direct_again: Duration,
    /// How much of what was uploaded a crash may make us forget.
    pub progress_every: Duration,
}

const MIB: u64 = 1024 * 1024;

impl Default for ShipOptions {
    fn default() -> Self {
        Self {
            limits: Limits { small_bytes: 16 * MIB, small_at_once: 4, small_total: 16 * MIB, known: 4_096 },
            parts_in_flight: 2,
            waits: (Duration::from_millis(500), Duration::from_secs(60)),
            piece_waits: (Duration::from_millis(200), 4),
            piece_patience: Duration::from_secs(5),
            longest_retry_after: Duration::from_secs(300),
            direct_again: Duration::from_secs(60),
            progress_every: Duration::from_secs(1),
        }
    }
}

impl ShipOptions {
    fn backoff(&self) -> ExponentialBackoff {
        let (first, longest) = self.waits;
        ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).with_jitter().without_max_times().build()
    }

    fn piece_backoff(&self) -> ExponentialBackoff {
        let (first, times) = self.piece_waits;
        ExponentialBuilder::default().with_min_delay(first).with_max_times(times).with_jitter().build()
    }
}
