//! Finds a place for our own tree, makes its root there and locks it.

use std::{
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Hierarchy, Mode, Refusal, Tree, tree::create, v2};
use crate::{
    HostRoot,
    cgroup::{Layout, Version, place},
};

/// How many processes of ours may have a tree on one machine at once.
const MOST_TREES: u32 = 64;

pub(super) fn establish(host: &HostRoot, name: &str) -> Result<Tree, Refusal> {
    let layout = Layout::discover(host).map_err(|error| Refusal { why: error.to_string() })?;
    match layout.version() {
        Version::V1 | Version::Hybrid => v1(&layout, name),
        Version::V2 => v2::establish(host, layout.watched(), name),
    }
}

/// `jobmeter-<number>`: the number stands for the directory, so that whoever uses it next finds the tree again. It is the same
/// in every release: 64-bit FNV-1a of the device and of the path without links.
pub(super) fn name_for(directory: &Path) -> io::Result<String> {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let path = fs::canonicalize(directory)?;
    let device = fs::metadata(&path)?.dev().to_le_bytes();
    let bytes = device.iter().chain(path.as_os_str().as_bytes());
    let number = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    Ok(format!("{}-{number}", place::LOCAL_ROOT))
}

fn v1(layout: &Layout, name: &str) -> Result<Tree, Refusal> {
    let found = layout.controllers();
    let all = [
        ("cpuacct", &found.cpuacct),
        ("memory", &found.memory),
        ("cpu", &found.cpu),
        ("pids", &found.pids),
        ("blkio", &found.blkio),
    ];
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    for (controller, mount) in all {
        match (mount, controller) {
            (Some(mount), _) => match hierarchies.iter_mut().find(|known| known.mount == *mount) {
                Some(known) => known.controllers.push(controller.to_owned()),
                None => {
                    hierarchies.push(Hierarchy { mount: mount.clone(), controllers: vec![controller.to_owned()] });
                }
            },
            (None, "cpuacct" | "memory") => {
                return Err(Refusal { why: format!("the {controller} controller is not mounted") });
            }
            (None, _) => {}
        }
    }
    tree(Mode::V1, Path::new(""), hierarchies, name).map_err(|error| refused(&error))
}

/// Makes `<parent>/<name>` (or `<name>-2`, …, where a living process has that) in every hierarchy.
pub(super) fn tree(mode: Mode, parent: &Path, hierarchies: Vec<Hierarchy>, name: &str) -> io::Result<Tree> {
    for attempt in 1..=MOST_TREES {
        let root = parent.join(if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") });
        let full = |hierarchy: &Hierarchy| hierarchy.mount.join(&root);
        let Some(watched) = hierarchies.first().map(full) else { break };
        let Some(lock) = lock(&watched)? else { continue };
        for hierarchy in hierarchies.iter().skip(1) {
            create(&full(hierarchy)).map_err(into_io)?;
        }
        return Ok(Tree { mode, root, hierarchies, _lock: lock });
    }
    Err(io::Error::new(io::ErrorKind::QuotaExceeded, format!("{MOST_TREES} processes have a tree there already")))
}

/// `None`: a living process has it.
fn lock(directory: &PathBuf) -> io::Result<Option<Flock<File>>> {
    loop {
        create(directory).map_err(into_io)?;
        let file = File::open(directory)?;
        let inode = file.metadata()?.ino();
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((_file, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_file, errno)) => return Err(errno.into()),
            // Its owner may have removed it between our opening and its unlocking: then this is a lock on nothing.
            Ok(lock) if fs::metadata(directory).is_ok_and(|now| now.ino() == inode) => return Ok(Some(lock)),
            Ok(_on_nothing) => {}
        }
    }
}

fn into_io(error: super::OwnTreeError) -> io::Error {
    match error {
        super::OwnTreeError::Create { path, source } => {
            io::Error::new(source.kind(), format!("failed to create cgroup {}: {source}", path.display()))
        }
        other => io::Error::other(other),
    }
}

fn refused(error: &io::Error) -> Refusal {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => " (on cgroup v1 this needs root)",
        io::ErrorKind::ReadOnlyFilesystem => " (the cgroup mount is read-only, as in an ordinary container)",
        _ => "",
    };
    Refusal { why: format!("{error}{hint}") }
}
