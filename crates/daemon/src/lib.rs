//! What every process of ours does the same way: own its tasks, exit with a meaning, read its configuration, serve HTTP,
//! answer the admin endpoints, log, and account for itself. Depends on no other crate of ours.

pub mod admin;
pub mod config;
pub mod error;
pub mod exit;
pub mod http;
pub mod logging;
pub mod metric;
pub mod process_metrics;
pub mod supervise;
pub mod token;
