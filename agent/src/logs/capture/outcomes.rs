//! How an upload ended, and what the spool does about it.

use std::fs;

use jiff::Timestamp;
use jobmeter_protocol::LogId;

use super::{
    content::{head, length},
    names::{FileId, PieceName, pod_directory},
    run::{Phase, Run},
    saved::{Done, DonePiece, Fate},
    thread::Thread,
};
use crate::logs::Outcome;

impl Thread {
    pub(super) fn take_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored { log, key, raw_bytes } => self.finish(&log, Fate::Stored { key }, Some(raw_bytes)),
            Outcome::NotAJob { log, why } => {
                tracing::debug!(?log, why, "a log is no job's; it is dropped");
                self.finish(&log, Fate::Dropped { why: format!("its pod is no job: {why}") }, None);
            }
            Outcome::Rejected { log, why } => {
                tracing::error!(?log, why, "the coordinator refuses a log for good; it is dropped");
                self.metrics.lost.with_label_values(&["rejected"]).inc();
                self.finish(&log, Fate::Dropped { why: format!("the coordinator refused it: {why}") }, None);
            }
            Outcome::Unreadable { log, why } => self.unreadable(&log, &why),
        }
    }

    /// What was stored is written down before anything of it goes: the kubelet's files are there still, and not to be captured
    /// anew.
    fn finish(&mut self, log: &LogId, fate: Fate, raw_bytes: Option<u64>) {
        let Some(run) = self.run_of(log) else { return };
        let Phase::Sealed { pieces, .. } = &run.phase else { return };
        let pieces = pieces.clone();
        if matches!(fate, Fate::Stored { .. }) && has_more_than(run, &pieces) {
            tracing::info!(?log, "a log grew after it was sealed; it is sealed again");
            run.phase = Phase::Open;
            return;
        }
        let raw_bytes = raw_bytes.unwrap_or_else(|| pieces.iter().map(|(_, bytes)| bytes).sum());
        let done = Done { fate, raw_bytes, pieces: described(run, &pieces), at: Timestamp::now() };
        let dir = run.dir.clone();
        run.done = Some(done);
        run.phase = Phase::Done;
        // Where it cannot be written the pieces stay; it is tried again at each look.
        let written = run.settle();
        if let Err(error) = written {
            self.problem(dir, &error);
        }
    }

    /// Pieces that are there and cannot be read are a hole; the rest is sealed anew.
    fn unreadable(&mut self, log: &LogId, why: &str) {
        let Some(run) = self.run_of(log) else { return };
        let (dir, mut failed, mut lost) = (run.dir.clone(), None, 0);
        let bad: Vec<PieceName> = run.pieces.iter().map(|piece| piece.name).filter(|name| !can_be_read(run, name)).collect();
        for name in bad {
            let bytes = fs::metadata(run.path(&name)).ok().map(|metadata| metadata.len());
            match run.add_missing(format!("a piece of it could not be read on the node: {why}"), bytes) {
                Ok(_) => {
                    run.pieces.retain(|piece| piece.name != name);
                    lost += 1;
                    failed = super::run::absent_is_fine(fs::remove_file(run.path(&name))).err().or(failed);
                }
                Err(error) => failed = Some(error),
            }
        }
        run.phase = Phase::Open;
        tracing::error!(?log, why, pieces = lost, "pieces of a log cannot be read; it is sealed again without them");
        self.metrics.lost.with_label_values(&["unreadable"]).inc_by(lost);
        if let Some(error) = failed {
            self.problem(dir, &error);
        }
    }

    fn run_of(&mut self, log: &LogId) -> Option<&mut Run> {
        let directory = self.directory_of(log);
        self.pods.get_mut(&directory)?.runs.get_mut(&(log.container.clone(), log.attempt))
    }

    fn directory_of(&self, log: &LogId) -> String {
        pod_directory(&jobmeter_hostfs::podlog::PodIdentity {
            namespace: log.namespace.clone(),
            name: log.pod.clone(),
            pod_uid: log.pod_uid.clone(),
        })
    }
}

/// A piece that was given up while it was uploaded is in the store all the same: to seal the rest would cost it.
fn has_more_than(run: &Run, sealed: &[(PieceName, u64)]) -> bool {
    let bytes = |name: &PieceName| fs::metadata(run.path(name)).ok().map(|now| now.len());
    run.pieces.iter().any(|piece| !sealed.iter().any(|(name, then)| *name == piece.name && bytes(name) == Some(*then)))
}

fn described(run: &Run, sealed: &[(PieceName, u64)]) -> Vec<DonePiece> {
    let known = |name: &PieceName| run.pieces.iter().find(|piece| piece.name == *name);
    let file = |name: &PieceName| known(name).map_or(FileId { dev: 0, ino: 0 }, |piece| piece.file);
    let describe = |(name, bytes): &(PieceName, u64)| {
        let (path, form) = (run.path(name), name.kind.form());
        // What cannot be read matches nothing.
        let head = head(&path, form).map_or(0, |head| crc32fast::hash(&head));
        let length = length(&path, form).unwrap_or_default();
        DonePiece { file: file(name), bytes: *bytes, head, length }
    };
    sealed.iter().map(describe).collect()
}

/// By its beginning: this thread has links to make, and what is damaged further on the shipper tells as a hole.
fn can_be_read(run: &Run, name: &PieceName) -> bool {
    head(&run.path(name), name.kind.form()).is_ok()
}
