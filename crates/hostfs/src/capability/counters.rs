//! Which counters the kernel keeps, found by looking for their files in any cgroup that has them.
//!
//! The root of a hierarchy lacks most of them (`memory.peak`, `pids.peak`), so the search goes below it.

use std::path::{Path, PathBuf};

use jobmeter_protocol::Capability;

use super::{active, unsupported};
use crate::cgroup::{Layout, Version, read::subdirectories};

/// How many cgroups are looked into before a file is taken to be missing.
const MOST_LOOKED_INTO: usize = 200;

struct Counter {
    name: &'static str,
    file_v1: Option<(&'static str, Pick)>,
    file_v2: &'static str,
    found: &'static str,
    missing: &'static str,
}

type Pick = fn(&Layout) -> Option<&PathBuf>;

const COUNTERS: [Counter; 8] = [
    Counter {
        name: "cgroup_cpu",
        file_v1: Some(("cpuacct.usage", |layout| layout.controllers().cpuacct.as_ref())),
        file_v2: "cpu.stat",
        found: "CPU time of every pod, exact",
        missing: "CPU time comes from samples of processes",
    },
    Counter {
        name: "cpu_user_system",
        file_v1: Some(("cpuacct.usage_user", |layout| layout.controllers().cpuacct.as_ref())),
        file_v2: "cpu.stat",
        found: "user and system time apart (cgroup v1 counts them by the tick, so their sum is near the total, not equal)",
        missing: "CPU time is not told apart into user and system",
    },
    Counter {
        name: "memory_peak",
        file_v1: Some(("memory.max_usage_in_bytes", |layout| layout.controllers().memory.as_ref())),
        file_v2: "memory.peak",
        found: "the kernel's own watermark",
        missing: "needs Linux 5.19 and the memory controller; peaks are sampled, which misses short ones",
    },
    Counter {
        name: "swap_peak",
        file_v1: None,
        file_v2: "memory.swap.peak",
        found: "watermark of swap",
        missing: "needs cgroup v2 and Linux 6.5; no figure for swap",
    },
    Counter {
        name: "oom_events",
        file_v1: Some(("memory.oom_control", |layout| layout.controllers().memory.as_ref())),
        file_v2: "memory.events",
        found: "OOM kills are counted by the kernel",
        missing: "an OOM kill is known only if the API says so",
    },
    Counter {
        name: "pids_peak",
        file_v1: Some(("pids.peak", |layout| layout.controllers().pids.as_ref())),
        file_v2: "pids.peak",
        found: "greatest number of processes and threads",
        missing: "needs the pids controller and Linux 6.1; no such figure",
    },
    Counter {
        name: "io_bytes",
        file_v1: Some(("blkio.throttle.io_service_bytes_recursive", |layout| layout.controllers().blkio.as_ref())),
        file_v2: "io.stat",
        found: "bytes read from and written to devices",
        missing: "needs the io controller; no such figure",
    },
    Counter {
        name: "pressure",
        file_v1: None,
        file_v2: "cpu.pressure",
        found: "time spent waiting for CPU, memory and I/O",
        missing: "needs cgroup v2 and a kernel with PSI; no such figure",
    },
];

pub(super) fn probe(layout: &Layout) -> Vec<Capability> {
    COUNTERS.iter().map(|counter| counter.probe(layout)).collect()
}

impl Counter {
    fn probe(&self, layout: &Layout) -> Capability {
        let v1 = layout.version() != Version::V2;
        let (mount, file) = match self.file_v1 {
            Some((file, mount)) if v1 => (mount(layout).map(PathBuf::as_path), file),
            _ => (layout.unified(), self.file_v2),
        };
        match mount.is_some_and(|mount| is_anywhere(mount, file)) {
            true => active(self.name, format!("{file}: {}", self.found)),
            false => unsupported(self.name, format!("no {file}: {}", self.missing)),
        }
    }
}

/// Breadth first: what is made for pods and services lies near the top.
fn is_anywhere(mount: &Path, file: &str) -> bool {
    let mut level = vec![mount.to_owned()];
    let mut looked_into = 0;
    while looked_into < MOST_LOOKED_INTO && !level.is_empty() {
        let mut next = Vec::new();
        for directory in level {
            if directory.join(file).exists() {
                return true;
            }
            looked_into += 1;
            // What cannot be listed is passed by.
            next.extend(subdirectories(&directory).unwrap_or_default().into_iter().map(|(_, name)| directory.join(name)));
        }
        level = next;
    }
    false
}
