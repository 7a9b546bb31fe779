//! The agent: one on each node. It sees what the kernel says of every job pod, keeps the books, and reports them.
//!
//! ```text
//! watch (kernel thread) ──┐
//! pods (API or executor) ─┼─▶ keeper ─▶ journal (disk)
//! sampler ────────────────┘     │ ▲
//!                               ▼ │ verdicts, what is wanted
//!                             uplink ─▶ coordinator
//! ```
//! Decisions are `jobmeter_decide::books` and `::sampling`; the agent decides nothing about the cluster.

mod args;
pub mod config;
mod guard;
pub mod journal;
pub mod keeper;
pub mod logs;
pub mod metrics;
pub mod pods;
pub mod sampler;
pub mod start;
pub mod uplink;
pub mod watch;

pub use args::main;
pub use config::AgentConfig;
pub use keeper::FinalError;
pub use pods::PodEvent;
pub use start::{AgentHandle, StartError, start};
pub use uplink::{LogUplink, Remedy, Uplink, UplinkError};
