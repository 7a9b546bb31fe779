//! The agent against a real kernel.

// Helpers of tests are not in a #[test] themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod cgroups;
mod cluster;
mod guard;
mod logs;
mod ship;
mod standalone;
mod uplink;
mod watch;
mod whole;
