//! Room on the disk: what the spool alone keeps alive is bounded, and the file system is never filled. What is given up first is
//! decided in `jobmeter_decide::logs::spool`; here it is measured and done.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use jiff::Timestamp;
use jobmeter_decide::logs::spool::{GiveUp, Limits, Piece, Run as Spooled, relieve, used};
use jobmeter_protocol::Missing;
use nix::sys::statvfs::statvfs;

use super::{
    names::PieceName,
    run::{Phase, Run, absent_is_fine},
    thread::Thread,
};

/// Where a piece is: its pod, its run, itself.
type Id = (String, (String, u32), PieceName);

impl Thread {
    pub(super) fn keep_room(&mut self) {
        let spooled = self.spooled();
        let held = used(&spooled);
        self.metrics.spool_bytes.set(i64::try_from(held).unwrap_or(i64::MAX));
        let (free, all) = match room(&self.options.spool) {
            Ok(room) => room,
            Err(error) => return self.problem(self.options.spool.clone(), &error),
        };
        let limits = Limits { spool_bytes: self.options.max_bytes, free_floor: self.options.min_free.min(all / 20) };
        let relief = relieve(&spooled, &limits, free);
        // What is copied takes room at once; links only when the kubelet lets go.
        self.full = relief.short > 0 || held >= limits.spool_bytes || free <= limits.free_floor;
        for given_up in relief.give_up {
            self.give_up(&given_up);
        }
    }

    fn spooled(&self) -> Vec<Spooled<Id>> {
        let mut found = Vec::new();
        for (name, pod) in &self.pods {
            for (key, run) in pod.runs.iter().filter(|(_, run)| run.phase != Phase::Done) {
                let sealed = match run.phase {
                    Phase::Sealed { since, .. } => Some(since),
                    _ => None,
                };
                // What went meanwhile takes no room.
                let pieces = run.pieces.iter().filter_map(|piece| {
                    let metadata = fs::metadata(run.path(&piece.name)).ok()?;
                    Some(Piece {
                        id: (name.clone(), key.clone(), piece.name),
                        bytes: metadata.len(),
                        // Nobody writes down when it came; when it was written to tells which is older as well.
                        captured: metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default(),
                        last_holder: metadata.nlink() == 1,
                    })
                });
                found.push(Spooled { job: pod.job == Some(true), sealed, pieces: pieces.collect() });
            }
        }
        found
    }

    fn give_up(&mut self, piece: &GiveUp<Id>) {
        let (pod, key, name) = &piece.id;
        let Some(run) = self.pods.get_mut(pod).and_then(|pod| pod.runs.get_mut(key)) else { return };
        let (log, dir) = (run.log.clone(), run.dir.clone());
        let outcome = give_up(run, name, piece);
        tracing::error!(?log, worth = piece.worth.as_str(), why = piece.why, "a piece of a log is given up");
        self.metrics.lost.with_label_values(&["spool_full"]).inc();
        self.inbox.known().lost.add(log, piece.why.clone());
        if let Err(error) = outcome {
            self.problem(dir, &error);
        }
    }
}

/// The hole is written down before the bytes go, but where no room is left for that: then right after. Who ships the log finds a
/// piece missing, and it is sealed again.
fn give_up(run: &mut Run, name: &PieceName, piece: &GiveUp<Id>) -> io::Result<()> {
    let before = run.state.clone();
    if name.kind.is_copy() {
        let file = run.pieces.iter().find(|held| held.name == *name).map(|held| held.file);
        run.state.given_up.extend(file);
    }
    // Two pieces of one size are two holes.
    run.state.missing.push(Missing { why: piece.why.clone(), raw_bytes: Some(piece.bytes) });
    let written = run.save_state();
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    if let Err(error) = written.as_ref()
        && !full(error)
    {
        run.state = before;
        return written;
    }
    run.pieces.retain(|held| held.name != *name);
    absent_is_fine(fs::remove_file(run.path(name)))?;
    written.or_else(|_full| run.save_state())
}

/// Of the file system: what is free, and all there is.
fn room(path: &Path) -> io::Result<(u64, u64)> {
    let of = statvfs(path).map_err(io::Error::from)?;
    let size: u64 = of.fragment_size();
    Ok((size.saturating_mul(of.blocks_available()), size.saturating_mul(of.blocks())))
}
