//! Where answers come from: a coordinator over HTTP, the same through the API server's service proxy, or a local data
//! directory opened for reading. One set of questions for all three.

mod args;
mod choose;
mod local;
mod logs;
mod operator;
mod paging;
mod paths;
mod proxy;
mod runs;
mod server;

use std::path::PathBuf;

use jobmeter_protocol::{Job, LivePod, NodeStatus, Page, PoolDetail, PoolStatus, Record, RecordQuery};
use serde::de::DeserializeOwned;

pub use self::args::{CHOICE_HELP, SourceArgs, with_choice};
pub use self::choose::{Choice, ChoiceError, CoordinatorService, LOCAL_DATA_DIR, Place, Surroundings, choose};
pub use self::logs::{LogAnswer, LogBytes, LogText};
pub use self::paging::PAGE_SIZE;
pub use self::runs::RunId;
pub(crate) use self::server::sentence;

use self::local::Local;
use self::paths::Path;
use self::proxy::Proxy;
use self::server::Server;

/// A place that was chosen and can be asked.
pub struct Source {
    kind: Kind,
    /// What a person would call it, with the reason of the choice: the beginning of every error.
    pub name: String,
    /// The namespace to ask for where the user named none; `None` is all of them.
    pub default_namespace: Option<String>,
}

/// What a question about pools is about.
const POOLS: &str = "who is in a pool";

enum Kind {
    Remote(Remote),
    Local(Local),
}

/// A coordinator that speaks HTTP, by one way or another.
enum Remote {
    Server(Server),
    Proxy(Box<Proxy>),
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    #[error("failed to ask {name}")]
    Server {
        name: String,
        #[source]
        source: server::ServerError,
    },
    #[error("failed to ask {name}")]
    Proxy {
        name: String,
        #[source]
        source: Box<proxy::ProxyError>,
    },
    #[error("failed to read {name}")]
    Local {
        name: String,
        #[source]
        source: Box<local::LocalError>,
    },
    #[error("failed to ask the `jobmeter standalone` that announced itself in {}; if it has ended, nothing runs", directory.display())]
    LocalServer {
        directory: PathBuf,
        #[source]
        source: server::ServerError,
    },
    #[error(
        "{what} is known only to a coordinator that is running, and {} is a directory of records: name the coordinator with \
         --server http://HOST:PORT (`jobmeter standalone` prints its address)",
        directory.display()
    )]
    NeedsCoordinator { what: &'static str, directory: PathBuf },
    #[error(
        "node runs are kept by a coordinator in a cluster, and {} is a directory of records of this machine: name the cluster with \
         --context or --kubeconfig, or its coordinator with --server",
        directory.display()
    )]
    NoRuns { directory: PathBuf },
    #[error("failed to write the request")]
    Request(#[source] serde_json::Error),
}

impl Source {
    /// Chooses by the rule of [`choose`] and makes ready to ask; of the network only what a kubeconfig's helpers need.
    pub async fn open(args: &SourceArgs) -> Result<Self, SourceError> {
        let choice = choose(args, &Surroundings::of_process())?;
        let name = choice.to_string();
        let (kind, context_namespace) = match choice.place {
            Place::Server(url) => {
                let server = Server::new(url, args).map_err(|source| SourceError::Server { name: name.clone(), source })?;
                (Kind::Remote(Remote::Server(server)), None)
            }
            Place::Proxy(service) => {
                let proxy = Proxy::new(service, args)
                    .await
                    .map_err(|source| SourceError::Proxy { name: name.clone(), source: Box::new(source) })?;
                let namespace = proxy.context_namespace.clone();
                (Kind::Remote(Remote::Proxy(Box::new(proxy))), Some(namespace))
            }
            Place::Local(directory) => {
                let local = Local::open(directory)
                    .map_err(|source| SourceError::Local { name: name.clone(), source: Box::new(source) })?;
                (Kind::Local(local), None)
            }
        };
        Ok(Self { kind, name, default_namespace: args.namespace_or(context_namespace) })
    }

    pub async fn records(&self, query: &RecordQuery) -> Result<Page<Record>, SourceError> {
        match &self.kind {
            Kind::Local(local) => local.records(query).await.map_err(|source| self.local_error(source)),
            Kind::Remote(remote) => self.get(remote, &Path::records(query)).await,
        }
    }

    pub async fn jobs(&self, query: &RecordQuery) -> Result<Page<Job>, SourceError> {
        match &self.kind {
            Kind::Local(local) => local.jobs(query).await.map_err(|source| self.local_error(source)),
            Kind::Remote(remote) => self.get(remote, &Path::jobs(query)).await,
        }
    }

    pub async fn nodes(&self) -> Result<Vec<NodeStatus>, SourceError> {
        self.get_live(&Path::nodes(), "what the nodes can measure").await
    }

    /// Job pods that run now.
    pub async fn live(&self, namespace: Option<&str>) -> Result<Vec<LivePod>, SourceError> {
        let mut pods: Vec<LivePod> = self.get_live(&Path::live(), "what runs now").await?;
        pods.retain(|pod| namespace.is_none_or(|namespace| pod.namespace == namespace));
        Ok(pods)
    }

    /// Pools of the whole cluster: no namespace narrows them.
    pub async fn pools(&self) -> Result<Vec<PoolStatus>, SourceError> {
        self.get_live(&Path::pools(), POOLS).await
    }

    /// `limit`: of those in it, and of those that wait.
    pub async fn pool(&self, name: &str, limit: u32) -> Result<PoolDetail, SourceError> {
        self.get_live(&Path::pool(name, limit), POOLS).await
    }

    /// What the coordinator says of itself: `/status`.
    pub(crate) async fn status<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        self.get_live(&Path::status(), "how a coordinator does").await
    }

    /// The API server behind the coordinator, where it is asked through one, and the coordinator's namespace.
    pub(crate) fn kubernetes(&self) -> Option<(kube::Client, &str)> {
        match &self.kind {
            Kind::Remote(Remote::Proxy(proxy)) => Some((proxy.client(), proxy.namespace())),
            Kind::Remote(Remote::Server(_)) | Kind::Local(_) => None,
        }
    }

    /// What is in no database: of a data directory, the process that writes it is asked, where it serves.
    async fn get_live<T: DeserializeOwned>(&self, path: &Path, what: &'static str) -> Result<T, SourceError> {
        let local = match &self.kind {
            Kind::Remote(remote) => return self.get(remote, path).await,
            Kind::Local(local) => local,
        };
        let directory = || local.directory().to_owned();
        let Some(server) = local.announced() else {
            return Err(SourceError::NeedsCoordinator { what, directory: directory() });
        };
        server.get(path).await.map_err(|source| SourceError::LocalServer { directory: directory(), source })
    }

    async fn get<T: DeserializeOwned>(&self, remote: &Remote, path: &Path) -> Result<T, SourceError> {
        let name = || self.name.clone();
        match remote {
            Remote::Server(server) => server.get(path).await.map_err(|source| SourceError::Server { name: name(), source }),
            Remote::Proxy(proxy) => {
                proxy.get(path).await.map_err(|source| SourceError::Proxy { name: name(), source: Box::new(source) })
            }
        }
    }

    fn local_error(&self, source: local::LocalError) -> SourceError {
        SourceError::Local { name: self.name.clone(), source: Box::new(source) }
    }
}
