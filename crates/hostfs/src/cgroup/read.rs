//! Reads the accounting files of one cgroup by path.

use std::{
    fs, io,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use jobmeter_protocol::Reading;

use super::{
    ContainerPlace, Layout, PodPlace, Version, parse,
    source::{Draft, Source},
};
use crate::{ReadError, error::Malformed, file, process};

/// What was read, and what could not be: a problem with one file never hides the others.
#[derive(Debug, Default)]
pub struct ReadOutcome {
    /// `None`: the cgroup is gone.
    pub reading: Option<Reading>,
    pub problems: Vec<ReadError>,
}

/// What a live cgroup holds right now, for sampling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryNow {
    /// Page cache included.
    pub usage_bytes: Option<u64>,
    /// Anonymous memory and shmem of the cgroup and all below it.
    pub anon_shmem_bytes: Option<u64>,
}

/// Opens files by path, into a buffer that it keeps. Cheap to make; one for each thread that reads.
#[derive(Debug)]
pub struct Reader {
    layout: Arc<Layout>,
    buffer: Vec<u8>,
    path: PathBuf,
}

impl Reader {
    pub fn new(layout: Arc<Layout>) -> Self {
        Self { layout, buffer: Vec::new(), path: PathBuf::new() }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// All counters of the cgroup at `path` (below the mount points).
    pub fn read(&mut self, path: &Path, at: Timestamp) -> ReadOutcome {
        let mut draft = Draft::default();
        let mut problems = Vec::new();
        let layout = Arc::clone(&self.layout);
        for (source, mount) in layout.urgent() {
            self.absorb(*source, mount, path, &mut draft, &mut problems);
        }
        self.absorb_patient(path, &mut draft, &mut problems);
        ReadOutcome { reading: draft.finish(at), problems }
    }

    /// Adds to a reading from held descriptors what is not held: pressure, and on v1 block I/O.
    pub fn complete(&mut self, path: &Path, outcome: &mut ReadOutcome) {
        let Some(reading) = &mut outcome.reading else { return };
        let mut draft = Draft::default();
        self.absorb_patient(path, &mut draft, &mut outcome.problems);
        if let Some(rest) = draft.finish(reading.at) {
            reading.io = reading.io.or(rest.io);
            reading.pressure = reading.pressure.or(rest.pressure);
        }
    }

    /// CPU time used so far, in nanoseconds, from one file: whether a cgroup did anything at all. `None`: gone, or no such
    /// controller here.
    pub fn cpu_now(&mut self, path: &Path) -> Result<Option<u64>, ReadError> {
        let layout = Arc::clone(&self.layout);
        match (&layout.controllers().cpuacct, layout.unified()) {
            (Some(mount), _) => self.parse(mount, path, Source::CpuacctUsage.file_name(), parse::number),
            (None, Some(mount)) => {
                let cpu = self.parse(mount, path, Source::CpuStat.file_name(), parse::cpu_stat_v2)?;
                Ok(cpu.map(|cpu| cpu.usage_ns))
            }
            (None, None) => Ok(None),
        }
    }

    /// `None`: gone.
    pub fn memory_now(&mut self, path: &Path) -> Result<Option<MemoryNow>, ReadError> {
        let layout = Arc::clone(&self.layout);
        let now = match (&layout.controllers().memory, layout.unified()) {
            (Some(mount), _) => MemoryNow {
                usage_bytes: self.parse(mount, path, "memory.usage_in_bytes", parse::number)?,
                anon_shmem_bytes: self.parse(mount, path, "memory.stat", parse::anon_shmem_v1)?,
            },
            (None, Some(mount)) => MemoryNow {
                usage_bytes: self.parse(mount, path, "memory.current", parse::number)?,
                anon_shmem_bytes: self.parse(mount, path, "memory.stat", parse::anon_shmem_v2)?,
            },
            (None, None) => return Ok(None),
        };
        Ok((now != MemoryNow::default()).then_some(now))
    }

    /// Containers that have a cgroup in the pod now, in the order in which their cgroups were made. Empty where the pod is gone.
    pub fn containers(&self, pod: &PodPlace) -> Result<Vec<ContainerPlace>, ReadError> {
        let directory = self.layout.watched().join(&pod.path);
        let mut found = Vec::new();
        for (inode, name) in subdirectories(&directory)? {
            found.extend(pod.container(&name).map(|place| (inode, place)));
        }
        // kernfs hands out inode numbers in order.
        found.sort_unstable_by_key(|(inode, _)| *inode);
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    /// Tasks in the cgroup and below it, of any PID namespace, those not yet reaped included. `None` without the pids controller.
    pub fn task_count(&mut self, path: &Path) -> Result<Option<u64>, ReadError> {
        let layout = Arc::clone(&self.layout);
        let mount = layout.controllers().pids.as_deref().or(layout.unified());
        mount.map_or(Ok(None), |mount| self.parse(mount, path, "pids.current", parse::number))
    }

    /// Pids of the cgroup and of all below it.
    pub fn pids(&self, path: &Path, into: &mut Vec<i32>) -> Result<(), ReadError> {
        process::pids_below(&self.layout.watched().join(path), into)
    }

    fn absorb_patient(&mut self, path: &Path, draft: &mut Draft, problems: &mut Vec<ReadError>) {
        let layout = Arc::clone(&self.layout);
        let lived_in = layout.version() != Version::Hybrid || self.lives_in_unified(path);
        for (source, mount) in layout.patient() {
            if lived_in || !Source::PRESSURE.contains(source) {
                self.absorb(*source, mount, path, draft, problems);
            }
        }
    }

    /// On a hybrid machine a runtime may make the v2 directory and never move a process there: its pressure would be a false 0.
    fn lives_in_unified(&mut self, path: &Path) -> bool {
        let layout = Arc::clone(&self.layout);
        let Some(mount) = layout.unified() else { return false };
        matches!(self.parse(mount, path, "cpu.stat", parse::cpu_stat_v2), Ok(Some(cpu)) if cpu.usage_ns > 0)
    }

    fn absorb(&mut self, source: Source, mount: &Path, path: &Path, draft: &mut Draft, problems: &mut Vec<ReadError>) {
        set(&mut self.path, mount, path, source.file_name());
        match file::read(&self.path, &mut self.buffer) {
            Ok(false) => {}
            Ok(true) => {
                problems.extend(draft.absorb(source, &self.buffer).err().map(|malformed| malformed.at(&self.path)));
            }
            Err(error) => problems.push(error),
        }
    }

    fn parse<T>(
        &mut self,
        mount: &Path,
        path: &Path,
        name: &str,
        parser: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, ReadError> {
        set(&mut self.path, mount, path, name);
        file::parse(&self.path, &mut self.buffer, parser)
    }
}

fn set(into: &mut PathBuf, mount: &Path, path: &Path, name: &str) {
    into.clear();
    into.push(mount);
    into.push(path);
    into.push(name);
}

/// Names and inode numbers of the cgroups in a cgroup; none where it is gone.
pub fn subdirectories(directory: &Path) -> Result<Vec<(u64, String)>, ReadError> {
    let failed = |source: io::Error| {
        if file::is_absent(&source) { Ok(Vec::new()) } else { Err(ReadError::Io { path: directory.to_owned(), source }) }
    };
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(source) => return failed(source),
    };
    let mut found = Vec::new();
    for entry in listing {
        let entry = match entry {
            Ok(entry) => entry,
            Err(source) => return failed(source),
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push((entry.ino(), name));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
