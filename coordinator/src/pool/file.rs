//! Reads the pools file again whenever it changes. In: a path, looked at every two seconds. Out: the pools. Owner: one task for a
//! term ([`merged`](super::merged)), or the local executor.
//!
//! A file that is wrong, or that was there and is gone, changes nothing: the pools stay as they were, and it is said.

use jobmeter_daemon::error::chain;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_decide::pool::PoolSettings;
use tokio::time::{Interval, MissedTickBehavior};

use crate::config::pools;
use crate::metrics::Metrics;

/// How often the file is looked at.
pub const LOOK: Duration = Duration::from_secs(2);
/// On the board of sources.
const SOURCE: &str = "pools";

/// Whose pools follow a file: the pool task in a cluster, the executor on one machine.
pub(crate) struct PoolsFile {
    path: PathBuf,
    ticks: Interval,
    /// What was read last and could be used.
    last: Option<Version>,
    /// What was last said to be wrong.
    trouble: Option<String>,
    /// Then a file that is gone is a mistake.
    had_pools: bool,
    sources: SourceBoard,
    metrics: Metrics,
}

/// Whatever differs when a ConfigMap's link is swapped, or somebody writes the file: of the file behind all links.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Absent,
    File { path: PathBuf, device: u64, inode: u64, length: u64, modified: (i64, i64) },
    Unreadable(String),
}

impl PoolsFile {
    /// To be called within a tokio runtime. `had_pools`: the file was read before.
    pub(crate) fn new(path: PathBuf, had_pools: bool, sources: SourceBoard, metrics: Metrics) -> Self {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { path, ticks, last: None, trouble: None, had_pools, sources, metrics }
    }

    /// What the file says, as soon as it says something new that can be used. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Vec<PoolSettings> {
        loop {
            self.ticks.tick().await;
            // Before it is read: a change in between is then noticed the next time.
            let version = version(&self.path);
            if self.last.as_ref() == Some(&version) {
                continue;
            }
            let read = self.read(&version, self.had_pools);
            match read {
                Ok(pools) => {
                    (self.last, self.trouble) = (Some(version), None);
                    self.had_pools |= !pools.is_empty();
                    return pools;
                }
                // It is read again: the trouble may be the disk's.
                Err(error) if self.trouble.as_ref() == Some(&error) => {}
                Err(error) => {
                    self.trouble = Some(error.clone());
                    self.metrics.pool_file_error();
                    tracing::error!(file = %self.path.display(), error, "the pools file cannot be used; the pools stay as they were");
                    self.sources.set(SOURCE, SourceState::Failed { error });
                }
            }
        }
    }

    fn read(&self, version: &Version, had_pools: bool) -> Result<Vec<PoolSettings>, String> {
        match version {
            Version::Absent if had_pools => Err(format!("{} is gone; the pools stay as they were", self.path.display())),
            Version::Absent => {
                self.sources.set_with_detail(
                    SOURCE,
                    SourceState::Active,
                    format!("no pools: there is no {}", self.path.display()),
                );
                Ok(Vec::new())
            }
            Version::Unreadable(why) => Err(why.clone()),
            Version::File { .. } => {
                let pools = pools::load(&self.path).map_err(|err| chain(&err))?;
                self.sources.set_with_detail(SOURCE, SourceState::Active, described(&pools, &self.path));
                Ok(pools)
            }
        }
    }
}

fn described(pools: &[PoolSettings], path: &Path) -> String {
    let names: Vec<String> = pools.iter().take(20).map(|pool| format!("{} ({})", pool.name, pool.size)).collect();
    let more = if pools.len() > names.len() { format!(" and {} more", pools.len() - names.len()) } else { String::new() };
    format!("{} of {}: {}{more}", pools.len(), path.display(), names.join(", "))
}

fn version(path: &Path) -> Version {
    let read = || -> io::Result<Version> {
        let path = path.canonicalize()?;
        let meta = path.metadata()?;
        let modified = (meta.mtime(), meta.mtime_nsec());
        Ok(Version::File { path, device: meta.dev(), inode: meta.ino(), length: meta.len(), modified })
    };
    read().unwrap_or_else(|err| match err.kind() {
        ErrorKind::NotFound => Version::Absent,
        _ => Version::Unreadable(format!("failed to look at {}: {err}", path.display())),
    })
}
