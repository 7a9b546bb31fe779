//! What is in the spool, in memory: a start reads it back from the directories.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use jobmeter_hostfs::podlog::{self, PodIdentity};
use jobmeter_protocol::LogId;

use super::{
    names::{log_id, pod_directory, run_directory},
    run::{Run, absent_is_fine},
};

/// One pod, by the name of its directory here and in the kubelet's tree.
pub(super) struct Pod {
    pub(super) identity: PodIdentity,
    /// By container and attempt.
    pub(super) runs: BTreeMap<(String, u32), Run>,
    pub(super) job: Option<bool>,
    pub(super) since: Instant,
    /// Not a job: nothing of it is linked, until somebody says otherwise.
    pub(super) left_alone: bool,
    /// It was left alone for a time, and its links were dropped.
    pub(super) came_back: bool,
}

impl Pod {
    pub(super) fn new(identity: PodIdentity) -> Self {
        Self { identity, runs: BTreeMap::new(), job: None, since: Instant::now(), left_alone: false, came_back: false }
    }

    pub(super) fn run(&mut self, spool: &Path, container: &str, attempt: u32) -> &mut Run {
        let identity = &self.identity;
        self.runs.entry((container.to_owned(), attempt)).or_insert_with(|| {
            let log = log_id(identity, container, attempt);
            let dir = spool.join(run_directory(&log));
            Run::new(log, dir)
        })
    }
}

pub(super) type Pods = BTreeMap<String, Pod>;

/// Problems cost the run that has them, and are told.
pub(super) fn load(spool: &Path, problem: &mut dyn FnMut(PathBuf, &(dyn std::error::Error + 'static))) -> io::Result<Pods> {
    fs::create_dir_all(spool)?;
    let mut pods = Pods::new();
    for (name, path) in directories(spool)? {
        let Some(identity) = podlog::parse(&name) else { continue };
        let mut pod = Pod::new(identity);
        for (container, path) in told(directories(&path), &path, problem) {
            for (attempt, path) in told(directories(&path), &path, problem) {
                let Ok(attempt) = attempt.parse() else { continue };
                match Run::load(log_id(&pod.identity, &container, attempt), path.clone()) {
                    Ok(run) => drop(pod.runs.insert((container.clone(), attempt), run)),
                    Err(error) => problem(path, &error),
                }
            }
        }
        pods.insert(pod_directory(&pod.identity), pod);
    }
    Ok(pods)
}

fn told<T: Default>(
    outcome: io::Result<T>,
    path: &Path,
    problem: &mut dyn FnMut(PathBuf, &(dyn std::error::Error + 'static)),
) -> T {
    outcome.unwrap_or_else(|error| {
        problem(path.to_owned(), &error);
        T::default()
    })
}

fn directories(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Some(name) = entry.file_name().to_str()
        {
            found.push((name.to_owned(), entry.path()));
        }
    }
    Ok(found)
}

/// Of a run, a container or a pod, with what is empty above it.
pub(super) fn remove_empty(spool: &Path, log: &LogId) -> io::Result<()> {
    let mut path = spool.join(run_directory(log));
    while path != spool {
        match fs::remove_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            outcome => absent_is_fine(outcome)?,
        }
        if !path.pop() {
            break;
        }
    }
    Ok(())
}
