//! What a live cgroup uses now, through descriptors that are kept: for pods that are looked at each second, a fifth of the
//! cost of opening the files each time. Owner: the agent's sampler; one [`Live`] for each pod.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Layout, MemoryNow, parse, source::Source};
use crate::{ReadError, error::Malformed, file};

#[derive(Debug)]
pub struct Live {
    cpu: Option<Slot>,
    usage: Option<Slot>,
    memory: Option<Slot>,
}

/// One file: opened when it is first there, let go when its cgroup is gone.
#[derive(Debug)]
struct Slot {
    path: PathBuf,
    file: Option<File>,
    parser: fn(&[u8]) -> Result<u64, Malformed>,
}

/// `memory.stat`, the longest of them, has some 2 KiB.
const LONGEST: usize = 8 * 1024;

impl Live {
    /// Opens nothing yet.
    pub fn new(layout: &Layout, path: &Path) -> Self {
        let slot = |mount: &Path, name, parser| Some(Slot { path: mount.join(path).join(name), file: None, parser });
        let controllers = layout.controllers();
        let cpu = match (&controllers.cpuacct, layout.unified()) {
            (Some(mount), _) => slot(mount, Source::CpuacctUsage.file_name(), parse::number),
            (None, Some(mount)) => slot(mount, Source::CpuStat.file_name(), |bytes| Ok(parse::cpu_stat_v2(bytes)?.usage_ns)),
            (None, None) => None,
        };
        let (usage, memory) = match (&controllers.memory, layout.unified()) {
            (Some(mount), _) => {
                (slot(mount, "memory.usage_in_bytes", parse::number), slot(mount, "memory.stat", parse::anon_shmem_v1))
            }
            (None, Some(mount)) => {
                (slot(mount, "memory.current", parse::number), slot(mount, "memory.stat", parse::anon_shmem_v2))
            }
            (None, None) => (None, None),
        };
        Self { cpu, usage, memory }
    }

    /// `None`: gone, or no such controller here.
    pub fn cpu_usage_ns(&mut self) -> Result<Option<u64>, ReadError> {
        self.cpu.as_mut().map_or(Ok(None), Slot::read)
    }

    /// `None`: gone, or no such controller here.
    pub fn memory_now(&mut self) -> Result<Option<MemoryNow>, ReadError> {
        let now = MemoryNow {
            usage_bytes: self.usage.as_mut().map_or(Ok(None), Slot::read)?,
            anon_shmem_bytes: self.memory.as_mut().map_or(Ok(None), Slot::read)?,
        };
        Ok((now != MemoryNow::default()).then_some(now))
    }
}

impl Slot {
    fn read(&mut self) -> Result<Option<u64>, ReadError> {
        let mut buffer = [0_u8; LONGEST];
        let read = match &self.file {
            Some(file) => file.read_at(&mut buffer, 0),
            None => File::open(&self.path).and_then(|file| self.file.insert(file).read_at(&mut buffer, 0)),
        };
        match read {
            Ok(length) if length < LONGEST => (self.parser)(&buffer[..length]).map(Some).map_err(|bad| bad.at(&self.path)),
            Ok(_) => Err(Malformed::new(format!("longer than {LONGEST} bytes")).at(&self.path)),
            Err(source) => {
                self.file = None;
                if file::is_absent(&source) { Ok(None) } else { Err(ReadError::Io { path: self.path.clone(), source }) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::HostRoot;

    #[test]
    fn figures_are_read_through_kept_descriptors_until_the_cgroup_is_gone() {
        let root = TempDir::new().unwrap();
        let mount = root.path().join("sys/fs/cgroup");
        let pod = mount.join("kubepods/pod1");
        fs::create_dir_all(&pod).unwrap();
        fs::write(mount.join("cgroup.controllers"), "cpu memory\n").unwrap();
        let layout = Layout::discover(&HostRoot::at(root.path())).unwrap();
        let mut live = Live::new(&layout, Path::new("kubepods/pod1"));
        assert_eq!(live.cpu_usage_ns().unwrap(), None, "its files may come a moment later");
        fs::write(pod.join("cpu.stat"), "usage_usec 7\nuser_usec 4\nsystem_usec 3\n").unwrap();
        fs::write(pod.join("memory.current"), "4096\n").unwrap();
        fs::write(pod.join("memory.stat"), "anon 100\nfile 900\nshmem 11\n").unwrap();
        assert_eq!(live.cpu_usage_ns().unwrap(), Some(7_000));
        assert_eq!(live.memory_now().unwrap(), Some(MemoryNow { usage_bytes: Some(4_096), anon_shmem_bytes: Some(111) }));
        fs::write(pod.join("memory.stat"), "rubbish\n").unwrap();
        assert!(live.memory_now().unwrap_err().path().ends_with("kubepods/pod1/memory.stat"));
    }
}
