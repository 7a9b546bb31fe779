//! The coordinator as a process of its own: arguments and configuration, the API server, the listener.

use jobmeter_daemon::error::chain;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jobmeter_daemon::exit::{self, Code, Usage};
use jobmeter_daemon::http::{ServeOptions, serve};
use jobmeter_daemon::process_metrics::{self, ProcessUsage};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_daemon::{config as files, logging};
use jobmeter_hostfs::{HostRoot, self_usage};
use tokio::net::TcpListener;

use crate::callbacks::listeners::{self, ListenerParts};
use crate::config::pools;
use crate::config::written::{Args, Written};
use crate::runs::definition::{Defaults, directory};
use crate::start::replica::{self, Replica};
use crate::start::{Base, start};
use crate::{CoordinatorConfig, PodSource};

/// For the connection only; a watch lives longer.
const CONNECT: Duration = Duration::from_secs(10);

pub fn main() -> ExitCode {
    match exit::parse_args::<Args>() {
        Ok(args) => exit::run(&mut tokio::runtime::Builder::new_multi_thread(), run(args)),
        Err(code) => code.into(),
    }
}

async fn run(args: Args) -> anyhow::Result<Code> {
    let written = match &args.config {
        Some(path) => files::load::<Written>(path)?,
        None => files::parse::<Written>("", Path::new("(no configuration file)"))?,
    };
    if args.check_config {
        return check(written, &args);
    }
    let config = written.resolve(&args)?;
    logging::init(config.log_format, &config.log_filter)?;
    // kube builds its TLS on ring; two providers in one process would be an error.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }

    let supervisor = Supervisor::new(config.grace);
    let client = client().await?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("failed to listen on {}", config.listen))?;
    tracing::info!(listen = %config.listen, version = env!("CARGO_PKG_VERSION"), "coordinator started");
    match config.leadership {
        Some(leadership) => {
            let base = Base::default();
            register_process(&base.registry)?;
            let replica = Replica { config: config.coordinator, leadership, client, base, listener };
            replica::run(replica, supervisor).await
        }
        None => alone(config.coordinator, client, listener, supervisor).await,
    }
}

/// Also what is read later, and again: a pools file or a definition that is wrong would keep nobody from starting.
fn check(written: Written, args: &Args) -> anyhow::Result<Code> {
    // It may come later.
    let file = written.pools_file.clone().filter(|file| !file.as_os_str().is_empty() && file.exists());
    let pools = file.and_then(|file| pools::load(&file).err()).map(|wrong| chain(&wrong));
    let directory = written.runs.directory.clone().filter(|path| path.is_dir());
    let (runs, config) = match written.resolve(args) {
        Ok(resolved) => (resolved.coordinator.runs, None),
        Err(wrong) => (None, Some(wrong.to_string())),
    };
    let definitions = directory.map(|path| directory::read(&path, &sample(runs.map(|runs| runs.defaults)))).unwrap_or_default();
    let wrong: Vec<String> = config.into_iter().chain(pools).chain(definitions.problems).collect();
    if wrong.is_empty() { Ok(Code::Done) } else { Err(Usage(wrong.join("\n")).into()) }
}

/// Who checks a configuration is mostly not where it will hold, so what is only known there is nobody's mistake.
fn sample(defaults: Option<Defaults>) -> Defaults {
    let mut defaults = defaults.unwrap_or_default();
    if defaults.namespace.is_empty() {
        "default".clone_into(&mut defaults.namespace);
    }
    defaults
}

/// It leads without asking: whoever configures it so knows that there is no other.
async fn alone(
    config: CoordinatorConfig,
    client: kube::Client,
    listener: TcpListener,
    mut supervisor: Supervisor,
) -> anyhow::Result<Code> {
    let ports = config.runs.as_ref().map(|runs| runs.ports.clone());
    let coordinator = start(config, PodSource::Kube(client), &mut supervisor).context("failed to start the coordinator")?;
    register_process(&coordinator.registry())?;
    if let Some(ports) = ports {
        let (listen, sources) = (listener.local_addr()?, coordinator.admin().sources);
        let parts = ListenerParts { ports, listen, behind: coordinator.router(), sources };
        listeners::start(parts, &mut supervisor).follow(coordinator.runs().clone());
    }
    supervisor.spawn("http", serve(listener, coordinator.router(), ServeOptions::default(), supervisor.token()));
    let code = supervisor.run().await;
    replica::close(coordinator.store()).await?;
    Ok(code)
}

async fn client() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer().await.context("failed to find out how to reach the API server")?;
    config.connect_timeout = Some(CONNECT);
    // The watches back off by themselves, and every other call is repeated by who needs it.
    config.default_retry = false;
    kube::Client::try_from(config).context("failed to make a client for the API server")
}

fn register_process(registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
    let host = HostRoot::local();
    process_metrics::register(registry, "jobmeter_coordinator", move || match self_usage::read(&host) {
        Ok(usage) => Some(ProcessUsage {
            cpu_seconds: usage.cpu_seconds,
            resident_bytes: usage.resident_bytes,
            open_fds: usage.open_descriptors,
            start_time_seconds: usage.started_seconds,
        }),
        Err(err) => {
            tracing::debug!(error = &err as &dyn std::error::Error, "failed to read what this process costs");
            None
        }
    })
}
