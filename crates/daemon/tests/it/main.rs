//! What can only be seen from outside: real sockets, real signals, real exit codes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test helper fails its test by panicking")]

mod http;
mod process;
