//! The coordinator from outside: its store on a disk, its API over HTTP on loopback, its watches against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod agents;
mod archive;
mod auth;
mod cluster;
mod crash;
mod encrypted;
mod engines;
mod fake_api;
mod harness;
mod leadership;
mod logs;
mod metrics;
mod node_runs;
mod objects;
mod operator_token;
mod people;
mod pool;
mod postgres;
mod process;
mod pushgateway;
mod query;
mod runs_api;
mod runs_store;
mod same;
mod shared;
mod store;
mod webhook;
