//! A log that is whole: its pieces in order, handed over to be shipped. And what is copied, read to its end.

use std::{fs, io};

use jiff::Timestamp;
use jobmeter_protocol::Missing;

use super::{
    content::{first_time, head, length},
    names::PieceName,
    run::{Phase, Run},
    thread::Thread,
};
use crate::logs::{Piece, PieceForm, SealedLog};

impl Thread {
    /// Where there is no room on the channel it is offered again at the next look.
    pub(super) fn seal(&mut self, run: &mut Run, job: Option<bool>) {
        if self.sealed.is_closed() || self.sealed.capacity() == 0 {
            return;
        }
        let pieces = match in_order(run) {
            Ok(pieces) => pieces,
            Err(error) => return self.problem(run.dir.clone(), &error),
        };
        let raw_bytes = pieces.iter().map(|(name, bytes)| plain_bytes(run, name, *bytes)).sum();
        if let Some(done) = run.done.clone().filter(|done| raw_bytes < done.plain_bytes()) {
            tracing::error!(log = ?run.log, fate = ?done.fate, "a log grew after it was stored, and its beginning is gone: what is stored stays");
            self.metrics.lost.with_label_values(&["grown_after_upload"]).inc();
            return finish_again(run, self);
        }
        let sealed = SealedLog {
            log: run.log.clone(),
            directory: run.dir.clone(),
            pieces: pieces
                .iter()
                .map(|(name, bytes)| Piece { path: run.path(name), form: name.kind.form(), bytes: *bytes })
                .collect(),
            source: self.options.source,
            raw_bytes,
            missing: told(&run.state.missing),
            sealed_at: Timestamp::now(),
            job,
        };
        if self.sealed.try_send(sealed).is_err() {
            return;
        }
        self.metrics.sealed.inc();
        run.phase = Phase::Sealed { since: Timestamp::now(), pieces };
    }

    /// Reads what is copied to its end, a turn at a time. `false`: there is more.
    pub(super) fn catch_up(&mut self, run: &mut Run) -> bool {
        let mut all = true;
        let mut failed = None;
        for copying in run.pieces.iter_mut().filter_map(|piece| piece.copying.as_mut()) {
            match copying.turn() {
                Ok(_) => all &= copying.caught_up,
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.problem(run.dir.clone(), &error);
            return false;
        }
        all
    }

    /// What cannot be linked, once in a while.
    pub(super) fn copy(&mut self) {
        if self.full {
            return;
        }
        let mut failed = Vec::new();
        for run in self.pods.values_mut().flat_map(|pod| pod.runs.values_mut()) {
            for piece in &mut run.pieces {
                let Some(copying) = &mut piece.copying else { continue };
                match copying.turn().and_then(|_| copying.is_over()) {
                    Ok(true) => piece.copying = None,
                    Ok(false) => {}
                    Err(error) => failed.push((run.dir.clone(), error)),
                }
            }
        }
        failed.into_iter().for_each(|(path, error)| self.problem(path, &error));
    }

    pub(super) fn copies_wait(&self) -> bool {
        let mut runs = self.pods.values().flat_map(|pod| pod.runs.values());
        runs.any(|run| run.phase != Phase::Done && run.pieces.iter().any(|piece| piece.copying.is_some()))
    }

    pub(super) fn copies_are_behind(&self) -> bool {
        let mut pieces = self.pods.values().flat_map(|pod| pod.runs.values()).flat_map(|run| &run.pieces);
        !self.full && pieces.any(|piece| piece.copying.as_ref().is_some_and(|copying| !copying.caught_up))
    }

    /// After the first look around: what went while the agent was down is said. Copies whose source is not to be found any more
    /// end where they are.
    pub(super) fn mark_what_went_meanwhile(&mut self) {
        let mut failed = Vec::new();
        for run in self.pods.values_mut().flat_map(|pod| pod.runs.values_mut()) {
            let told = run
                .may_have_missed_files()
                .and_then(|may| if may { run.add_missing(MAY_LACK.to_owned(), None) } else { Ok(false) });
            match told {
                Ok(new) => self.metrics.lost.with_label_values(&["source_gone"]).inc_by(u64::from(new)),
                Err(error) => failed.push((run.dir.clone(), error)),
            }
            let resting = |piece: &&super::run::Held| piece.name.kind.is_copy() && piece.copying.is_none();
            let ends: Vec<PieceName> = run.pieces.iter().filter(resting).map(|piece| piece.name).collect();
            for name in ends {
                let bytes = fs::metadata(run.path(&name)).map_or(0, |metadata| metadata.len());
                let why = format!(
                    "a file that could only be copied went away while the agent was down: what it held after its first {bytes} \
                     bytes is not known"
                );
                match run.add_missing(why, None) {
                    Ok(new) => self.metrics.lost.with_label_values(&["source_gone"]).inc_by(u64::from(new)),
                    Err(error) => failed.push((run.dir.clone(), error)),
                }
            }
        }
        failed.into_iter().for_each(|(path, error)| self.problem(path, &error));
    }
}

/// Nobody knows whether there were any.
pub(super) const MAY_LACK: &str =
    "the agent was down while the kubelet rotated this log and removed old files: some may have come and gone unseen";

/// What is stored is better than what is here.
fn finish_again(run: &mut Run, thread: &mut Thread) {
    match run.let_go() {
        Ok(()) => run.phase = Phase::Done,
        Err(error) => thread.problem(run.dir.clone(), &error),
    }
}

/// What the kubelet has compressed since is not less for that.
fn plain_bytes(run: &Run, name: &PieceName, bytes: u64) -> u64 {
    match name.kind.form() {
        PieceForm::Plain => bytes,
        PieceForm::Gzip => length(&run.path(name), PieceForm::Gzip).map_or(bytes, u64::from),
    }
}

/// The coordinator takes a thousand holes; a store that is away for long can make more.
fn told(missing: &[Missing]) -> Vec<Missing> {
    const MOST: usize = 100;
    let (told, rest) = missing.split_at(missing.len().min(MOST));
    let more = rest.last().map(|last| Missing {
        why: format!("{} more such holes, the last: {}", rest.len(), last.why),
        raw_bytes: rest.iter().map(|hole| hole.raw_bytes).sum(),
    });
    told.iter().cloned().chain(more).collect()
}

/// By the time of the first line, then as captured: a file that was rotated while the directory was listed may have been seen
/// after its successor. What tells no time stays behind the one it came after.
fn in_order(run: &Run) -> io::Result<Vec<(PieceName, u64)>> {
    let mut known = Vec::new();
    let mut latest = Timestamp::MIN;
    for piece in &run.pieces {
        let path = run.path(&piece.name);
        // What cannot be read here is told by who reads all of it.
        let time = head(&path, piece.name.kind.form()).ok().and_then(|head| first_time(&head));
        latest = time.unwrap_or(latest);
        known.push((latest, piece.name, fs::metadata(&path)?.len()));
    }
    known.sort_by_key(|(time, name, _)| (*time, name.seq));
    Ok(known.into_iter().map(|(_, name, bytes)| (name, bytes)).collect())
}
