//! What the agent is to do: as it is written (YAML, flags, environment), and as it is meant, checked in full.

mod written;

use std::path::PathBuf;

use jobmeter_decide::{
    books::{Limits, Pace},
    metered::Scope,
};
use jobmeter_hostfs::HostRoot;

pub use written::{ConfigFile, Resolved};

use crate::{keeper::KeeperPace, logs::LogsOptions, metrics::SeriesOptions, sampler::SamplerOptions, watch::Trees};

/// Checked, and the same as long as the agent runs.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    pub node: String,
    pub host: HostRoot,
    /// Where the journal is. Survives the agent; on the node's own disk.
    pub state_dir: PathBuf,
    pub trees: Trees,
    pub realtime_priority: Option<u8>,
    pub scope: Scope,
    pub sampling: SamplerOptions,
    pub keeper: KeeperPace,
    pub books: Pace,
    pub limits: Limits,
    pub series: SeriesOptions,
    /// History that the journal may carry before it is rewritten.
    pub journal_slack: u64,
    pub logs: LogsOptions,
}

impl AgentConfig {
    /// Defaults for a node with no trees to watch: give it some.
    pub fn new(node: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        let host = HostRoot::local();
        Self {
            node: node.into(),
            logs: LogsOptions::of(&host),
            host,
            state_dir: state_dir.into(),
            trees: Trees::default(),
            realtime_priority: Some(DEFAULT_PRIORITY),
            scope: Scope::default(),
            sampling: SamplerOptions::default(),
            keeper: KeeperPace::default(),
            books: Pace::default(),
            limits: Limits::default(),
            series: SeriesOptions::default(),
            journal_slack: 4 * 1024 * 1024,
        }
    }
}

/// Above every ordinary thread, below the kernel's own.
const DEFAULT_PRIORITY: u8 = 10;
