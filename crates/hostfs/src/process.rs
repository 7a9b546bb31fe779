//! Processes: CPU and memory of each one, and which of them are in a cgroup or below a parent.
//!
//! `/proc/<pid>/stat` goes through `procfs-core`. `status` does not: its parser makes a map of all sixty lines, four times the
//! cost of finding the three that are needed (`benches/readers.rs`).

use std::{
    collections::HashMap,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use procfs_core::process::Stat;

use crate::{
    HostRoot, ReadError,
    cgroup::{parse, read::subdirectories},
    error::Malformed,
    file, machine,
};

pub mod status;

use status::{ProcessMemory, stat};

/// One process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSample {
    pub pid: i32,
    pub parent: i32,
    /// With `pid` the identity of the process: a reused pid has another one.
    pub start_ticks: u64,
    /// `comm`, at most 15 bytes.
    pub name: String,
    pub cpu_ns: u64,
    /// `VmHWM`; `None` for kernel threads and zombies.
    pub hwm_bytes: Option<u64>,
    /// `RssAnon` + `RssShmem`: resident now, without page cache.
    pub anon_shmem_bytes: Option<u64>,
}

/// Reads processes into buffers that it keeps: one for each thread that scans.
#[derive(Debug)]
pub struct Scanner {
    proc: PathBuf,
    tick_ns: u64,
    path: PathBuf,
    name: String,
    buffer: Vec<u8>,
    /// By pid. Memory cannot have grown without a page fault, and `status` costs more than all the rest together.
    seen: HashMap<i32, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    start_ticks: u64,
    page_faults: u64,
    memory: ProcessMemory,
}

/// What a process of ours is called that is to become a job's, from its birth to its exec: its memory is still our own.
pub const FORKER_COMM: &str = "jobmeter:fork";

/// More than a node's processes: what has ended goes when it is reached.
const MOST_SEEN: usize = 8192;

impl Scanner {
    pub fn new(host: &HostRoot) -> Self {
        let tick_ns = 1_000_000_000 / machine::clock_ticks().max(1);
        let (path, name, buffer) = (PathBuf::new(), String::new(), Vec::new());
        Self { proc: host.proc.clone(), tick_ns, path, name, buffer, seen: HashMap::new() }
    }

    /// `None`: no such process (any more), or one that has not become what it is to be ([`FORKER_COMM`]).
    pub fn read(&mut self, pid: i32) -> Result<Option<ProcessSample>, ReadError> {
        let Some(stat) = self.parse(pid, "stat", stat)?.filter(|stat| stat.comm != FORKER_COMM) else { return Ok(None) };
        let memory = self.memory(pid, &stat)?;
        let mut cpu_ns = stat.utime.saturating_add(stat.stime).saturating_mul(self.tick_ns);
        if stat.num_threads == 1 {
            // `stat` counts whole ticks for user and system each. `schedstat` counts nanoseconds, but of the first thread
            // alone: the greater of the two is never too much.
            cpu_ns = cpu_ns.max(self.parse(pid, "schedstat", status::on_cpu_ns)?.unwrap_or(0));
        }
        Ok(Some(ProcessSample {
            pid,
            parent: stat.ppid,
            start_ticks: stat.starttime,
            name: stat.comm,
            cpu_ns,
            hwm_bytes: memory.hwm_bytes,
            anon_shmem_bytes: memory.anon_shmem_bytes,
        }))
    }

    fn memory(&mut self, pid: i32, stat: &Stat) -> Result<ProcessMemory, ReadError> {
        let (start_ticks, page_faults) = (stat.starttime, stat.minflt.saturating_add(stat.majflt));
        match self.seen.get(&pid) {
            // A zombie keeps its faults and loses its memory.
            Some(seen) if seen.start_ticks == start_ticks && seen.page_faults == page_faults && stat.rss > 0 => Ok(seen.memory),
            _ => {
                let memory = self.parse(pid, "status", status::memory)?.unwrap_or_default();
                if self.seen.len() >= MOST_SEEN {
                    self.seen.clear();
                }
                self.seen.insert(pid, Seen { start_ticks, page_faults, memory });
                Ok(memory)
            }
        }
    }

    /// The arguments joined by spaces, cut to `limit` bytes at a character; `None` for kernel threads and the dead.
    pub fn command_line(&mut self, pid: i32, limit: usize) -> Result<Option<String>, ReadError> {
        let line = self.parse(pid, "cmdline", |bytes| Ok(status::command_line(bytes, limit)))?;
        Ok(line.filter(|line| !line.is_empty()))
    }

    /// All processes below `root` in the tree of parents, itself included if it is alive.
    pub fn descendants(&mut self, root: i32, into: &mut Vec<i32>) -> Result<(), ReadError> {
        let mut parents = Vec::new();
        for pid in pids(&self.proc)? {
            if let Some(stat) = self.parse(pid, "stat", stat)? {
                parents.push((pid, stat.ppid));
            }
        }
        let first = into.len();
        into.extend(parents.iter().filter(|(pid, _)| *pid == root).map(|(pid, _)| *pid));
        // Orphans of a dead root are still found one level down.
        into.extend(parents.iter().filter(|(_, parent)| *parent == root).map(|(pid, _)| *pid));
        let mut next = first;
        while let Some(&parent) = into.get(next) {
            next += 1;
            if parent != root {
                into.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            }
        }
        Ok(())
    }

    /// Its pid in its own innermost PID namespace: 1 for a container's init.
    pub fn innermost_pid(&mut self, pid: i32) -> Result<Option<i32>, ReadError> {
        Ok(self.parse(pid, "status", status::innermost_pid)?.flatten())
    }

    fn parse<T>(
        &mut self,
        pid: i32,
        file_name: &str,
        parser: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, ReadError> {
        self.name.clear();
        // Writing into a String cannot fail.
        write!(self.name, "{pid}/{file_name}").unwrap_or_default();
        self.path.clear();
        self.path.push(&self.proc);
        self.path.push(&self.name);
        match file::parse(&self.path, &mut self.buffer, parser) {
            // A process that ends between open and read leaves an empty file.
            Err(ReadError::Malformed { .. }) if self.buffer.is_empty() => Ok(None),
            outcome => outcome,
        }
    }
}

/// Adds the pids of one cgroup directory and of all below it. A directory that is gone adds none.
pub fn pids_below(directory: &Path, into: &mut Vec<i32>) -> Result<(), ReadError> {
    pids_in(directory, into)?;
    for (_, name) in subdirectories(directory)? {
        pids_below(&directory.join(name), into)?;
    }
    Ok(())
}

/// Adds the pids of one cgroup directory alone.
pub fn pids_in(directory: &Path, into: &mut Vec<i32>) -> Result<(), ReadError> {
    let mut buffer = Vec::new();
    file::parse(&directory.join("cgroup.procs"), &mut buffer, |bytes| parse::pids(bytes, into))?;
    Ok(())
}

fn pids(proc: &Path) -> Result<Vec<i32>, ReadError> {
    let failed = |source: io::Error| ReadError::Io { path: proc.to_owned(), source };
    let mut pids = Vec::new();
    for entry in fs::read_dir(proc).map_err(failed)? {
        pids.extend(entry.map_err(failed)?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

#[cfg(test)]
mod tests;
