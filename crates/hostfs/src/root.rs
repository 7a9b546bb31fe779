//! Where the host's file systems are: `/` on a machine, `/host` (or separate mounts) in the agent's pod, a folder in a test.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoot {
    /// `/proc` of the host's PID namespace.
    pub proc: PathBuf,
    /// Where the cgroup hierarchies are mounted: `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    pub sys: PathBuf,
    /// Where the kubelet puts the logs of pods: `/var/log/pods`.
    pub pod_logs: PathBuf,
    /// Where logs are kept until the store has them, on the same mount: `/var/log/jobmeter/spool`.
    pub spool: PathBuf,
}

impl HostRoot {
    /// Everything at its usual place below `prefix`.
    pub fn at(prefix: impl AsRef<Path>) -> Self {
        let prefix = prefix.as_ref();
        Self {
            proc: prefix.join("proc"),
            cgroup: prefix.join("sys/fs/cgroup"),
            sys: prefix.join("sys"),
            pod_logs: prefix.join("var/log/pods"),
            spool: prefix.join("var/log/jobmeter/spool"),
        }
    }

    /// The machine as this process sees it.
    pub fn local() -> Self {
        Self::at("/")
    }
}

impl Default for HostRoot {
    fn default() -> Self {
        Self::local()
    }
}
