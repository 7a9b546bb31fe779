//! The command line of `jobmeter-agent`, and what it runs.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Parser;
use jobmeter_daemon::{
    admin::{self, Admin},
    config, exit,
    http::{self, ServeOptions},
    logging,
    supervise::Supervisor,
};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    config::{ConfigFile, Resolved},
    guard::{self, Role},
    pods::cluster,
    start::start,
    uplink::HttpUplink,
};

/// Pods that the API server may announce in one go.
const POD_EVENTS: usize = 1_024;

/// Keeps the books of every job pod on its node.
#[derive(Debug, Parser)]
#[command(name = "jobmeter-agent", version)]
struct Args {
    /// YAML file; every key of it has a default.
    #[arg(long, env = "JOBMETER_CONFIG")]
    config: Option<PathBuf>,
    /// Name of this node, as the API server knows it.
    #[arg(long, env = "JOBMETER_NODE")]
    node: Option<String>,
    /// Address of the coordinator, such as http://jobmeter-coordinator.jobmeter.svc:8080.
    #[arg(long, env = "JOBMETER_COORDINATOR_URL")]
    coordinator_url: Option<String>,
    /// File with the token for the coordinator.
    #[arg(long, env = "JOBMETER_COORDINATOR_TOKEN_FILE")]
    coordinator_token_file: Option<PathBuf>,
    /// Where /metrics, /status, /livez and /readyz are served.
    #[arg(long, env = "JOBMETER_LISTEN")]
    listen: Option<std::net::SocketAddr>,
    /// Where the journal is kept.
    #[arg(long, env = "JOBMETER_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// In place of the ServiceAccount of the agent's pod.
    #[arg(long, env = "JOBMETER_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Address of the API server in place of the configured one.
    #[arg(long, env = "JOBMETER_KUBERNETES_SERVER")]
    kubernetes_server: Option<String>,
    /// `--cgroup-root` of this node's kubelet.
    #[arg(long, env = "JOBMETER_CGROUP_ROOT")]
    cgroup_root: Option<String>,
    /// UID of the agent's own pod, by which it knows its node's tree of cgroups.
    #[arg(long, env = "JOBMETER_POD_UID")]
    pod_uid: Option<String>,
    /// Log filter, such as info or info,jobmeter_agent=debug.
    #[arg(long, env = "JOBMETER_LOG")]
    log: Option<String>,
    /// One JSON object for each line of the log.
    #[arg(long, env = "JOBMETER_LOG_FORMAT", value_enum)]
    log_format: Option<logging::LogFormat>,
    /// Print the configuration as it would be used, and stop.
    #[arg(long)]
    print_config: bool,
    /// Check the configuration, and stop.
    #[arg(long)]
    check_config: bool,
    /// Run without the parent process that starts the agent again when it is killed.
    #[arg(long, env = "JOBMETER_NO_GUARD")]
    no_guard: bool,
}

/// The whole program.
pub fn main() -> ExitCode {
    let args = match exit::parse_args::<Args>() {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    // Before the first thread: the guard is to stay as small as it is now.
    match guard::take_role(args.no_guard || args.print_config || args.check_config) {
        Role::Agent => {}
        Role::Guard(code) => return code,
    }
    exit::run(&mut tokio::runtime::Builder::new_current_thread(), run(args))
}

async fn run(args: Args) -> anyhow::Result<exit::Code> {
    let (print, check) = (args.print_config, args.check_config);
    let file = args.over(ConfigFile::default())?;
    if print {
        println!("{}", serde_json::to_string_pretty(&file)?);
        return Ok(exit::Code::Done);
    }
    let log = file.log.clone();
    let resolved = file.resolve()?;
    if check {
        return Ok(exit::Code::Done);
    }
    logging::init(log.format, &log.filter)?;
    serve(resolved).await
}

async fn serve(config: Resolved) -> anyhow::Result<exit::Code> {
    let mut supervisor = Supervisor::new(config.grace.get());
    let uplink = Arc::new(HttpUplink::new(config.uplink)?);
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("failed to listen on {}", config.listen))?;
    let (events, pods) = mpsc::channel(POD_EVENTS);
    let node = config.agent.node.clone();
    let agent = start(config.agent, pods, uplink.clone(), Some(uplink), &mut supervisor)?;
    for capability in agent.capabilities() {
        tracing::info!(capability = capability.name, state = ?capability.state, detail = capability.detail, "can measure");
    }
    let client = cluster::connect(&config.cluster).await?;
    let gate = agent.readiness().gate("pods");
    let stop = supervisor.token();
    let watch = cluster::watch(client, node, events, agent.sources(), gate);
    supervisor.spawn("pods", async move {
        // Cancel-safe: what the watch had in hand is listed again by the next agent.
        tokio::select! {
            outcome = watch => outcome,
            () = stop.cancelled() => Ok(()),
        }
    });
    let router =
        admin::router(Admin { registries: vec![agent.registry()], sources: agent.sources(), readiness: agent.readiness() });
    supervisor.spawn("admin", http::serve(listener, router, ServeOptions::default(), supervisor.token()));
    Ok(supervisor.run().await)
}

impl Args {
    /// Flags (and their environment) go before the file, the file before the defaults.
    fn over(self, defaults: ConfigFile) -> anyhow::Result<ConfigFile> {
        let mut file = match &self.config {
            Some(path) => config::load(path)?,
            None => defaults,
        };
        set(&mut file.node, self.node);
        set(&mut file.coordinator.url, self.coordinator_url);
        set(&mut file.coordinator.token_file, self.coordinator_token_file);
        set(&mut file.listen, self.listen);
        set(&mut file.state_dir, self.state_dir);
        set(&mut file.kubernetes.kubeconfig, self.kubeconfig);
        set(&mut file.kubernetes.server, self.kubernetes_server);
        set(&mut file.kubernetes.cgroup_root, self.cgroup_root);
        set(&mut file.kubernetes.pod_uid, self.pod_uid);
        set(&mut file.log.filter, self.log);
        set(&mut file.log.format, self.log_format);
        Ok(file)
    }
}

fn set<T>(key: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *key = value;
    }
}
