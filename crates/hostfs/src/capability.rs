//! What can be measured here, and how well: one [`Capability`] for each thing, never an error.
//!
//! The names are stable words; the detail says what was found, or what is missing and what that costs.

use std::{fs, path::Path};

use jobmeter_protocol::{Capability, CapabilityState};

use crate::{
    HostRoot,
    cgroup::{Layout, place, read::subdirectories},
    machine,
    own_tree::{OwnTree, Refusal},
    pidfd,
};

mod counters;

#[derive(Clone, Debug, Default)]
pub struct ProbeOptions {
    /// Where this node's kubelet has its cgroups (`--cgroup-root`), if not everywhere.
    pub cgroup_root: Option<String>,
    /// Whether the kernel thread got its real-time priority; `None`: nobody asked.
    pub realtime: Option<Result<(), String>>,
    /// Whether the local executor's own tree is of interest; made and removed again to find out.
    pub own_tree: bool,
    /// Whether a kubelet's pods are of interest.
    pub kubelet: bool,
}

pub fn probe(host: &HostRoot, options: &ProbeOptions) -> Vec<Capability> {
    let mut found = Vec::new();
    // Held while the counters are looked for: on v2 there may be no other cgroup with all controllers.
    let own = options.own_tree.then(|| OwnTree::establish(host));
    match Layout::discover(host) {
        Ok(layout) => {
            found.push(active("cgroups", layout.describe()));
            if options.kubelet {
                found.push(kubelet_tree(&layout, options.cgroup_root.as_deref()));
            }
            found.extend(counters::probe(&layout));
        }
        Err(error) => found.push(failed("cgroups", format!("{error}; no figure comes from the kernel's own totals"))),
    }
    found.push(pidfds());
    if options.kubelet {
        found.push(host_pids(host));
        found.push(pod_logs(host));
    }
    found.push(inotify(host));
    if let Some(realtime) = &options.realtime {
        found.push(realtime_watcher(realtime));
    }
    found.extend(own.as_ref().map(own_tree));
    found
}

fn kubelet_tree(layout: &Layout, cgroup_root: Option<&str>) -> Capability {
    let start = layout.watched().join(cgroup_root.unwrap_or("").trim_matches('/'));
    let depth = if cgroup_root.is_some() { 1 } else { 5 };
    let mut trees = Vec::new();
    collect_trees(&start, depth, &mut trees);
    let mounted = |tree: &String| tree.strip_prefix(&layout.watched().display().to_string()).unwrap_or(tree).to_owned();
    let described: Vec<String> = trees
        .iter()
        .map(|tree| {
            let driver = if tree.ends_with(".slice") { "systemd" } else { "cgroupfs" };
            format!("{} ({driver} driver)", mounted(tree))
        })
        .collect();
    match described.is_empty() {
        false => active("pod_cgroups", described.join(", ")),
        true => {
            unsupported("pod_cgroups", "no kubepods cgroup (yet): no kubelet has made a pod below the cgroup root".to_owned())
        }
    }
}

fn collect_trees(directory: &Path, depth: u32, into: &mut Vec<String>) {
    // A directory that cannot be listed has no trees for us.
    for (_, name) in subdirectories(directory).unwrap_or_default() {
        let path = directory.join(&name);
        if place::is_kubepods(&name) {
            into.push(path.display().to_string());
        } else if depth > 1 {
            collect_trees(&path, depth - 1, into);
        }
    }
}

fn pidfds() -> Capability {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    match pidfd::open(own) {
        Ok(_pidfd) => active("pidfd", "the end of a process is seen as it happens".to_owned()),
        Err(error) => unsupported(
            "pidfd",
            format!("{error}: ends are seen by cgroup events and removals; single containers may be missed, pods are not"),
        ),
    }
}

/// In the host's PID namespace the second process is the kernel's thread factory. A node that is itself a container (kind) has
/// none, and may be just as good.
fn host_pids(host: &HostRoot) -> Capability {
    let second = fs::read_to_string(host.proc.join("2/comm")).unwrap_or_default();
    if second.trim() == "kthreadd" {
        return active("host_pid", "processes of all pods can be seen".to_owned());
    }
    let why = "not the host's PID namespace (hostPID is off, or the node is a container): where a pod's processes are hidden, \
               there are no process figures, and on cgroup v1 ends are seen by removals only";
    unsupported("host_pid", why.to_owned())
}

fn pod_logs(host: &HostRoot) -> Capability {
    let path = &host.pod_logs;
    match fs::read_dir(path) {
        Ok(_) => active("pod_logs", path.display().to_string()),
        Err(error) => unsupported(
            "pod_logs",
            format!("{}: {error}; a pod that the API has forgotten is recorded without its name", path.display()),
        ),
    }
}

fn inotify(host: &HostRoot) -> Capability {
    let read = |name: &str| {
        let text = fs::read_to_string(host.proc.join("sys/fs/inotify").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    match (read("max_user_watches"), read("max_user_instances")) {
        (Some(watches), Some(instances)) if watches >= 1024 && instances >= 16 => {
            active("inotify", format!("{watches} watches, {instances} instances a user"))
        }
        (Some(watches), Some(instances)) => Capability {
            name: "inotify".to_owned(),
            state: CapabilityState::Failed,
            detail: format!("only {watches} watches and {instances} instances a user: each pod takes a watch"),
        },
        _ => unsupported("inotify", "its limits cannot be read".to_owned()),
    }
}

fn realtime_watcher(realtime: &Result<(), String>) -> Capability {
    match realtime {
        Ok(()) => active("realtime_watcher", "SCHED_FIFO".to_owned()),
        Err(why) => unsupported(
            "realtime_watcher",
            format!("{why}: on a busy node a container may be gone before it was read; pod totals stay exact"),
        ),
    }
}

fn own_tree(established: &Result<OwnTree, Refusal>) -> Capability {
    match established {
        Ok(tree) => active("own_cgroups", tree.describe()),
        Err(refusal) => unsupported(
            "own_cgroups",
            format!("{refusal}; local jobs are measured by wait4 and sampling, as their `method` says"),
        ),
    }
}

/// Kernel, CPUs and memory in one line, for the head of `doctor`.
pub fn machine_line(host: &HostRoot) -> String {
    let or_unknown = |value: Result<String, crate::ReadError>| value.unwrap_or_else(|error| format!("unknown ({error})"));
    let kernel = or_unknown(machine::kernel_release(host));
    let cpus = or_unknown(machine::cpu_count(host).map(|cpus| cpus.to_string()));
    let memory = or_unknown(machine::memory_total(host).map(|bytes| format!("{} MiB", bytes >> 20)));
    format!("Linux {kernel}, {cpus} CPUs, {memory}")
}

pub(crate) fn active(name: &str, detail: String) -> Capability {
    Capability { name: name.to_owned(), state: CapabilityState::Active, detail }
}

pub(crate) fn unsupported(name: &str, detail: String) -> Capability {
    Capability { name: name.to_owned(), state: CapabilityState::Unsupported, detail }
}

pub(crate) fn failed(name: &str, detail: String) -> Capability {
    Capability { name: name.to_owned(), state: CapabilityState::Failed, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_probed_without_a_doubt_left() {
        let options = ProbeOptions { own_tree: true, kubelet: true, realtime: Some(Err("EPERM".to_owned())), cgroup_root: None };
        let found = probe(&HostRoot::local(), &options);
        for capability in &found {
            println!("{:16} {:?}: {}", capability.name, capability.state, capability.detail);
            assert!(!capability.detail.is_empty());
        }
        let mut names: Vec<&str> = found.iter().map(|capability| capability.name.as_str()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "each name once");
        assert!(machine_line(&HostRoot::local()).starts_with("Linux "));
    }

    #[test]
    fn a_machine_without_cgroups_says_what_that_costs() {
        let found = probe(&HostRoot::at("/nowhere"), &ProbeOptions::default());
        let cgroups = found.iter().find(|capability| capability.name == "cgroups").unwrap();
        assert_eq!(cgroups.state, CapabilityState::Failed);
        assert!(cgroups.detail.contains("/nowhere/sys/fs/cgroup"), "{}", cgroups.detail);
    }
}
