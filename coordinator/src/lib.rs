//! One per cluster: knows which pods are jobs, takes the agents' reports, keeps the records, answers people.
//!
//! Inputs: the cluster ([`PodSource`]), the agents (`POST /v1/reports`, heartbeats). Outputs: records and jobs over `/v1`,
//! `/metrics`. Everything here is also a library, so that `jobmeter run` starts it in its own process.
//!
//! ```text
//! API server or local executor ─▶ world ─┐
//!                                         ├─▶ store ─▶ api, metrics, watchers
//! agents ─▶ api ─▶ auth ─▶ ingest ────────┤
//!             └──▶ nodes ─▶ chase ────────┘
//! ```

pub mod api;
pub mod archive;
pub mod auth;
pub mod callbacks;
pub mod chase;
pub mod config;
pub mod execute;
pub mod handle;
pub mod ingest;
pub mod leadership;
pub mod logs;
pub mod metrics;
pub mod nodes;
pub mod objects;
pub mod pool;
mod process;
pub mod pushgateway;
pub mod runs;
pub mod start;
pub mod store;
mod upkeep;
pub mod webhook;
pub mod world;

pub use config::CoordinatorConfig;
pub use handle::{CoordinatorHandle, HeartbeatError};
pub use ingest::IngestError;
pub use process::main;
pub use start::{StartError, start};
pub use store::{Store, StoreError};
pub use world::{LocalEvent, PodSource};
