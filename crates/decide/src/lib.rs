//! Every decision of Jobmeter: `(state, observation, now) → steps`. No I/O, no clock, no environment, no randomness.

pub mod advice;
pub mod books;
pub mod certificates;
pub mod chase;
#[cfg(any(test, feature = "example"))]
pub mod example;
pub mod gating;
pub mod job_view;
pub mod join;
pub mod leadership;
pub mod local;
pub mod logs;
pub mod metered;
pub mod pool;
pub mod record;
pub mod runs;
pub mod sampling;
pub mod selector;
pub mod shipping;
