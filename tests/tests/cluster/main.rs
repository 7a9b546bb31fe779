//! Jobmeter on a real cluster: a control plane, two nodes on this machine's kernel, one node on pure cgroup v2.
//!
//! Run with `--test-threads=1` (as `tests/run` does): a crash test must not disturb a count.

mod crash;
mod hundred;
mod jobs;
mod logs;
mod pools;
mod runs;
mod shapes;
mod surface;
mod v2;
