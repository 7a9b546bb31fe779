//! Whole logs, against what their container wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are not in a #[test] themselves")]

mod captured;
mod kit;
mod odd;
mod truth;
mod views;
