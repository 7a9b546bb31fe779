//! Reads one node: cgroup v1, v2 and hybrid, `/proc`, the pod log directory. The only room that names their paths.
//!
//! Every reader takes a [`HostRoot`] (or a path below one), every parser takes bytes. A missing kernel file is `None`, a
//! malformed one is an error with its path, and neither stops another source. Nothing here decides anything.
//!
//! ```text
//! HostRoot ─▶ cgroup::Layout ─▶ cgroup::Reader / Held ─▶ protocol::Reading
//!        └──▶ process::Scanner, podlog, machine, capability::probe, own_tree::OwnTree, lease
//! ```

pub mod capability;
pub mod cgroup;
pub mod error;
mod file;
pub mod lease;
pub mod machine;
pub mod own_tree;
pub mod pidfd;
pub mod podlog;
pub mod process;
pub mod realtime;
pub mod root;
pub mod self_usage;

pub use error::ReadError;
pub use root::HostRoot;
