//! Which cgroup hierarchies this machine has, from the directories below the (mounted) cgroup root alone.
//!
//! Not from `mountinfo`: the agent sees the host's tree as one hostPath mount, which names no controllers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::source::Source;
use crate::HostRoot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
    /// v1 controllers, and a v2 tree (`unified`) without them.
    Hybrid,
}

/// Mount points by what they can tell. Found once, then shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    version: Version,
    watched: PathBuf,
    controllers: Controllers,
    unified: Option<PathBuf>,
    /// Worth a held descriptor for each container, the most urgent first.
    urgent: Vec<(Source, PathBuf)>,
    /// Read by path, where the cgroup is still there.
    patient: Vec<(Source, PathBuf)>,
}

/// Mount points of v1 controllers; several may share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    pub cpu: Option<PathBuf>,
    pub cpuacct: Option<PathBuf>,
    pub memory: Option<PathBuf>,
    pub pids: Option<PathBuf>,
    pub blkio: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("no cgroup hierarchy that accounts for CPU or memory below {}", root.display())]
    NoHierarchy { root: PathBuf },
    #[error("failed to list {}", path.display())]
    List {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Layout {
    pub fn discover(host: &HostRoot) -> Result<Self, LayoutError> {
        let root = &host.cgroup;
        if is_unified(root) {
            return Ok(Self::of(Controllers::default(), Some(root.clone()), root.clone()));
        }
        let listing = fs::read_dir(root).map_err(|source| LayoutError::List { path: root.clone(), source })?;
        let (mut controllers, mut unified) = (Controllers::default(), None);
        for entry in listing {
            let entry = entry.map_err(|source| LayoutError::List { path: root.clone(), source })?;
            let name = entry.file_name();
            // `cpu` may be a link to `cpu,cpuacct`; resolved, both give one directory.
            let path = fs::canonicalize(entry.path()).unwrap_or_else(|_unresolved| entry.path());
            if is_unified(&path) {
                unified = Some(path);
            } else if path.join("cgroup.procs").exists() {
                name.to_string_lossy().split(',').for_each(|controller| controllers.set(controller, &path));
            }
        }
        // cpuacct before memory: runtimes make it later, so that both are there at its event, and its own usage tells whether
        // anybody has ever been in a cgroup that is empty now.
        let watched = [&controllers.cpuacct, &controllers.memory, &unified].into_iter().find_map(Clone::clone);
        let watched = watched.ok_or_else(|| LayoutError::NoHierarchy { root: root.clone() })?;
        Ok(Self::of(controllers, unified, watched))
    }

    fn of(controllers: Controllers, unified: Option<PathBuf>, watched: PathBuf) -> Self {
        let version = match (&unified, controllers.cpuacct.is_some() || controllers.memory.is_some()) {
            (Some(_), true) => Version::Hybrid,
            (Some(_), false) => Version::V2,
            (None, _) => Version::V1,
        };
        let (mut urgent, mut patient) = (Vec::new(), Vec::new());
        let add = |into: &mut Vec<_>, sources: &[Source], mount: &Option<PathBuf>| {
            into.extend(mount.iter().flat_map(|mount| sources.iter().map(|source| (*source, mount.clone()))));
        };
        if version == Version::V2 {
            add(&mut urgent, &Source::UNIFIED, &unified);
        } else {
            add(&mut urgent, &Source::CPUACCT, &controllers.cpuacct);
            add(&mut urgent, &Source::MEMORY_V1, &controllers.memory);
            add(&mut urgent, &[Source::CpuStatV1], &controllers.cpu);
            add(&mut urgent, &[Source::PidsPeak], &controllers.pids);
            add(&mut patient, &[Source::BlkioBytes], &controllers.blkio);
        }
        add(&mut patient, &Source::PRESSURE, &unified);
        Self { version, watched, controllers, unified, urgent, patient }
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Mount point of the hierarchy whose directories come and go with the pods and whose `cgroup.procs` are read.
    pub fn watched(&self) -> &Path {
        &self.watched
    }

    /// Mount points of v1 controllers; all `None` on v2.
    pub fn controllers(&self) -> &Controllers {
        &self.controllers
    }

    /// Mount point of the v2 tree; on hybrid machines it has no controllers.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Whether `memory.events` counts what happened below; v1 `memory.oom_control` does not.
    pub fn oom_kills_are_hierarchical(&self) -> bool {
        self.controllers.memory.is_none()
    }

    pub(super) fn urgent(&self) -> &[(Source, PathBuf)] {
        &self.urgent
    }

    pub(super) fn patient(&self) -> &[(Source, PathBuf)] {
        &self.patient
    }

    /// `cgroup v1: cpu, cpuacct, memory, pids, blkio`, for people.
    pub fn describe(&self) -> String {
        let version = match self.version {
            Version::V1 => "cgroup v1",
            Version::V2 => return "cgroup v2".to_owned(),
            Version::Hybrid => "cgroup v1 with a v2 tree beside it (hybrid)",
        };
        format!("{version}: {}", self.controllers.names().join(", "))
    }
}

impl Controllers {
    fn set(&mut self, controller: &str, mount: &Path) {
        let field = match controller {
            "cpu" => &mut self.cpu,
            "cpuacct" => &mut self.cpuacct,
            "memory" => &mut self.memory,
            "pids" => &mut self.pids,
            "blkio" => &mut self.blkio,
            _ => return,
        };
        *field = Some(mount.to_owned());
    }

    pub fn names(&self) -> Vec<&'static str> {
        let Self { cpu, cpuacct, memory, pids, blkio } = self;
        let all = [("cpu", cpu), ("cpuacct", cpuacct), ("memory", memory), ("pids", pids), ("blkio", blkio)];
        all.into_iter().filter(|(_, mount)| mount.is_some()).map(|(name, _)| name).collect()
    }
}

fn is_unified(directory: &Path) -> bool {
    directory.join("cgroup.controllers").exists()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn host(mounts: &[&str]) -> (tempfile::TempDir, HostRoot) {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRoot::at(dir.path().canonicalize().unwrap());
        fs::create_dir_all(&host.cgroup).unwrap();
        for mount in mounts {
            let path = host.cgroup.join(mount);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("cgroup.procs"), "").unwrap();
            if matches!(*mount, "." | "unified") {
                fs::write(path.join("cgroup.controllers"), "cpu memory\n").unwrap();
            }
        }
        (dir, host)
    }

    #[test]
    fn one_unified_mount_is_v2() {
        let (_dir, host) = host(&["."]);
        let layout = Layout::discover(&host).unwrap();
        assert_eq!((layout.version(), layout.watched()), (Version::V2, host.cgroup.as_path()));
        assert!(layout.oom_kills_are_hierarchical());
    }

    #[test]
    fn controllers_that_share_a_mount_are_found_through_its_links() {
        let (_dir, host) = host(&["cpu,cpuacct", "memory", "pids", "systemd"]);
        symlink("cpu,cpuacct", host.cgroup.join("cpu")).unwrap();
        symlink("cpu,cpuacct", host.cgroup.join("cpuacct")).unwrap();
        let layout = Layout::discover(&host).unwrap();
        assert_eq!(layout.version(), Version::V1);
        assert_eq!(layout.watched(), host.cgroup.join("cpu,cpuacct"));
        assert_eq!(layout.controllers().cpu, layout.controllers().cpuacct);
        assert_eq!(layout.describe(), "cgroup v1: cpu, cpuacct, memory, pids");
        assert!(!layout.oom_kills_are_hierarchical());
    }

    #[test]
    fn a_v2_tree_beside_v1_controllers_is_hybrid_and_v1_is_watched() {
        let (_dir, host) = host(&["cpu", "cpuacct", "memory", "unified"]);
        let layout = Layout::discover(&host).unwrap();
        assert_eq!((layout.version(), layout.watched()), (Version::Hybrid, host.cgroup.join("cpuacct").as_path()));
        assert_eq!(layout.unified(), Some(host.cgroup.join("unified").as_path()));
    }

    #[test]
    fn a_folder_without_hierarchies_is_refused_by_name() {
        let (_dir, host) = host(&["systemd"]);
        let error = Layout::discover(&host).unwrap_err();
        assert!(error.to_string().contains("sys/fs/cgroup"), "{error}");
        let missing = HostRoot::at("/nowhere");
        assert!(matches!(Layout::discover(&missing), Err(LayoutError::List { .. })));
    }
}
