//! Who may write: of several coordinators one leads, by a Lease.
//!
//! Inputs: the Lease ([`crate::execute::lease`]), this process's monotonic clock; every decision is [`jobmeter_decide::leadership`].
//! Outputs: [`Standing`] for whoever asks who leads, and the [`Authority`] of the one that does. Owner: one task, which ends with
//! an error, and the process with it, when leadership is lost; the kubelet starts it again as a follower.

mod authority;
mod elect;
mod metrics;
mod standing;

pub use authority::Authority;
pub use elect::{Candidate, Leadership, LostLeadership, start};
pub use metrics::LeadershipMetrics;
pub use standing::{Leader, Standing};
