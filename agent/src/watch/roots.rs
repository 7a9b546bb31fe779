//! Finds the directories below which a kubelet keeps its pods.

use std::path::{Path, PathBuf};

use jobmeter_hostfs::{
    ReadError,
    cgroup::{place, read::subdirectories},
};

use super::KubeletTrees;

/// How deep below the mount a kubelet's tree is looked for. The deepest known is 4: systemd's slice, the scope of the
/// container that plays the node (kind, minikube), the kubelet's slice, its `kubepods`.
const DEPTH: usize = 5;

/// Paths below `mount`. With `below` the tree must be right there, as `--cgroup-root` puts it.
pub(super) fn find(mount: &Path, trees: &KubeletTrees) -> Result<Vec<PathBuf>, ReadError> {
    let start = PathBuf::from(trees.below.as_deref().unwrap_or("").trim_matches('/'));
    let depth = if trees.below.is_some() { 1 } else { DEPTH };
    let except: Vec<&Path> = trees.except.iter().map(|prefix| Path::new(prefix.trim_matches('/'))).collect();
    let mut found = Vec::new();
    let mut level = vec![start];
    for _ in 0..depth {
        let mut next = Vec::new();
        for directory in level {
            for (_, name) in subdirectories(&mount.join(&directory))? {
                let path = directory.join(&name);
                if except.contains(&path.as_path()) {
                    continue;
                }
                if place::is_kubepods(&name) { found.push(path) } else { next.push(path) }
            }
        }
        level = next;
    }
    match &trees.holding {
        Some(pod_uid) if found.len() > 1 => the_one_holding(pod_uid, mount, found),
        _ => Ok(found),
    }
}

fn the_one_holding(pod_uid: &str, mount: &Path, found: Vec<PathBuf>) -> Result<Vec<PathBuf>, ReadError> {
    for tree in &found {
        let names = subdirectories(&mount.join(tree))?;
        let mut places = vec![tree.clone()];
        places.extend(names.iter().filter(|(_, name)| place::is_qos(name)).map(|(_, name)| tree.join(name)));
        for place in places {
            if subdirectories(&mount.join(&place))?.iter().any(|(_, name)| place::pod_uid(name).as_deref() == Some(pod_uid)) {
                return Ok(vec![tree.clone()]);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(directories: &[&str], below: Option<&str>, except: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for directory in directories {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        let except = except.iter().map(|prefix| (*prefix).to_owned()).collect();
        let trees = KubeletTrees { below: below.map(str::to_owned), except, holding: None };
        names(dir.path(), &trees)
    }

    fn names(mount: &Path, trees: &KubeletTrees) -> Vec<String> {
        let mut found: Vec<_> = find(mount, trees).unwrap().into_iter().map(|path| path.display().to_string()).collect();
        found.sort();
        found
    }

    #[test]
    fn trees_are_found_wherever_a_kubelet_puts_them() {
        let scope = "system.slice/docker-4bf3.scope/kubelet.slice/kubelet-kubepods.slice";
        let all = ["kubepods.slice/kubepods-burstable.slice", "node-b/kubepods/besteffort", scope, "user.slice/x"];
        assert_eq!(found(&all, None, &[]), ["kubepods.slice", "node-b/kubepods", scope]);
        assert_eq!(found(&all, None, &["/node-b", "/system.slice"]), ["kubepods.slice"]);
    }

    #[test]
    fn a_node_that_is_told_its_root_sees_no_other_nodes_pods() {
        let all = ["kubepods/burstable", "node-b/kubepods/besteffort"];
        assert_eq!(found(&all, Some("/"), &[]), ["kubepods"]);
        assert_eq!(found(&all, Some("/node-b"), &[]), ["node-b/kubepods"]);
        assert!(found(&all, Some("/node-c"), &[]).is_empty());
    }

    #[test]
    fn of_several_trees_on_one_kernel_the_one_with_the_agents_own_pod_is_its_nodes() {
        let dir = tempfile::tempdir().unwrap();
        for directory in ["kubepods/burstable/podaa-1", "node-b/kubepods/burstable/podbb-2", "node-b/kubepods/podcc-3"] {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        let holding = |uid: &str| names(dir.path(), &KubeletTrees { holding: Some(uid.to_owned()), ..KubeletTrees::default() });
        assert_eq!(holding("bb-2"), ["node-b/kubepods"]);
        assert_eq!(holding("cc-3"), ["node-b/kubepods"], "a guaranteed pod has no class above it");
        assert_eq!(holding("aa-1"), ["kubepods"]);
        assert_eq!(holding("dd-4"), ["kubepods", "node-b/kubepods"]);
    }
}
