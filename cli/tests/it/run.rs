//! `jobmeter run`, `standalone` and `submit` as processes. With cgroups where this machine gives them; then the figures
//! must be the kernel's.
// Clippy takes the helpers of tests for ordinary code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod accuracy;
mod command;
mod crash;
mod files;
mod full_disk;
mod service;
mod unprivileged;

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use jobmeter_hostfs::HostRoot;
use jobmeter_hostfs::own_tree::OwnTree;
use jobmeter_protocol::{Method, Record};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_jobmeter");

pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `jobmeter COMMAND --data-dir …`; more arguments follow.
    pub(crate) fn jobmeter(&self, command: &str) -> Command {
        let mut jobmeter = Command::new(PROGRAM);
        jobmeter.arg(command).arg("--data-dir").arg(self.data()).env_remove("JOBMETER_SERVER").env_remove("JOBMETER_TOKEN");
        jobmeter
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.jobmeter("run").args(args).output().unwrap()
    }

    /// All records of the data directory, by `jobmeter acct`.
    pub(crate) fn records(&self) -> Vec<Record> {
        let acct = self.jobmeter("acct").args(["--pods", "-o", "json"]).output().unwrap();
        assert!(acct.status.success(), "{}", told(&acct));
        serde_json::from_slice(&acct.stdout).unwrap()
    }

    /// Log files by `<pod>/<container>/<attempt>.log`, with their bytes.
    pub(crate) fn logs(&self) -> Vec<(String, Vec<u8>)> {
        let list = |dir: PathBuf| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<_> = list(self.data().join("logs"))
            .flat_map(list)
            .flat_map(list)
            .map(|log| (log.strip_prefix(self.data().join("logs")).unwrap().display().to_string(), std::fs::read(&log).unwrap()))
            .collect();
        logs.sort();
        logs
    }
}

/// A process that does not outlive its test. What it runs dies with it.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most have ended by then.
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

pub(crate) fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether this process may make cgroups of its own.
pub(crate) fn has_cgroups() -> bool {
    let tree = OwnTree::establish(&HostRoot::default());
    if let Err(why) = &tree {
        eprintln!("no cgroups of our own here: {why}");
    }
    tree.is_ok()
}

/// A Job of one container that runs a shell script.
pub(crate) fn job(name: &str, spec: &str, script: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    format!(
        "
---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 0
  {spec}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, command: [sh, -c, {script}]}}]
"
    )
}

/// CPU and kernel peak of the pod, both by this method.
pub(crate) fn figures(record: &Record, method: Method) -> (f64, u64) {
    let cpu = record.usage.cpu_seconds.unwrap_or_else(|| panic!("no CPU: {record:#?}"));
    let peak = record.usage.memory_peak_bytes.unwrap_or_else(|| panic!("no peak: {record:#?}"));
    assert_eq!((cpu.method, peak.method), (method, method), "{record:#?}");
    (cpu.value, peak.value)
}
