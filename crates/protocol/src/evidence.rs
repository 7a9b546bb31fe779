//! What the kernel of one node said of one pod.
//!
//! Evidence is a join-semilattice: every number is a counter or a watermark that only grows within its [`SegmentId`], every
//! list is a set with a key. Joining two pieces (`jobmeter_decide::join`) is commutative, associative and idempotent, so a
//! report may be lost, repeated or reordered and the books still come out the same.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ContainerKind, Method};

/// How many runs of containers one piece of evidence keeps; a join keeps the newest. What is cut away is in the pod's total.
pub const MAX_CONTAINERS: usize = 512;
/// How many processes and gaps one piece of evidence keeps; a join keeps the most expensive and the first.
pub const MAX_PROCESSES: usize = 32;
pub const MAX_GAPS: usize = 64;

/// Everything one agent knows of one pod, cumulative since it first saw it. Each report carries all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodEvidence {
    pub pod_uid: String,
    pub node: String,
    /// As the agent learned them from its watch or from the name of the pod's log directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    pub stage: Stage,
    /// One for each life of the pod's cgroup; the pod's total is their sum.
    pub segments: Vec<Segment>,
    /// Key: `container_id`. The newest [`MAX_CONTAINERS`] runs.
    pub containers: Vec<ContainerEvidence>,
    /// Key: `(pid, start_ticks)`. The most expensive ones only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessEvidence>,
    #[serde(default)]
    pub sampled: Sampled,
    /// What could not be seen, and why. Key: the whole value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// How far the pod's life has come, as the node sees it. Ordered: a later stage wins a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Running,
    /// Every container that was seen has ended; the sandbox may still be there.
    Ended,
    /// The pod's cgroup is gone (or its executor said so): nothing can be added.
    Final,
}

/// One life of a pod's cgroup. A reboot, or a kubelet that makes the cgroup anew, starts another one with its counters at 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    pub boot_id: String,
    /// Inode number of the pod's cgroup directory in the hierarchy that is watched; 0 where there is no cgroup.
    pub cgroup_inode: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub id: SegmentId,
    pub method: Method,
    pub first_seen: Timestamp,
    /// The whole pod: containers, sandbox, and what has ended already.
    pub reading: Reading,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerEvidence {
    pub container_id: String,
    /// Known once the API (or the local executor) has told which ID bears which name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContainerKind>,
    /// 0 for the first run of this container in this pod.
    #[serde(default)]
    pub attempt: u32,
    pub segment: SegmentId,
    pub method: Method,
    /// When its cgroup was made; `None` for one that was there before its agent.
    pub started: Option<Timestamp>,
    /// When its init process was seen to end, to the wake-up of the watcher.
    pub ended: Option<Timestamp>,
    /// Where the node itself waited for it (local executor), or saw the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    #[serde(default)]
    pub sampled: Sampled,
}

/// As `wait4(2)` gives it: one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExitStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// What the files of one cgroup said at one moment. `None`: the kernel has no such file here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuCounters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryCounters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_peak: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<IoCounters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PressureCounters>,
}

/// Nanoseconds. v1 `cpuacct.usage`, `cpuacct.usage_user`, `cpuacct.usage_sys`, `cpu.stat`; v2 `cpu.stat` (kept there in µs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuCounters {
    pub usage_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_periods: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periods: Option<u64>,
}

/// v1 `memory.max_usage_in_bytes`, `memory.oom_control`; v2 `memory.peak` (Linux 5.19), `memory.events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCounters {
    /// Watermark with page cache, kernel memory and tmpfs included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// v1 `memory.memsw.max_usage_in_bytes` is memory plus swap and is not reported here; v2 `memory.swap.peak` (Linux 6.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_peak_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoCounters {
    pub read_bytes: u64,
    pub written_bytes: u64,
}

/// `some` totals of v2 `*.pressure`, in microseconds as the kernel keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PressureCounters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_some_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_some_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_some_us: Option<u64>,
}

/// What was seen by looking from time to time. Each number is the greatest one seen: a lower bound of the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// How many samples stand behind the figures.
    pub samples: u64,
    /// Greatest anon + shmem of `memory.stat`, or the greatest sum of resident anonymous memory of the process tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon_shmem_peak_bytes: Option<u64>,
    /// Greatest high-water mark of a single process (`VmHWM`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_hwm_bytes: Option<u64>,
    /// Greatest memory usage seen, page cache included; only where the kernel has no watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_peak_bytes: Option<u64>,
}

/// One process of the pod as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEvidence {
    pub pid: i32,
    /// `starttime` of `/proc/<pid>/stat`, so that a reused pid is another process.
    pub start_ticks: u64,
    pub command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    pub cpu_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hwm_bytes: Option<u64>,
    pub started: Option<Timestamp>,
    /// When it was last seen alive: its figures are of that moment.
    pub last_seen: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
}

/// Something that could not be seen. A record with a gap that touches its totals is `partial`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "gap", rename_all = "snake_case")]
pub enum Gap {
    /// The container's own cgroup went before it could be read; the pod's total holds its share.
    ContainerMissed { container_id: String },
    /// The pod's cgroup went while nobody was watching; the last reading is from `last_reading`.
    PodMissed { last_reading: Option<Timestamp> },
    /// The node rebooted while the pod was running: what came after the last reading of that boot is lost.
    Rebooted { boot_id: String },
    /// A kernel file was there and could not be understood.
    Malformed { path: String, why: String },
    /// The kernel or the mounts lack what the figure needs.
    Unsupported { what: String },
}

/// A container that the local executor waited for. It goes to the agent, which keeps the books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerExit {
    pub pod_uid: String,
    pub container_id: String,
    pub name: String,
    pub kind: ContainerKind,
    pub attempt: u32,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub exit: ExitStatus,
    /// `wait4(2)` of the container's first process.
    pub user_ns: u64,
    pub system_ns: u64,
    /// `ru_maxrss`: of the largest single process, not of their sum. 0: no more than the process was born with by its fork.
    pub max_rss_bytes: u64,
}
