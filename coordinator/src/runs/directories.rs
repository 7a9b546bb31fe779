//! The report directories of the runs of this term: there before a run's first pod, gone with the run.
//!
//! In: runs. Out: directories, or a sentence why not. Owner: the steps. Disks block, so each call has a thread of its own, and nobody
//! waits for it longer than [`PATIENCE`].

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jobmeter_protocol::runs::RunSettings;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::reports::ReportDirectory;

/// For a disk over the network that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Directories {
    /// By run.
    begun: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl Directories {
    /// Once for each run of this term; tried again by the next pod where it failed.
    pub(super) async fn begin(&self, settings: &RunSettings, run: &str) -> Result<(), String> {
        let begun = self.lock().entry(run.to_owned()).or_default().clone();
        let reports = ReportDirectory::of(settings, run);
        let make = async || blocking("make", &reports, ReportDirectory::begin).await;
        begun.get_or_try_init(make).await.map(|_| ())
    }

    pub(super) async fn forget(&self, settings: &RunSettings, run: &str) -> Result<(), String> {
        self.lock().remove(run);
        blocking("remove", &ReportDirectory::of(settings, run), ReportDirectory::forget).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OnceCell<()>>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking(
    verb: &str,
    reports: &ReportDirectory,
    call: impl FnOnce(&ReportDirectory) -> io::Result<()> + Send + 'static,
) -> Result<(), String> {
    let of = reports.clone();
    let failed = |why: String| format!("failed to {verb} the report directory {}: {why}", reports.path().display());
    match timeout(PATIENCE, tokio::task::spawn_blocking(move || call(&of))).await {
        Ok(Ok(done)) => done.map_err(|err| failed(err.to_string())),
        Ok(Err(panicked)) => Err(failed(panicked.to_string())),
        Err(_) => Err(failed(format!("the disk did not answer within {} seconds", PATIENCE.as_secs()))),
    }
}
