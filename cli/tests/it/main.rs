//! Tests of `jobmeter` from the outside: what it prints, whom it asks, how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod ask;
mod ends;
mod example;
mod fake;
mod golden;
mod logs;
mod pools;
mod proxy;
mod run;
mod runs;
