//! Names in the spool: `<namespace>_<pod>_<uid>/<container>/<attempt>/<seq>-<dev>-<ino>.<kind>`.

use std::{fmt, fs::Metadata, os::unix::fs::MetadataExt, path::PathBuf};

use jobmeter_hostfs::podlog::PodIdentity;
use jobmeter_protocol::LogId;
use serde::{Deserialize, Serialize};

use crate::logs::PieceForm;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileId {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), ino: metadata.ino() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A hard link.
    Log,
    /// A hard link to what the kubelet had compressed before it was seen.
    Gzip,
    /// Read through a descriptor, where link(2) is impossible.
    Copy,
    GzipCopy,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Log, Self::Gzip, Self::GzipCopy, Self::Copy];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Gzip => ".gz",
            Self::Copy => ".copy",
            Self::GzipCopy => ".gz.copy",
        }
    }

    pub(super) const fn is_copy(self) -> bool {
        matches!(self, Self::Copy | Self::GzipCopy)
    }

    pub(super) const fn form(self) -> PieceForm {
        match self {
            Self::Log | Self::Copy => PieceForm::Plain,
            Self::Gzip | Self::GzipCopy => PieceForm::Gzip,
        }
    }

    pub(super) const fn new(gzip: bool, copy: bool) -> Self {
        match (gzip, copy) {
            (false, false) => Self::Log,
            (true, false) => Self::Gzip,
            (false, true) => Self::Copy,
            (true, true) => Self::GzipCopy,
        }
    }
}

/// Ordered as captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PieceName {
    pub(super) seq: u32,
    /// Of the file that the kubelet had.
    pub(super) file: FileId,
    pub(super) kind: Kind,
}

impl fmt::Display for PieceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileId { dev, ino } = self.file;
        write!(formatter, "{:06}-{dev:x}-{ino}{}", self.seq, self.kind.suffix())
    }
}

pub(super) fn parse(name: &str) -> Option<PieceName> {
    let kind = Kind::ALL.into_iter().find(|kind| name.ends_with(kind.suffix()))?;
    let mut parts = name.strip_suffix(kind.suffix())?.split('-');
    let (seq, dev, ino) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let file = FileId { dev: u64::from_str_radix(dev, 16).ok()?, ino: ino.parse().ok()? };
    Some(PieceName { seq: seq.parse().ok()?, file, kind })
}

pub(super) fn pod_directory(pod: &PodIdentity) -> String {
    format!("{}_{}_{}", pod.namespace, pod.name, pod.pod_uid)
}

pub(super) fn run_directory(log: &LogId) -> PathBuf {
    let pod = format!("{}_{}_{}", log.namespace, log.pod, log.pod_uid);
    [pod, log.container.clone(), log.attempt.to_string()].iter().collect()
}

pub(super) fn log_id(pod: &PodIdentity, container: &str, attempt: u32) -> LogId {
    LogId {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        pod_uid: pod.pod_uid.clone(),
        container: container.to_owned(),
        attempt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_a_piece() {
        for kind in Kind::ALL {
            let name = PieceName { seq: 7, file: FileId { dev: 0xfe01, ino: 4711 }, kind };
            assert_eq!(parse(&name.to_string()), Some(name));
        }
        for other in ["state.json", "done.json", "ship.json", ".new", "1-2.log", "1-2-3-4.log", "x-2-3.log", "1-2-3.txt"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
