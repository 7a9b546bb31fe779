//! Recognises pods and containers by the names of their cgroup directories. Text in, names out; the form is what counts,
//! wherever below the mount point a runtime, a driver or a kubelet's `--cgroup-root` has put it.

use std::path::{Path, PathBuf};

/// Name of the tree that our own executor makes; further processes on one machine get `jobmeter-2`, `jobmeter-3` …
pub const LOCAL_ROOT: &str = "jobmeter";

/// Who made the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TreeKind {
    /// A kubelet: the first cgroup in a pod is its sandbox.
    Kubelet,
    /// Our own executor: every cgroup in a pod is a container.
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlace {
    pub pod_uid: String,
    pub kind: TreeKind,
    /// Below the mount point of every hierarchy, without a leading slash.
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPlace {
    pub container_id: String,
    /// As [`PodPlace::path`].
    pub path: PathBuf,
}

/// Whose cgroup a path is: that of a pod, or of a container (or of something below it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub pod: PodPlace,
    pub container: Option<ContainerPlace>,
}

/// Reads a whole path as `/proc/<pid>/cgroup` gives it. `None`: not below a pod.
pub fn recognise(path: &str) -> Option<Place> {
    let mut walked = PathBuf::new();
    let mut names = path.split('/').filter(|name| !name.is_empty());
    let kind = loop {
        let name = names.next()?;
        walked.push(name);
        if is_kubepods(name) {
            break TreeKind::Kubelet;
        }
        if is_local_root(name) {
            break TreeKind::Local;
        }
    };
    let mut name = names.next()?;
    walked.push(name);
    if kind == TreeKind::Kubelet && is_qos(name) {
        name = names.next()?;
        walked.push(name);
    }
    let pod = PodPlace { pod_uid: pod_uid(name)?, kind, path: walked.clone() };
    let container = names.next().and_then(|name| {
        let container_id = container_id(name, kind)?;
        walked.push(name);
        Some(ContainerPlace { container_id, path: walked })
    });
    Some(Place { pod, container })
}

/// The kubelet's root of all pods: `kubepods`, `kubepods.slice`, or, with a prefix under the systemd driver,
/// `kubelet-kubepods.slice`.
pub fn is_kubepods(directory: &str) -> bool {
    directory == "kubepods"
        || directory.strip_suffix("kubepods.slice").is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('-'))
}

/// `burstable` and `besteffort`; guaranteed pods have no such level.
pub fn is_qos(directory: &str) -> bool {
    let class = match directory.strip_suffix(".slice") {
        Some(slice) => match slice.rsplit_once("kubepods-") {
            Some((prefix, class)) if prefix.is_empty() || prefix.ends_with('-') => class,
            _ => return false,
        },
        None => directory,
    };
    matches!(class, "burstable" | "besteffort")
}

/// `pod<uid>`, or `…-pod<uid with _ for ->.slice`. A static pod's UID is the hash of its manifest and has no dashes.
pub fn pod_uid(directory: &str) -> Option<String> {
    let uid = match directory.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => directory.strip_prefix("pod")?.to_owned(),
    };
    let plain = !uid.is_empty() && uid.len() <= 63 && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain.then_some(uid)
}

/// The container's ID, bare or between a runtime's prefix and `.scope`; CRI-O's `conmon` monitors are not containers.
pub fn container_id(directory: &str, kind: TreeKind) -> Option<String> {
    if kind == TreeKind::Local {
        return is_cgroup_name(directory).then(|| directory.to_owned());
    }
    let name = directory.strip_suffix(".scope").unwrap_or(directory);
    let id = name.get(name.len().checked_sub(64)?..)?;
    let runtime = name.get(..name.len() - 64)?;
    let known = runtime.is_empty() || (runtime.ends_with('-') && !runtime.ends_with("conmon-"));
    (known && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).then(|| id.to_owned())
}

/// Whether our executor may call a cgroup so: one path component that no kernel file can be mistaken for.
pub fn is_cgroup_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !name.starts_with('.')
        && !["cgroup.", "cpu.", "cpuacct.", "memory.", "pids.", "io.", "blkio."].iter().any(|kernel| name.starts_with(kernel))
}

fn is_local_root(directory: &str) -> bool {
    match directory.strip_prefix(LOCAL_ROOT) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit())),
        None => false,
    }
}

impl PodPlace {
    pub fn container(&self, directory: &str) -> Option<ContainerPlace> {
        let container_id = container_id(directory, self.kind)?;
        Some(ContainerPlace { container_id, path: self.path.join(directory) })
    }
}

impl Place {
    pub fn path(&self) -> &Path {
        self.container.as_ref().map_or(&self.pod.path, |container| &container.path)
    }
}

#[cfg(test)]
mod tests;
