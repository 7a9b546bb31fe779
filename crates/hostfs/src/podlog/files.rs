//! The log files of a pod, as the kubelet names and rotates them: `<container>/<attempt>.log` is written to,
//! `<attempt>.log.<YYYYMMDD-HHMMSS>` was until that second of the node's local time, and `….gz` is the same, compressed.
//!
//! In: paths of directories. Out: what is there, in the order in which it was written. A directory that is not there is empty.

use std::{
    fmt, fs,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
};

use crate::{ReadError, file};

use super::PodIdentity;

/// Of one log file. The order is that of writing, within one container: attempts in turn, rotations by their time, the file
/// that is written to last of its attempt. A rotation comes right before its compressed form, while both exist: they hold the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    pub attempt: u32,
    pub stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Rotated {
        /// `YYYYMMDD-HHMMSS`.
        stamp: String,
        gzip: bool,
    },
    Current,
}

/// `None`: not a log, or one that is being compressed (`.tmp`). What is recognised prints as it was.
pub fn parse(file_name: &str) -> Option<LogName> {
    let (attempt, rest) = file_name.split_once(".log")?;
    let canonical = attempt == "0" || !attempt.starts_with('0');
    if !canonical || !attempt.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let attempt = attempt.parse().ok()?;
    if rest.is_empty() {
        return Some(LogName { attempt, stage: Stage::Current });
    }
    let stamp = rest.strip_prefix('.')?;
    let (stamp, gzip) = stamp.strip_suffix(".gz").map_or((stamp, false), |stamp| (stamp, true));
    is_stamp(stamp).then(|| LogName { attempt, stage: Stage::Rotated { stamp: stamp.to_owned(), gzip } })
}

fn is_stamp(text: &str) -> bool {
    text.len() == 15 && text.bytes().enumerate().all(|(n, byte)| if n == 8 { byte == b'-' } else { byte.is_ascii_digit() })
}

impl LogName {
    pub fn is_gzip(&self) -> bool {
        matches!(self.stage, Stage::Rotated { gzip: true, .. })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.log", self.attempt)?;
        match &self.stage {
            Stage::Current => Ok(()),
            Stage::Rotated { stamp, gzip } => write!(formatter, ".{stamp}{}", if *gzip { ".gz" } else { "" }),
        }
    }
}

/// One log file, as its directory lists it: it may have moved on since.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    pub name: LogName,
    pub path: PathBuf,
    /// Of the entry itself.
    pub inode: u64,
    /// Some runtimes keep the file elsewhere and put a symbolic link here.
    pub is_symlink: bool,
}

/// A directory with a name that means something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named<T> {
    pub name: T,
    pub path: PathBuf,
}

/// The log files of one container of one pod, in the order of [`LogName`].
pub fn list(container: &Path) -> Result<Vec<LogFile>, ReadError> {
    let mut files = each(container, |entry, name| {
        let is_symlink = match entry.file_type() {
            Ok(kind) if kind.is_dir() => return None,
            Ok(kind) => kind.is_symlink(),
            Err(_) => false,
        };
        Some(LogFile { name: parse(name)?, path: entry.path(), inode: entry.ino(), is_symlink })
    })?;
    files.sort_unstable();
    Ok(files)
}

/// The containers of one pod, by name.
pub fn containers(pod: &Path) -> Result<Vec<Named<String>>, ReadError> {
    let mut found = each(pod, |entry, name| is_directory(entry).then(|| Named { name: name.to_owned(), path: entry.path() }))?;
    found.sort_unstable();
    Ok(found)
}

/// The pods below a log directory, in no particular order.
pub fn pods(pod_logs: &Path) -> Result<Vec<Named<PodIdentity>>, ReadError> {
    each(pod_logs, |entry, name| {
        let name = super::parse(name).filter(|_| is_directory(entry))?;
        Some(Named { name, path: entry.path() })
    })
}

fn is_directory(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

/// Names that are not UTF-8 are none of the kubelet's.
fn each<T>(directory: &Path, mut what: impl FnMut(&fs::DirEntry, &str) -> Option<T>) -> Result<Vec<T>, ReadError> {
    let failed = |source: std::io::Error| ReadError::Io { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if file::is_absent(&source) => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => found.extend(entry.file_name().to_str().and_then(|name| what(&entry, name))),
            // The directory was removed while it was read.
            Err(source) if file::is_absent(&source) => break,
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn a_rotated_file_comes_before_the_one_that_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let written = [
            "0.log.20261120-235959.gz",
            "0.log.20261121-000007",
            "0.log.20261121-000007.gz",
            "0.log.20261121-000019",
            "0.log",
            "2.log",
            "10.log.20261121-000001",
            "10.log",
        ];
        for name in written.iter().rev().chain(&["0.log.20261121-000019.tmp", "cursor", "x.log", "01.log", "0.log.2026"]) {
            touch(&dir.path().join(name));
        }
        fs::create_dir(dir.path().join("3.log")).unwrap();
        let found = list(dir.path()).unwrap();
        let names: Vec<String> = found.iter().map(|file| file.name.to_string()).collect();
        assert_eq!(names, written);
        assert_eq!(found[0].path, dir.path().join(written[0]));
        assert!(found[0].name.is_gzip() && !found[1].name.is_gzip());
    }

    #[test]
    fn the_inode_is_the_same_after_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        touch(&dir.path().join("0.log"));
        let before = list(dir.path()).unwrap();
        fs::rename(dir.path().join("0.log"), dir.path().join("0.log.20261121-000019")).unwrap();
        touch(&dir.path().join("0.log"));
        let after = list(dir.path()).unwrap();
        assert_eq!(before[0].inode, after[0].inode);
        assert_ne!(after[0].inode, after[1].inode);
    }

    #[test]
    fn containers_and_pods_are_directories_with_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("batch_render-7_0f8e6c1a");
        touch(&pod.join("worker/0.log"));
        touch(&pod.join("setup/0.log"));
        touch(&pod.join("note"));
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        let found = containers(&pod).unwrap();
        assert_eq!(found.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["setup", "worker"]);
        assert_eq!(found[1].path, pod.join("worker"));
        let found = pods(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.name.as_str(), &found[0].path), ("render-7", &pod));
    }

    #[test]
    fn a_symbolic_link_is_told_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/elsewhere/abc-json.log", dir.path().join("0.log")).unwrap();
        assert!(list(dir.path()).unwrap()[0].is_symlink);
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let absent = Path::new("/nonexistent/pod");
        assert!(list(absent).unwrap().is_empty() && containers(absent).unwrap().is_empty() && pods(absent).unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn what_is_recognised_prints_as_it_was(name in "[0-9]{0,3}(\\.log)?(\\.[0-9]{6,8}-[0-9]{6})?(\\.gz|\\.tmp)?") {
            if let Some(found) = parse(&name) {
                proptest::prop_assert_eq!(found.to_string(), name);
            }
        }
    }
}
