//! How much a run may still send: what it has sent, as the snapshot says, and what is under way.
//!
//! In: what somebody is about to write. Out: a reservation, which lasts until the snapshot has what was written, or a refusal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jobmeter_protocol::runs::StoredRun;

use super::gate::Admitted;
use crate::config::runs::CallbacksConfig;
use crate::runs::RunsView;

/// Of one node: who wants more has a loop in its script.
const MAX_EVENTS: u32 = 1_000;
/// So much at a time is reserved for a body of unknown length.
const STRIDE: u64 = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OverQuota {
    #[error("the files of run {run} may have {max} bytes together, and no {wanted} more are left")]
    RunBytes { run: String, max: u64, wanted: u64 },
    #[error("node {node} has posted {max} files in run {run}; more are not taken")]
    NodeFiles { run: String, node: String, max: u32 },
    #[error("node {node} has posted {MAX_EVENTS} events in run {run}; more are not taken")]
    Events { run: String, node: String },
}

#[derive(Debug, Default)]
pub(super) struct Quota {
    /// By run.
    under_way: Mutex<BTreeMap<String, UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    bytes: u64,
    /// By node.
    files: BTreeMap<String, u32>,
    events: BTreeMap<String, u32>,
    reservations: u32,
}

/// Of one request. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    quota: Arc<Quota>,
    runs: RunsView,
    run: String,
    node: String,
    max_bytes: u64,
    max_files: u32,
    bytes: u64,
    files: u32,
    events: u32,
}

impl Quota {
    pub(super) fn begin(self: &Arc<Self>, config: &CallbacksConfig, runs: &RunsView, admitted: &Admitted) -> Reservation {
        let (run, node) = (admitted.id().to_owned(), admitted.node.clone());
        self.change(&run, |under_way| under_way.reservations += 1);
        Reservation {
            quota: self.clone(),
            runs: runs.clone(),
            run,
            node,
            max_bytes: config.max_run_bytes,
            max_files: config.max_node_files,
            bytes: 0,
            files: 0,
            events: 0,
        }
    }

    fn change<T>(&self, run: &str, change: impl FnOnce(&mut UnderWay) -> T) -> T {
        let mut runs = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(runs.entry(run.to_owned()).or_default());
        if runs.get(run).is_some_and(|under_way| under_way.reservations == 0) {
            runs.remove(run);
        }
        changed
    }
}

impl Reservation {
    pub(super) fn file(&mut self) -> Result<(), OverQuota> {
        let taken = self.quota.change(&self.run, |under_way| {
            let posted = self.stored().and_then(|run| Some(run.nodes.get(&self.node)?.files)).unwrap_or(0);
            let files = under_way.files.entry(self.node.clone()).or_default();
            let fits = posted.saturating_add(*files) < self.max_files;
            *files += u32::from(fits);
            fits
        });
        if !taken {
            return Err(OverQuota::NodeFiles { run: self.run.clone(), node: self.node.clone(), max: self.max_files });
        }
        self.files += 1;
        Ok(())
    }

    pub(super) fn event(&mut self) -> Result<(), OverQuota> {
        let taken = self.quota.change(&self.run, |under_way| {
            let posted = self.stored().and_then(|run| Some(run.nodes.get(&self.node)?.events)).unwrap_or(0);
            let events = under_way.events.entry(self.node.clone()).or_default();
            let fits = posted.saturating_add(*events) < MAX_EVENTS;
            *events += u32::from(fits);
            fits
        });
        if !taken {
            return Err(OverQuota::Events { run: self.run.clone(), node: self.node.clone() });
        }
        self.events += 1;
        Ok(())
    }

    /// So many bytes are announced.
    pub(super) fn announced(&mut self, bytes: u64) -> Result<(), OverQuota> {
        let wanted = bytes.saturating_sub(self.bytes);
        match wanted == 0 || self.take(wanted) {
            true => Ok(()),
            false => Err(OverQuota::RunBytes { run: self.run.clone(), max: self.max_bytes, wanted }),
        }
    }

    /// So many bytes in all are about to be written.
    pub(super) fn reach(&mut self, bytes: u64) -> Result<(), OverQuota> {
        let wanted = bytes.saturating_sub(self.bytes);
        if wanted > 0 && wanted < STRIDE && self.take(STRIDE) {
            return Ok(());
        }
        self.announced(bytes)
    }

    fn take(&mut self, bytes: u64) -> bool {
        // Within the lock: whoever gives back has been counted in the snapshot before.
        let fits = self.quota.change(&self.run, |under_way| {
            let posted =
                self.stored().map_or(0, |run| run.nodes.values().fold(0, |sum: u64, node| sum.saturating_add(node.file_bytes)));
            let fits = posted.saturating_add(under_way.bytes).saturating_add(bytes) <= self.max_bytes;
            under_way.bytes += if fits { bytes } else { 0 };
            fits
        });
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    fn stored(&self) -> Option<Arc<StoredRun>> {
        self.runs.snapshot().ok()?.runs.get(&self.run).cloned()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Self { node, bytes, files, events, .. } = &*self;
        self.quota.change(&self.run, |under_way| {
            under_way.reservations -= 1;
            under_way.bytes -= bytes;
            for (counts, count) in [(&mut under_way.files, files), (&mut under_way.events, events)] {
                if let Some(under_way) = counts.get_mut(node) {
                    *under_way -= count;
                }
                counts.retain(|_, count| *count > 0);
            }
        });
    }
}
