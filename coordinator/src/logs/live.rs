//! Logs of pods that are still there: what the object store does not have yet.
//!
//! In a cluster the API server reads them (`pods/log`); on one machine they are files.

use std::path::PathBuf;

use jobmeter_protocol::{LogId, LogRead};

use crate::objects::ByteStream;
use crate::store::Store;

mod directory;
mod kube;

/// Where they come from. Cheap to clone.
#[derive(Clone)]
pub enum LiveLogs {
    Kube(::kube::Client),
    /// `<path>/<namespace>_<pod>_<uid>/<container>/<attempt>.log`, the containers' own bytes.
    Directory(PathBuf),
    /// Nobody runs anything: only what is stored is there.
    Nowhere,
}

/// One run of a container of a pod that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRun {
    pub log: LogId,
    /// The run that the container is in now, or was in last.
    pub newest: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("{why}")]
    NotThere { why: String },
    #[error("the API server forbids to read the log of pod {namespace}/{pod}: {why}")]
    Forbidden { namespace: String, pod: String, why: String },
    #[error("failed to read the live log of {log}")]
    Failed {
        log: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

type Opened = (ByteStream, Option<&'static str>);

impl LiveLogs {
    /// The bytes, and what was asked for and could not be done.
    pub(super) async fn open(&self, store: &Store, run: LiveRun, query: &LogRead) -> Result<Opened, LiveError> {
        match self {
            Self::Kube(client) => kube::open(client, run, query).await.map(|body| (body, None)),
            Self::Directory(root) => directory::open(root, store, run.log, query).await,
            Self::Nowhere => Err(LiveError::NotThere { why: "only stored logs can be read here".to_owned() }),
        }
    }
}
