//! `jobmeter run`, `standalone` and `submit` as processes. With cgroups where this machine gives them; then the figures
//! must be the kernel's.
// Clippy takes the helpers of tests for ordinary code.
#![allow(clippy::unwrap_used, clippy::panic)]

mod accuracy;
mod command;
mod crash;
mod files;
mod full_disk;
mod logs;
mod pools;
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

    /// Stored logs by `<namespace>/<job>/<pod>.log`, with their bytes.
    pub(crate) fn logs(&self) -> Vec<(String, Vec<u8>)> {
        let root = self.data().join("logs");
        let list =
            |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        let files = list(&root).iter().flat_map(|namespace| list(namespace)).flat_map(|job| list(&job)).collect::<Vec<_>>();
        let logs = files.into_iter().filter(|file| file.extension().is_some_and(|suffix| suffix == "log"));
        let name = |log: &Path| log.strip_prefix(&root).unwrap().display().to_string();
        let mut logs: Vec<_> = logs.map(|log| (name(&log), std::fs::read(&log).unwrap())).collect();
        logs.sort();
        logs
    }

    /// Directories of pods whose logs are not stored.
    pub(crate) fn live(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.data().join("pods")).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    /// Until a container runs that has written so much.
    pub(crate) fn await_output(&self, bytes: u64) {
        let wrote = |pod: &PathBuf| std::fs::metadata(pod.join("main/0.log")).is_ok_and(|log| log.len() >= bytes);
        while !self.live().iter().any(wrote) {
            std::thread::yield_now();
        }
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
