//! The kit of the cluster tests: the rig as tests see it, an independent reader of the kernel's figures, bounded waiting.
//!
//! The cluster itself is brought up by `tests/rig`; this crate only finds it in the environment (`tests/rig env`).

pub mod api;
pub mod babble;
pub mod cluster;
pub mod coordinator;
pub mod installation;
pub mod kept;
pub mod kwok;
pub mod object_store;
pub mod pools;
pub mod postgres;
pub mod processes;
pub mod prometheus;
pub mod runs;
pub mod server;
pub mod truth;
pub mod wait;

pub use cluster::{Cluster, Namespace, or_skip};
pub use installation::Installation;
pub use kwok::FakeNodes;
pub use object_store::ObjectStore;
pub use postgres::Postgres;
pub use prometheus::Prometheus;
