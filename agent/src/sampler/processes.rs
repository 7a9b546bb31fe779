//! Processes of a pod: all are read, the most expensive are kept. Blocking.

use std::{collections::HashMap, error::Error};

use jiff::{SignedDuration, Timestamp};
use jobmeter_decide::books::ProcessScan;
use jobmeter_hostfs::{
    HostRoot, ReadError, machine,
    process::{ProcessSample, Scanner},
};
use jobmeter_protocol::ProcessEvidence;

use super::SamplerOptions;

/// Longest command that is kept.
const COMMAND_BYTES: usize = 200;

pub(super) struct Processes {
    scanner: Scanner,
    booted: Option<Timestamp>,
    kept: usize,
    command_lines: bool,
}

/// What one scan saw.
pub(super) struct Found {
    pub(super) scan: ProcessScan,
    /// Sums over all of them.
    pub(super) cpu_ns: u64,
    pub(super) anon_shmem_bytes: u64,
}

impl Processes {
    pub(super) fn new(host: &HostRoot, options: &SamplerOptions) -> Self {
        let booted = machine::boot_time(host)
            .inspect_err(|err| tracing::warn!(error = err as &dyn Error, "start times of processes are not known"))
            .ok();
        Self { scanner: Scanner::new(host), booted, kept: options.processes, command_lines: options.command_lines }
    }

    pub(super) fn descendants(&mut self, root: i32, into: &mut Vec<i32>) -> Result<(), ReadError> {
        self.scanner.descendants(root, into)
    }

    /// A process that cannot be read is left out: most often it has ended since it was listed.
    pub(super) fn look(&mut self, pids: &HashMap<i32, Option<String>>, at: Timestamp) -> Found {
        let mut seen: Vec<(ProcessSample, Option<&String>)> = Vec::with_capacity(pids.len());
        for (pid, container_id) in pids {
            match self.scanner.read(*pid) {
                Ok(Some(process)) => seen.push((process, container_id.as_ref())),
                Ok(None) => {}
                Err(err) => tracing::debug!(pid, error = &err as &dyn Error, "failed to read a process"),
            }
        }
        let sum = |pick: fn(&ProcessSample) -> u64| seen.iter().map(|(process, _)| pick(process)).fold(0, u64::saturating_add);
        let (cpu_ns, anon_shmem_bytes) = (sum(|p| p.cpu_ns), sum(|p| p.anon_shmem_bytes.unwrap_or(0)));
        let count = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        keep_most_expensive(&mut seen, self.kept);
        let most_expensive = seen.into_iter().map(|(process, container)| self.evidence(process, container, at)).collect();
        Found { scan: ProcessScan { count, most_expensive }, cpu_ns, anon_shmem_bytes }
    }

    fn evidence(&mut self, process: ProcessSample, container_id: Option<&String>, at: Timestamp) -> ProcessEvidence {
        let line = if self.command_lines { self.scanner.command_line(process.pid, COMMAND_BYTES).ok().flatten() } else { None };
        ProcessEvidence {
            pid: process.pid,
            start_ticks: process.start_ticks,
            command: line.unwrap_or(process.name),
            container_id: container_id.cloned(),
            cpu_ns: process.cpu_ns,
            hwm_bytes: process.hwm_bytes,
            started: self.booted.and_then(|booted| started(booted, process.start_ticks)),
            last_seen: at,
            exit: None,
        }
    }
}

/// By CPU; the one with the highest high-water mark stays too, for it bounds the pod's memory.
fn keep_most_expensive(seen: &mut Vec<(ProcessSample, Option<&String>)>, kept: usize) {
    seen.sort_by_key(|(process, _)| (std::cmp::Reverse(process.cpu_ns), process.pid));
    let largest = seen.iter().enumerate().max_by_key(|(_, (process, _))| process.hwm_bytes).map(|(n, _)| n);
    if let Some(largest) = largest
        && largest >= kept
        && kept > 0
    {
        seen.swap(largest, kept - 1);
    }
    seen.truncate(kept.max(1));
}

fn started(booted: Timestamp, start_ticks: u64) -> Option<Timestamp> {
    let milliseconds = start_ticks.checked_mul(1_000)?.checked_div(machine::clock_ticks())?;
    booted.checked_add(SignedDuration::from_millis(i64::try_from(milliseconds).ok()?)).ok()
}
