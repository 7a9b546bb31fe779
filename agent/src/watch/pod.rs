//! What the thread knows of a pod and of each of its containers. State only; what happens to it is in the files beside.

use std::{os::fd::OwnedFd, path::PathBuf};

use jiff::Timestamp;
use jobmeter_hostfs::cgroup::{Events, Held, PodPlace};
use jobmeter_protocol::{MemoryCounters, Reading, SegmentId};
use nix::sys::inotify::WatchDescriptor;

use super::SeenBy;

/// Of a container, for life: never used twice, so that a late timer or descriptor finds nobody.
pub(super) type Key = u64;

#[derive(Debug)]
pub(super) struct Pod {
    pub(super) place: PodPlace,
    pub(super) segment: SegmentId,
    /// `None`: not a job, only its directory is known.
    pub(super) watch: Option<WatchDescriptor>,
    /// It is to be followed, and its directory could not be watched: watches may have run out.
    pub(super) unwatched: bool,
    pub(super) containers: Vec<Key>,
    pub(super) next_order: u32,
    /// The last good reading of the pod itself.
    pub(super) last: Option<Reading>,
    /// OOM kills of containers that are gone: v1 does not add them up.
    pub(super) oom_kills_of_the_gone: u64,
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) pod_uid: String,
    pub(super) container_id: String,
    pub(super) order: u32,
    pub(super) path: PathBuf,
    pub(super) held: Held,
    pub(super) life: Life,
    pub(super) followed: Option<Followed>,
    pub(super) events: Option<Events>,
    /// Read when it seemed to end: the truth if its cgroup goes before it can be read again.
    pub(super) candidate: Option<Reading>,
    /// What the candidate was read on.
    pub(super) caught_by: Option<SeenBy>,
    /// Attempts to find its init process.
    pub(super) tries: u32,
    /// Last seen, for the sum over the pod on v1.
    pub(super) oom_kills: u64,
    /// It was there before the watcher looked.
    pub(super) late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// v2 says that it has emptied, its init has not been reported yet.
    Emptied {
        at: Timestamp,
    },
    /// It has ended; the reading waits for the dying process to be switched out for the last time.
    Settling {
        at: Timestamp,
        seen_by: SeenBy,
    },
    /// Reported; its directory is still there.
    Reported,
}

/// The process whose end is waited for.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) pidfd: OwnedFd,
    /// Init of its PID namespace: when it ends, all are dead.
    pub(super) init: bool,
}

impl Container {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.life, Life::Settling { .. } | Life::Reported)
    }
}

/// The newer reading, with the older one's figures where a file has gone in between.
pub(super) fn merge(older: Option<Reading>, newer: Option<Reading>) -> Option<Reading> {
    let (older, newer) = match (older, newer) {
        (Some(older), Some(newer)) => (older, newer),
        (older, newer) => return newer.or(older),
    };
    let memory = match (older.memory, newer.memory) {
        (Some(old), Some(new)) => Some(MemoryCounters {
            peak_bytes: new.peak_bytes.or(old.peak_bytes),
            swap_peak_bytes: new.swap_peak_bytes.or(old.swap_peak_bytes),
            oom_kills: new.oom_kills.or(old.oom_kills),
        }),
        (old, new) => new.or(old),
    };
    Some(Reading {
        at: newer.at,
        cpu: newer.cpu.or(older.cpu),
        memory,
        pids_peak: newer.pids_peak.or(older.pids_peak),
        io: newer.io.or(older.io),
        pressure: newer.pressure.or(older.pressure),
    })
}

pub(super) fn oom_kills(reading: Option<&Reading>) -> u64 {
    reading.and_then(|reading| reading.memory?.oom_kills).unwrap_or(0)
}
