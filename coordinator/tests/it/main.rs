//! The coordinator from outside: its store on a disk, its API over HTTP on loopback, its watches against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod agents;
mod archive;
mod auth;
mod cluster;
mod crash;
mod fake_api;
mod harness;
mod logs;
mod metrics;
mod objects;
mod people;
mod process;
mod pushgateway;
mod query;
mod store;
