//! The records in a local data directory, read while a run writes them or after it.

mod logs;

use std::path::{Path, PathBuf};

use jobmeter_coordinator::Store;
use jobmeter_coordinator::config::DATABASE;
use jobmeter_protocol::{Job, Page, Record, RecordQuery};

use super::server::Server;
use crate::run::DataDir;

pub(super) struct Local {
    directory: PathBuf,
    store: Store,
}

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("there is no directory {}: `jobmeter run` and `jobmeter standalone` make one; --data-dir names another", .0.display())]
    NoDirectory(PathBuf),
    #[error("{} holds no records ({DATABASE} is missing): nothing was run with this data directory yet", .0.display())]
    NoRecords(PathBuf),
    #[error("failed to open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: Box<jobmeter_coordinator::store::OpenError>,
    },
    #[error("failed to read the log")]
    Log(#[source] Box<jobmeter_coordinator::logs::read::ReadError>),
    #[error(transparent)]
    Query(#[from] jobmeter_coordinator::store::StoreError),
}

impl Local {
    pub(super) fn open(directory: PathBuf) -> Result<Self, LocalError> {
        let path = directory.join(DATABASE);
        if !path.exists() {
            return Err(match directory.is_dir() {
                true => LocalError::NoRecords(directory),
                false => LocalError::NoDirectory(directory),
            });
        }
        let store =
            Store::open_read_only(Path::new(&path)).map_err(|source| LocalError::Open { path, source: Box::new(source) })?;
        Ok(Self { directory, store })
    }

    pub(super) async fn records(&self, query: &RecordQuery) -> Result<Page<Record>, LocalError> {
        Ok(self.store.records(query).await?)
    }

    pub(super) async fn jobs(&self, query: &RecordQuery) -> Result<Page<Job>, LocalError> {
        Ok(self.store.jobs(query).await?)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The `jobmeter standalone` that serves this directory, if one left its address there.
    pub(super) fn announced(&self) -> Option<Server> {
        let files = DataDir::at(&self.directory);
        let address = std::fs::read_to_string(files.address()).ok()?.trim().parse().ok()?;
        let token = std::fs::read_to_string(files.token()).ok();
        Server::with_token(address, token).ok()
    }
}
