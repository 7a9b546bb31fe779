//! Trees of real cgroups as a kubelet makes them, under a name of their own; removed when dropped.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use jobmeter_hostfs::{
    HostRoot,
    cgroup::{Layout, Version},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Cgroups {
    pub(crate) layout: Layout,
    /// Below every mount point: what `--cgroup-root` would name.
    pub(crate) root: PathBuf,
    mounts: Vec<PathBuf>,
}

impl Cgroups {
    /// `None`, with the reason printed, where cgroups cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let layout = Layout::discover(&HostRoot::local()).unwrap();
        let found = layout.controllers();
        // The watched one last, as runtimes come to it late.
        let mut mounts: Vec<PathBuf> = [&found.memory, &found.cpu, &found.pids].into_iter().flatten().cloned().collect();
        mounts.push(layout.watched().to_owned());
        let root = format!("jobmeter-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let cgroups = Self { layout, root: PathBuf::from(root), mounts };
        if let Err(error) = fs::create_dir(cgroups.layout.watched().join(&cgroups.root)) {
            println!("skipped: cannot make cgroups: {error}");
            return None;
        }
        cgroups.make("kubepods/besteffort");
        Some(cgroups)
    }

    /// Makes a cgroup (and those above it) in every hierarchy.
    pub(crate) fn make(&self, path: &str) -> PathBuf {
        let path = self.root.join(path);
        for mount in &self.mounts {
            fs::create_dir_all(mount.join(&path)).unwrap();
        }
        if self.layout.version() == Version::V2 {
            let above: Vec<&Path> = path.ancestors().skip(1).collect();
            for directory in above.into_iter().rev() {
                fs::write(self.layout.watched().join(directory).join("cgroup.subtree_control"), "+memory +pids +cpu").unwrap();
            }
        }
        path
    }

    /// Removes one cgroup from every hierarchy. `false`: a process is in it.
    pub(crate) fn remove(&self, path: &Path) -> bool {
        self.mounts.iter().rev().all(|mount| match fs::remove_dir(mount.join(path)) {
            Err(error) => error.kind() == io::ErrorKind::NotFound,
            Ok(()) => true,
        })
    }

    pub(crate) fn removed(&self, path: &Path) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.remove(path) {
            assert!(Instant::now() < deadline, "{} stays busy", path.display());
            std::thread::yield_now();
        }
    }

    /// A shell that joins the cgroup before it goes on with `script`.
    pub(crate) fn command(&self, path: &Path, script: &str) -> Command {
        let file = if self.layout.version() == Version::V2 { "cgroup.procs" } else { "tasks" };
        let join = |mount: &PathBuf| format!("echo 0 > {}; ", mount.join(path).join(file).display());
        let joins: String = self.mounts.iter().map(join).collect();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{joins}{script}")]).stdin(Stdio::null());
        command
    }

    pub(crate) fn cpu_ns(&self, path: &Path) -> u64 {
        let directory = self.layout.watched().join(path);
        if self.layout.version() != Version::V2 {
            return self.number(&directory.join("cpuacct.usage"));
        }
        let text = fs::read_to_string(directory.join("cpu.stat")).unwrap();
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        usage.parse::<u64>().unwrap() * 1000
    }

    pub(crate) fn peak(&self, path: &Path) -> u64 {
        match &self.layout.controllers().memory {
            Some(mount) => self.number(&mount.join(path).join("memory.max_usage_in_bytes")),
            None => self.number(&self.layout.watched().join(path).join("memory.peak")),
        }
    }

    fn number(&self, path: &Path) -> u64 {
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for mount in self.mounts.iter().rev() {
            remove_tree(&mount.join(&self.root));
        }
    }
}

fn remove_tree(path: &Path) {
    let Ok(listing) = fs::read_dir(path) else { return };
    for entry in listing.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while fs::remove_dir(path).is_err() && path.exists() && Instant::now() < deadline {
        std::thread::yield_now();
    }
}

/// A child that does not outlive its test.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Fails only where it has been reaped already.
        if self.0.kill().is_ok() {
            self.0.wait().unwrap();
        }
    }
}

/// A container ID as runtimes make them.
pub(crate) fn id(n: u32) -> String {
    format!("{n:064x}")
}

/// A pod UID of its own.
pub(crate) fn uid(n: u32) -> String {
    format!("{:08x}-{n:04x}-4c57-9f0c-6f1e4d3b2a10", std::process::id())
}
