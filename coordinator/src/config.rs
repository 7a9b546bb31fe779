//! What a coordinator is told: [`CoordinatorConfig`], validated and complete. [`written`] is how people write it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jobmeter_decide::chase::Deadlines;
use jobmeter_decide::metered::Scope;

use crate::auth::{Operators, Readers, Writers};
use crate::store::{Assembly, Place, Retention};
use export::{ArchiveConfig, PushgatewayConfig};
use logs::LogsConfig;
use objects::ObjectsConfig;
use pools::PoolsConfig;
use runs::RunsConfig;
use webhook::WebhookConfig;

pub mod export;
pub mod leadership;
pub mod logs;
pub mod objects;
pub mod pools;
pub mod runs;
pub mod store;
pub mod webhook;
pub mod written;

#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Made if it is not there.
    pub data_dir: PathBuf,
    /// `None`: [`DATABASE`] in the data directory.
    pub store: Option<Place>,
    pub scope: Scope,
    /// Cluster name, and what records keep of a pod's metadata.
    pub assembly: Assembly,
    pub retention: Retention,
    pub deadlines: Deadlines,
    pub writers: Writers,
    pub readers: Readers,
    /// Who may start, cancel and retry runs.
    pub operators: Operators,
    /// Namespaces and owner kinds that get a series of their own.
    pub max_series: usize,
    pub objects: ObjectsConfig,
    pub logs: LogsConfig,
    /// Where local jobs' logs grow; in a cluster the API server has them.
    pub live_logs: Option<PathBuf>,
    pub archive: ArchiveConfig,
    pub pushgateway: Option<PushgatewayConfig>,
    pub pools: PoolsConfig,
    /// `None`: there are no definitions of runs.
    pub runs: Option<RunsConfig>,
    /// `None`: nobody asks us what may be created.
    pub webhook: Option<WebhookConfig>,
}

/// Name of the database in the data directory.
pub const DATABASE: &str = "jobmeter.db";

pub const DEADLINES: Deadlines = Deadlines {
    agent_alive: Duration::from_secs(60),
    agent_silent: Duration::from_secs(300),
    heartbeat: Duration::from_secs(30),
};

pub const MAX_SERIES: usize = 500;

impl CoordinatorConfig {
    /// For `jobmeter run` and `jobmeter standalone`: the agent is in the same process, nobody reports over HTTP, and the
    /// listener is on loopback.
    pub fn standalone(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            store: None,
            scope: Scope::default(),
            assembly: Assembly::default(),
            retention: Retention::default(),
            deadlines: DEADLINES,
            writers: Writers::InProcess,
            readers: Readers::Open,
            operators: Operators::Nobody,
            max_series: MAX_SERIES,
            objects: ObjectsConfig::standalone(data_dir),
            logs: LogsConfig::default(),
            live_logs: Some(data_dir.join("pods")),
            archive: ArchiveConfig::default(),
            pushgateway: None,
            pools: PoolsConfig::default(),
            runs: None,
            webhook: None,
        }
    }

    /// Where records are kept.
    pub fn place(&self) -> Place {
        self.store.clone().unwrap_or_else(|| Place::File(self.database()))
    }

    /// The file of the data directory.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join(DATABASE)
    }
}
