//! What the capture of logs is to do. In: the configuration. Out: nothing; it is read at start.

use std::{path::PathBuf, time::Duration};

use jobmeter_hostfs::HostRoot;
use jobmeter_logtext::SourceFormat;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsOptions {
    pub enabled: bool,
    /// On the same mount as the pods' logs: elsewhere there are copies in place of links.
    pub spool: PathBuf,
    /// How whoever runs the containers writes them.
    pub source: SourceFormat,
    /// What the spool may hold that nobody else holds any more.
    pub max_bytes: u64,
    /// What is left free of the file system, but never more than 5 % of it is asked for.
    pub min_free: u64,
    /// Logs that are uploaded at a time.
    pub concurrency: usize,
    /// All directories are looked at this often, whatever inotify says.
    pub rescan: Duration,
    /// How long a pod that nobody calls a job is kept for, once the API's list was seen.
    pub undecided: Duration,
}

impl LogsOptions {
    pub fn new(spool: impl Into<PathBuf>) -> Self {
        Self {
            enabled: true,
            spool: spool.into(),
            source: SourceFormat::Detect,
            max_bytes: 4 << 30,
            min_free: 1 << 30,
            concurrency: 4,
            rescan: Duration::from_secs(30),
            undecided: Duration::from_secs(600),
        }
    }

    pub fn of(host: &HostRoot) -> Self {
        Self::new(host.spool.clone())
    }
}
