//! The local executor's own cgroups: `<root>/pod<uid>/<container>` in every hierarchy that accounting needs.
//!
//! A container is joined by its own first process, before exec: open [`ContainerCgroup::join_files`] in the parent, write
//! `0` into each of them, in order, in the child while it has one thread. On v1 these are `tasks` files: writing `0` there
//! takes 25 µs, where `cgroup.procs` waits 10 ms for a lock over all processes of the machine (both measured on 6.18).
//!
//! In the hierarchy that is watched a directory is made last and removed first: where it is, all the others are too.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::fcntl::Flock;

use crate::{
    HostRoot, ReadError,
    cgroup::{place, read::subdirectories},
};

mod claim;
mod tree;
mod v2;

/// How the tree was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Below the mount point of each v1 controller (hybrid machines too: joining their v2 tree would cost 10 ms a job).
    V1,
    /// Below the mount point.
    V2,
    /// Below our own cgroup or an ancestor of it, where that was delegated to us.
    V2Delegated,
}

#[derive(Clone, Debug)]
pub struct OwnTree {
    tree: Arc<Tree>,
}

#[derive(Clone, Debug)]
pub struct PodCgroup {
    tree: Arc<Tree>,
    path: PathBuf,
}

#[derive(Clone, Debug)]
pub struct ContainerCgroup {
    tree: Arc<Tree>,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    pub cpu_millicores: Option<u64>,
}

/// Why there is no tree of our own: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    pub why: String,
}

#[derive(Debug, thiserror::Error)]
pub enum OwnTreeError {
    #[error("failed to create cgroup {}", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to remove cgroup {}", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to list a cgroup")]
    List(#[source] ReadError),
    #[error("{name:?} cannot be the name of a cgroup")]
    Name { name: String },
}

#[derive(Debug)]
struct Tree {
    mode: Mode,
    /// Below each mount point.
    root: PathBuf,
    /// The watched one first.
    hierarchies: Vec<Hierarchy>,
    /// Held as long as this process uses the tree, so that a second process takes another name.
    _lock: Flock<File>,
}

#[derive(Clone, Debug)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
}

impl OwnTree {
    /// Makes and locks a tree for this process, or takes over the one of a process that has ended. Blocking, short. The tree
    /// goes when the last clone and the last pod of it are dropped, if it is empty then.
    pub fn establish(host: &HostRoot) -> Result<Self, Refusal> {
        claim::establish(host, place::LOCAL_ROOT).map(|tree| Self { tree: Arc::new(tree) })
    }

    /// As [`Self::establish`], with a tree that no process but those of this data directory takes over: what one of them
    /// left behind is in it, and nobody else's. At most one process may use the directory at a time.
    pub fn establish_for(host: &HostRoot, data_dir: &Path) -> Result<Self, Refusal> {
        let name = claim::name_for(data_dir)
            .map_err(|error| Refusal { why: format!("failed to look up {}: {error}", data_dir.display()) })?;
        claim::establish(host, &name).map(|tree| Self { tree: Arc::new(tree) })
    }

    pub fn mode(&self) -> Mode {
        self.tree.mode
    }

    /// Below the mount point: where the watcher finds the pods.
    pub fn root(&self) -> &Path {
        &self.tree.root
    }

    /// `cgroup v1 (cpuacct, memory, cpu, pids, blkio) below /jobmeter`.
    pub fn describe(&self) -> String {
        let version = match self.tree.mode {
            Mode::V1 => "cgroup v1",
            Mode::V2 => "cgroup v2",
            Mode::V2Delegated => "delegated cgroup v2",
        };
        let controllers: Vec<_> = self.tree.hierarchies.iter().flat_map(|hierarchy| &hierarchy.controllers).collect();
        let controllers: Vec<_> = controllers.iter().map(|name| name.as_str()).collect();
        format!("{version} ({}) below /{}", controllers.join(", "), self.tree.root.display())
    }

    /// UIDs of pods that are in the tree: at the start, those that an earlier process left behind.
    pub fn pods(&self) -> Result<Vec<String>, OwnTreeError> {
        // In every hierarchy: who is killed while it removes one leaves it in some of them.
        let mut uids = BTreeSet::new();
        for hierarchy in &self.tree.hierarchies {
            let found = subdirectories(&hierarchy.mount.join(&self.tree.root)).map_err(OwnTreeError::List)?;
            uids.extend(found.iter().filter_map(|(_, name)| place::pod_uid(name)));
        }
        Ok(uids.into_iter().collect())
    }

    /// One that was made before; makes nothing, and need not be there any more.
    pub fn known_pod(&self, pod_uid: &str) -> Result<PodCgroup, OwnTreeError> {
        Ok(PodCgroup { tree: Arc::clone(&self.tree), path: self.pod_path(pod_uid)? })
    }

    fn pod_path(&self, pod_uid: &str) -> Result<PathBuf, OwnTreeError> {
        let directory = format!("pod{pod_uid}");
        match place::pod_uid(&directory) {
            Some(read) if read == pod_uid => Ok(self.tree.root.join(directory)),
            _ => Err(OwnTreeError::Name { name: pod_uid.to_owned() }),
        }
    }

    /// A new pod, or the one that is there.
    pub fn pod(&self, pod_uid: &str) -> Result<PodCgroup, OwnTreeError> {
        let path = self.pod_path(pod_uid)?;
        self.tree.create(&path)?;
        self.tree.distribute(&path)?;
        Ok(PodCgroup { tree: Arc::clone(&self.tree), path })
    }
}

impl PodCgroup {
    /// Below the mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new container's cgroup, or the one that is there.
    pub fn container(&self, container_id: &str, limits: Limits) -> Result<ContainerCgroup, OwnTreeError> {
        if !place::is_cgroup_name(container_id) {
            return Err(OwnTreeError::Name { name: container_id.to_owned() });
        }
        let path = self.path.join(container_id);
        self.tree.create(&path)?;
        self.tree.limit(&path, limits)?;
        Ok(ContainerCgroup { tree: Arc::clone(&self.tree), path })
    }

    pub fn limit(&self, limits: Limits) -> Result<(), OwnTreeError> {
        self.tree.limit(&self.path, limits)
    }

    /// SIGKILL to every process in it. `false`: there was none. They are gone a moment later; call until `false`.
    pub fn kill(&self) -> Result<bool, OwnTreeError> {
        self.tree.kill(&self.path)
    }

    /// Removes it with its containers. [`OwnTreeError::is_busy`] while a process is left.
    pub fn remove(&self) -> Result<(), OwnTreeError> {
        self.tree.remove(&self.path)
    }
}

impl ContainerCgroup {
    /// Below the mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Open files; the child writes `0` into each, in this order.
    pub fn join_files(&self) -> Result<Vec<File>, OwnTreeError> {
        let name = if self.tree.mode == Mode::V1 { "tasks" } else { "cgroup.procs" };
        let open = |hierarchy: &Hierarchy| {
            let path = hierarchy.mount.join(&self.path).join(name);
            OpenOptions::new().write(true).open(&path).map_err(|source| OwnTreeError::Open { path, source })
        };
        self.tree.hierarchies.iter().map(open).collect()
    }

    /// See [`PodCgroup::kill`].
    pub fn kill(&self) -> Result<bool, OwnTreeError> {
        self.tree.kill(&self.path)
    }

    /// See [`PodCgroup::remove`].
    pub fn remove(&self) -> Result<(), OwnTreeError> {
        self.tree.remove(&self.path)
    }
}

impl OwnTreeError {
    /// A process is still in the cgroup, or is only just leaving it.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Remove { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
    }
}
