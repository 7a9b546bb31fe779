//! cgroup v2: finds an ancestor that is ours to divide, and hands its controllers down.
//!
//! A cgroup that has processes of its own cannot give controllers to its children (the root of the machine excepted): if we are
//! alone in it, we move into a leaf first.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};

use super::{
    Hierarchy, Mode, OwnTreeError, Refusal, Tree, claim,
    tree::{create, write},
};
use crate::{HostRoot, process};

/// What our tree would have, the indispensable one first.
const WANTED: [&str; 4] = ["memory", "cpu", "pids", "io"];
/// Where this process goes when its own cgroup has to be divided.
const LEAF: &str = "jobmeter-self";

pub(super) fn establish(host: &HostRoot, mount: &Path, name: &str) -> Result<Tree, Refusal> {
    let own = own_cgroup(host).map_err(|why| Refusal { why })?;
    let mut reasons = Vec::new();
    // The top first (root has it), then our own cgroup and upwards, as far as they were delegated to us.
    let candidates =
        std::iter::once(PathBuf::new()).chain(own.ancestors().map(Path::to_owned).filter(|path| path != Path::new("")));
    for candidate in candidates {
        let mode = if candidate == Path::new("") { Mode::V2 } else { Mode::V2Delegated };
        let taken = divide(mount, &candidate).and_then(|controllers| {
            let hierarchies = vec![Hierarchy { mount: mount.to_owned(), controllers }];
            let tree = claim::tree(mode, &candidate, hierarchies, name).map_err(|error| error.to_string())?;
            let root = mount.join(&tree.root);
            tree.hierarchies
                .iter()
                .try_for_each(|hierarchy| distribute(&root, &hierarchy.controllers))
                .map_err(|error| chain(&error))?;
            Ok(tree)
        });
        match taken {
            Ok(tree) => return Ok(tree),
            Err(why) => reasons.push(format!("/{}: {why}", candidate.display())),
        }
    }
    let why = format!(
        "no cgroup can be divided ({}); run as root, or under `systemd-run --user --scope -p Delegate=yes`",
        reasons.join("; ")
    );
    Err(Refusal { why })
}

/// Lets the children of `directory` have the controllers.
pub(super) fn distribute(directory: &Path, controllers: &[String]) -> Result<(), OwnTreeError> {
    let path = directory.join("cgroup.subtree_control");
    controllers.iter().try_for_each(|controller| write(&path, &format!("+{controller}")))
}

/// Makes sure that children of `candidate` get at least the memory controller; says which of the wanted ones they get.
fn divide(mount: &Path, candidate: &Path) -> Result<Vec<String>, String> {
    let directory = mount.join(candidate);
    // Moving a process needs this right on the common ancestor of where it is and where it goes: this directory.
    let procs = directory.join("cgroup.procs");
    access(&procs, AccessFlags::W_OK).map_err(|errno| format!("not ours ({})", io::Error::from(errno)))?;
    let available = words(&directory.join("cgroup.controllers"))?;
    let switch = directory.join("cgroup.subtree_control");
    let given = words(&switch)?;
    let mut got = Vec::new();
    let mut refused = Vec::new();
    for controller in WANTED.into_iter().filter(|controller| available.contains(*controller)) {
        let outcome = if given.contains(controller) { Ok(()) } else { enable(&directory, controller) };
        match outcome {
            Ok(()) => got.push(controller.to_owned()),
            Err(error) => refused.push(format!("{controller}: {error}")),
        }
    }
    match got.first().map(String::as_str) {
        Some("memory") => Ok(got),
        _ if !available.contains("memory") => Err("no memory controller here".to_owned()),
        _ => Err(refused.join(", ")),
    }
}

fn enable(directory: &Path, controller: &str) -> io::Result<()> {
    let switch = directory.join("cgroup.subtree_control");
    let text = format!("+{controller}");
    match fs::write(&switch, &text) {
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
            step_aside(directory)?;
            fs::write(&switch, &text)
        }
        outcome => outcome,
    }
}

fn step_aside(directory: &Path) -> io::Result<()> {
    let mut pids = Vec::new();
    process::pids_in(directory, &mut pids).map_err(io::Error::other)?;
    let own = std::process::id();
    if pids.iter().any(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own)) {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "other processes are in it"));
    }
    let leaf = directory.join(LEAF);
    create(&leaf).map_err(io::Error::other)?;
    fs::write(leaf.join("cgroup.procs"), own.to_string())
}

/// Our place below the mount point, from `/proc/self/cgroup`.
fn own_cgroup(host: &HostRoot) -> Result<PathBuf, String> {
    let path = host.proc.join("self/cgroup");
    let text = fs::read_to_string(&path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    let own = line.ok_or_else(|| format!("{} names no v2 cgroup", path.display()))?;
    // `/../..` would lead out of a cgroup namespace that the mount does not show.
    let inside = own.split('/').all(|name| name != "..");
    Ok(if inside { PathBuf::from(own.trim_start_matches('/')) } else { PathBuf::new() })
}

fn words(path: &Path) -> Result<BTreeSet<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
