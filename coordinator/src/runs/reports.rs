//! Report files of runs on the disk, as batch-job-controller lays them out: `<directory>/<run>/<node>.json`, `<node>-<file>`,
//! `<node>-container-<container>.log`, and `latest` beside the runs. Names are reduced to safe ones before they come here.
//!
//! In: a run, names, bytes. Out: files that are whole and durable, or not there. What is not a run's is left alone: such a
//! directory may be the root of a volume.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use jobmeter_protocol::runs::RunSettings;

pub(crate) use files::{Fresh, RunFiles};

mod files;

/// Beside the runs: the one that began last.
pub const LATEST: &str = "latest";

/// Of one run.
#[derive(Clone, Debug)]
pub struct ReportDirectory {
    parent: PathBuf,
    run: String,
    /// `<directory>/<run>`.
    path: PathBuf,
}

impl ReportDirectory {
    pub fn of(settings: &RunSettings, run: &str) -> Self {
        let parent = PathBuf::from(&settings.report_directory);
        Self { path: parent.join(run), run: run.to_owned(), parent }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The result of a node.
    pub fn result(&self, node: &str) -> PathBuf {
        self.path.join(result_name(node))
    }

    /// Where the log of a container is saved, if it is.
    pub fn container_log(&self, node: &str, container: &str) -> PathBuf {
        self.path.join(log_name(node, container))
    }

    /// Makes it, and points `latest` to it unless that points to a later run. May be called again: what a process left unfinished
    /// goes. Blocks.
    pub fn begin(&self) -> io::Result<()> {
        self.files()?;
        files::remove_stale(&self.path).map_err(|err| about(&self.path, err))?;
        self.point_latest().map_err(|err| about(&self.parent.join(LATEST), err))
    }

    /// Removes it; a `latest` that points to it goes too. One that is not there is no error. Blocks.
    pub fn forget(&self) -> io::Result<()> {
        if !is_run(&self.run) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("{:?} is no ID of a run", self.run)));
        }
        let latest = self.parent.join(LATEST);
        if fs::read_link(&latest).is_ok_and(|target| target.as_os_str() == self.run.as_str()) {
            gone_is_fine(fs::remove_file(&latest)).map_err(|err| about(&latest, err))?;
        }
        // Follows no symbolic link; one in the place of the directory is removed itself.
        gone_is_fine(fs::remove_dir_all(&self.path)).map_err(|err| about(&self.path, err))
    }

    /// To write into it; it is made if it is not there (any more).
    pub(crate) fn files(&self) -> io::Result<RunFiles> {
        if !is_run(&self.run) {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("{:?} is no ID of a run", self.run)));
        }
        DirBuilder::new().recursive(true).mode(0o755).create(&self.parent).map_err(|err| about(&self.parent, err))?;
        RunFiles::open(&self.parent, &self.run).map_err(|err| about(&self.path, err))
    }

    fn point_latest(&self) -> io::Result<()> {
        let latest = self.parent.join(LATEST);
        match fs::symlink_metadata(&latest) {
            Ok(found) if !found.is_symlink() => {
                tracing::warn!(path = %latest.display(), "this is no symbolic link, so it is left as it is");
                return Ok(());
            }
            Ok(_) => {
                let target = fs::read_link(&latest)?;
                // IDs sort by time. A run that is taken up again after a restart is not the latest for that.
                if target.to_str().is_some_and(|target| is_run(target) && target >= self.run.as_str()) {
                    return Ok(());
                }
            }
            Err(err) if err.kind() == ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        // There is a `latest` at every moment.
        let fresh = self.parent.join(format!(".{LATEST}-{}", uuid::Uuid::new_v4()));
        symlink(&self.run, &fresh)?;
        if let Err(err) = fs::rename(&fresh, &latest) {
            gone_is_fine(fs::remove_file(&fresh))?;
            return Err(err);
        }
        File::open(&self.parent)?.sync_all()
    }
}

/// Digits: nothing else in a report directory is ours.
pub(crate) fn is_run(name: &str) -> bool {
    (12..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn result_name(node: &str) -> String {
    format!("{node}.json")
}

/// Of a result that came after that of a later attempt.
pub(crate) fn late_result_name(node: &str, attempt: u32) -> String {
    format!("{node}-attempt-{attempt}.json")
}

pub(crate) fn log_name(node: &str, container: &str) -> String {
    format!("{node}-container-{container}.log")
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn about(path: &Path, err: io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}

#[cfg(test)]
mod tests;
