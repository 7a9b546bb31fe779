//! The coordinator from outside: its store on a disk, its API over HTTP on loopback, its watches against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod agents;
mod auth;
mod cluster;
mod crash;
mod fake_api;
mod harness;
mod metrics;
mod people;
mod process;
mod query;
mod store;
