//! Coordinator, agent and executor of one machine, in this process and over one data directory.
//!
//! In: the data directory, the pool, where to listen. Out: handles on the three, and a [`Keeper`] that owns their tasks.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jobmeter_agent::logs::LogsOptions;
use jobmeter_agent::uplink::LogUplink;
use jobmeter_agent::{AgentConfig, AgentHandle};
use jobmeter_coordinator::auth::Readers;
use jobmeter_coordinator::execute::local::{
    self, BACKOFF_BASE, BACKOFF_CAP, ExecutorEvent, Forker, LocalExecutor, LocalOptions, LocalPools, Streams, submit_route,
};
use jobmeter_coordinator::{CoordinatorConfig, CoordinatorHandle, PodSource};
use jobmeter_daemon::admin::{self, Admin};
use jobmeter_daemon::exit::Code;
use jobmeter_daemon::http::{self, ServeOptions};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_daemon::token::TokenFile;
use jobmeter_decide::local::Settings;
use jobmeter_hostfs::own_tree::OwnTree;
use jobmeter_hostfs::{HostRoot, machine};
use jobmeter_logtext::SourceFormat;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::DataDir;
use super::link::{InProcess, Link};
use crate::exit::Usage;

/// From the executor to the world and to the agent: a burst of a hundred pods that end at once.
const NEWS: usize = 256;
/// For what is left to write once the jobs are over.
const GRACE: Duration = Duration::from_secs(10);

/// The coordinator is in this process: somebody who watches a job is to see it move.
const HEARTBEAT: Duration = Duration::from_secs(1);
const LIVE_REPORT: Duration = Duration::from_secs(2);

pub(crate) struct StackOptions {
    pub(crate) data_dir: PathBuf,
    pub(crate) pool: Option<NonZeroUsize>,
    /// The file of the named pools, as a coordinator of a cluster reads it.
    pub(crate) pools: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    /// Whether `listen` may be reachable from elsewhere. Then reading asks for the token, too.
    pub(crate) allow_remote: bool,
    pub(crate) streams: Streams,
    /// Directory with the fields of an object store's Secret, one file each; without it logs go to the data directory.
    pub(crate) object_store_secret: Option<PathBuf>,
}

pub(crate) struct Stack {
    pub(crate) data_dir: DataDir,
    pub(crate) executor: LocalExecutor,
    pub(crate) events: mpsc::Receiver<ExecutorEvent>,
    pub(crate) coordinator: CoordinatorHandle,
    /// Why the agent's last report could not be stored.
    pub(crate) store_trouble: watch::Receiver<Option<String>>,
    /// Where it listens.
    pub(crate) address: Option<SocketAddr>,
    /// What the figures are read from.
    pub(crate) how: String,
    /// A sentence for people: why there are none, and what would help.
    pub(crate) missing_cgroups: Option<String>,
}

/// Owns the tasks of a stack.
pub(crate) struct Keeper {
    supervisor: Supervisor,
}

impl Stack {
    pub(crate) async fn start(options: StackOptions, forker: Forker) -> anyhow::Result<(Self, Keeper)> {
        let data_dir = DataDir::create(&options.data_dir)?;
        if let Some(secret) = options.object_store_secret.as_ref().filter(|secret| !secret.is_dir()) {
            return Err(Usage(format!("--object-store-secret: {} is no directory", secret.display())).into());
        }
        // Before anything is started: a wrong file or address is the user's mistake.
        let pools = match &options.pools {
            Some(file) => jobmeter_coordinator::config::pools::load(file).map_err(|error| Usage(format!("--pools: {error}")))?,
            None => Vec::new(),
        };
        let listener = match options.listen {
            Some(address) => Some(listen(address, options.allow_remote).await?),
            None => None,
        };
        let host = HostRoot::default();
        let node = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "localhost".into());
        let mut supervisor = Supervisor::without_signals(GRACE);

        let (world, pods) = mpsc::channel(NEWS);
        let mut config = CoordinatorConfig::standalone(data_dir.path());
        config.objects.secret_dir = options.object_store_secret.clone();
        if options.allow_remote {
            config.readers = Readers::token(data_dir.ensure_token()?);
        }
        let coordinator = jobmeter_coordinator::start(config, PodSource::Local(pods), &mut supervisor)
            .with_context(|| format!("the data directory {} cannot be used", data_dir.path().display()))?;

        // After the store's lock: a second process on this data directory ends before it touches any cgroup.
        let establish = {
            let (host, data_dir) = (host.clone(), data_dir.path().to_owned());
            move || OwnTree::establish_for(&host, &data_dir)
        };
        let tree = tokio::task::spawn_blocking(establish).await?;
        let (how, missing_cgroups) = match &tree {
            Ok(tree) => (tree.describe(), None),
            Err(refusal) => (
                "wait4 and sampling of /proc".to_owned(),
                // The refusal says what would help.
                Some(format!("no cgroups of our own ({refusal}): CPU comes from wait4, memory from wait4 and sampling")),
            ),
        };
        let tree = tree.ok();

        let (agent_news, agent_pods) = mpsc::channel(NEWS);
        let mut config = AgentConfig::new(node.clone(), data_dir.journal());
        config.keeper.heartbeat = HEARTBEAT;
        config.books.report = LIVE_REPORT;
        config.trees.local = tree.as_ref().map(|tree| tree.root().to_owned());
        let (trouble, store_trouble) = watch::channel(None);
        let uplink = Arc::new(InProcess { coordinator: coordinator.clone(), trouble });
        config.host.pod_logs = data_dir.pods();
        config.logs = LogsOptions { source: SourceFormat::Plain, ..LogsOptions::new(data_dir.spool()) };
        // A command that is run in place writes to our own streams: there is nothing to capture but what was left here.
        let logs =
            (options.streams == Streams::Log || data_dir.has_logs_of_pods()).then(|| Arc::clone(&uplink) as Arc<dyn LogUplink>);
        let agent =
            jobmeter_agent::start(config, agent_pods, uplink, logs, &mut supervisor).context("failed to start the agent")?;

        let cores = machine::cpu_count(&host).context("failed to count the cores")?;
        let options_local = LocalOptions {
            node,
            settings: Settings {
                pool: options.pool.map_or(usize::try_from(cores)?, NonZeroUsize::get),
                backoff_base: BACKOFF_BASE,
                backoff_cap: BACKOFF_CAP,
            },
            pools,
            log_root: data_dir.pods(),
            cgroups: tree,
            streams: options.streams,
            node_millicores: u64::from(cores) * 1000,
            node_memory_bytes: machine::memory_total(&host).context("failed to read the size of the memory")?,
        };
        let link = Link { agent: agent.clone(), news: agent_news };
        let pools = LocalPools::of(&coordinator, options.pools);
        let (executor, events) = local::start(options_local, forker, Arc::new(link), world, pools, &mut supervisor)?;

        let mut address = None;
        if let Some(listener) = listener {
            address = Some(listener.local_addr().context("failed to read the address of the listener")?);
            let router = router(&coordinator, &agent, &executor, &data_dir)?;
            supervisor.spawn("http", http::serve(listener, router, ServeOptions::default(), supervisor.token()));
        }
        let stack = Self { data_dir, executor, events, coordinator, store_trouble, address, how, missing_cgroups };
        Ok((stack, Keeper { supervisor }))
    }
}

impl Keeper {
    /// Does the work while the tasks run, then ends them. A task that dies ends the work.
    pub(crate) async fn until<T>(self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let token = self.supervisor.token();
        let tasks = self.supervisor.run();
        tokio::pin!(tasks, work);
        // Both arms are pinned and go on below where they are needed.
        let done = tokio::select! {
            code = &mut tasks => return Err(TaskDied(code).into()),
            done = &mut work => done,
        };
        token.cancel();
        match (done, tasks.await) {
            (Ok(value), Code::Done) => Ok(value),
            (Ok(_), code) => Err(TaskDied(code).into()),
            (Err(error), _) => Err(error),
        }
    }
}

/// What failed stands in the log, above.
#[derive(Debug, thiserror::Error)]
#[error("a part of jobmeter failed")]
pub(crate) struct TaskDied(pub(crate) Code);

async fn listen(address: SocketAddr, allow_remote: bool) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() && !allow_remote {
        return Err(Usage(format!(
            "{address} can be reached from other machines; whoever has the token could run commands here. Listen on 127.0.0.1, \
             or allow it with `jobmeter standalone --allow-remote`"
        ))
        .into());
    }
    TcpListener::bind(address).await.map_err(|error| Usage(format!("failed to listen on {address}: {error}")).into())
}

/// Both processes' worth of answers on one port.
fn router(
    coordinator: &CoordinatorHandle,
    agent: &AgentHandle,
    executor: &LocalExecutor,
    data_dir: &DataDir,
) -> anyhow::Result<axum::Router> {
    let own = coordinator.admin();
    let registries = own.registries.iter().cloned().chain([agent.registry()]).collect();
    let token = Arc::new(TokenFile::new(data_dir.ensure_token()?));
    Ok(admin::router(Admin { registries, ..own }).merge(coordinator.api_router()).merge(submit_route(
        executor.clone(),
        token,
        coordinator.clone(),
    )))
}
