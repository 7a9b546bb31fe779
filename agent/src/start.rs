//! Puts an agent together and hands its tasks to a supervisor: the one way in, for the DaemonSet and for standalone use.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jobmeter_daemon::{
    admin::{Readiness, SourceBoard, SourceState},
    process_metrics::{self, ProcessUsage},
    supervise::Supervisor,
};
use jobmeter_decide::{
    books::{Books, Options, Step},
    shipping::Limits,
};
use jobmeter_hostfs::{
    HostRoot, ReadError,
    capability::{ProbeOptions, probe},
    cgroup::Layout,
    machine, self_usage,
};
use jobmeter_protocol::{Capability, NodeStatus, PodEvidence};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot};

use crate::{
    config::AgentConfig,
    journal::{Journal, OpenError, Replay},
    keeper::{FinalError, Inbox, Keeper, Request},
    logs::{
        Capture, ShipMetrics, ShipOptions, Shipper,
        capture::{self, CaptureEnds},
    },
    metrics::{CaptureMetrics, JobSeries, OwnMetrics},
    pods::PodEvent,
    sampler::Sampler,
    uplink::{LogUplink, Uplink},
    watch::{KernelEvent, Watch, WatchError, WatchOptions},
};

/// The watcher coalesces when it is full: room for the ends of a thousand containers at once.
const KERNEL_EVENTS: usize = 4_096;
/// Starts and stops of pods, while the sampler is in a round of some milliseconds.
const SAMPLER_COMMANDS: usize = 256;
/// Two rounds over as many pods as a node may have; what does not fit is dropped and counted.
const SAMPLES: usize = 512;
/// Pods that an executor removes at once.
const REQUESTS: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to start the kernel watcher")]
    Watch(#[from] WatchError),
    #[error("failed to open the journal")]
    Journal(#[from] OpenError),
    #[error("failed to learn what machine this is")]
    Machine(#[from] ReadError),
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// What the rest of the process needs of its agent.
#[derive(Clone)]
pub struct AgentHandle {
    requests: mpsc::Sender<Request>,
    registry: Registry,
    capabilities: Vec<Capability>,
    sources: SourceBoard,
    readiness: Readiness,
    logs: Option<Capture>,
}

/// Call it within a runtime. Without a way for logs there is no capture of them.
pub fn start(
    config: AgentConfig,
    pods: mpsc::Receiver<PodEvent>,
    uplink: Arc<dyn Uplink>,
    logs_uplink: Option<Arc<dyn LogUplink>>,
    supervisor: &mut Supervisor,
) -> Result<AgentHandle, StartError> {
    let now = Timestamp::now();
    let (sources, readiness, registry) = (SourceBoard::default(), Readiness::default(), Registry::new());
    // First of all: pods come and go while the rest of the agent gets ready.
    let logs = start_capture(&config, logs_uplink.is_some(), &registry, &sources)?;
    let metrics = OwnMetrics::register(&registry)?;
    let host = config.host.clone();
    process_metrics::register(&registry, "jobmeter_agent", move || own_usage(&host))?;

    let boot_id = machine::boot_id(&config.host)?;
    let gate = readiness.gate("journal");
    let (journal, replay) = Journal::open(&config.state_dir, config.journal_slack, metrics.journal.clone(), gate)?;
    let (watch, kernel) = start_watch(&config, &sources, &readiness)?;
    let mut capabilities = capabilities(&config, watch.as_ref());
    if logs_uplink.is_some() && config.logs.enabled {
        capabilities.push(capture::probe(&config.host.pod_logs, &config.logs.spool));
    }

    let mut books = Books::new(options(&config, &boot_id), now);
    let begin = restore(&mut books, replay, now);
    let books = Arc::new(Mutex::new(books));
    if let Some((logs, _)) = &logs {
        logs.judge_by(Arc::<Mutex<Books>>::clone(&books));
    }
    let series = JobSeries::new(config.series, Arc::clone(&books), metrics.series_dropped.clone())?;
    registry.register(Box::new(series.clone()))?;

    let (sampler, commands) = mpsc::channel(SAMPLER_COMMANDS);
    let (looks, samples) = mpsc::channel(SAMPLES);
    let (requests, asked) = mpsc::channel(REQUESTS);
    // Without a hierarchy there are processes to look at all the same.
    let layout = Layout::discover(&config.host).ok().map(Arc::new);
    let eye = Sampler::new(&config.host, layout, config.sampling.clone(), (commands, looks), metrics.clone());
    let keeper = Keeper {
        books,
        journal,
        watch,
        sampler,
        uplink,
        status: NodeStatus {
            node: config.node.clone(),
            boot_id,
            kernel: machine::kernel_release(&config.host)?,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: capabilities.clone(),
            last_heartbeat: now,
        },
        host: config.host,
        pace: config.keeper,
        metrics,
        series,
        sources: sources.clone(),
        logs: logs.as_ref().map(|(logs, _)| logs.clone()),
    };
    let stop = supervisor.token();
    supervisor.spawn("sampler", eye.run());
    supervisor.spawn("keeper", async move { keeper.run(Inbox::new(kernel, pods, samples, asked), begin, stop).await });
    let logs = match (logs, logs_uplink) {
        (Some((logs, ends)), Some(uplink)) => {
            let limits = Limits { small_at_once: config.logs.concurrency, ..ShipOptions::default().limits };
            let options = ShipOptions { limits, ..ShipOptions::default() };
            let shipper = Shipper { uplink, node: config.node, metrics: ShipMetrics::register(&registry)?, options };
            supervisor.spawn("log-ship", shipper.run(ends.sealed, ends.outcomes, supervisor.token()));
            supervisor.spawn("log-capture", logs.clone().serve(ends.serving, supervisor.token()));
            Some(logs)
        }
        _ => None,
    };
    Ok(AgentHandle { requests, registry, capabilities, sources, readiness, logs })
}

/// A spool that cannot be used is told, and costs the logs: metering goes on.
fn start_capture(
    config: &AgentConfig,
    wanted: bool,
    registry: &Registry,
    sources: &SourceBoard,
) -> Result<Option<(Capture, CaptureEnds)>, prometheus::Error> {
    let metrics = CaptureMetrics::register(registry)?;
    if !wanted || !config.logs.enabled {
        sources.set("log_capture", SourceState::Disabled);
        return Ok(None);
    }
    let (pod_logs, options) = (config.host.pod_logs.clone(), config.logs.clone());
    let started = Capture::start(pod_logs, options, metrics, sources.clone()).inspect_err(|err| {
        let error = err as &dyn std::error::Error;
        tracing::error!(error, "logs are not captured; repair it, then start the agent again");
        sources.set("log_capture", SourceState::Failed { error: err.to_string() });
    });
    Ok(started.ok())
}

fn options(config: &AgentConfig, boot_id: &str) -> Options {
    Options {
        node: config.node.clone(),
        boot_id: boot_id.to_owned(),
        scope: config.scope.clone(),
        local_cgroups: config.trees.local.is_some(),
        pace: config.books,
        limits: config.limits,
    }
}

type Watching = (Option<Watch>, Option<mpsc::Receiver<KernelEvent>>);

fn start_watch(config: &AgentConfig, sources: &SourceBoard, readiness: &Readiness) -> Result<Watching, WatchError> {
    if config.trees.kubelet.is_none() && config.trees.local.is_none() {
        sources.set("kernel", SourceState::Unsupported);
        return Ok((None, None));
    }
    let gate = readiness.gate("watch");
    let (watch, events) = Watch::start(WatchOptions {
        host: config.host.clone(),
        trees: config.trees.clone(),
        priority: config.realtime_priority,
        capacity: KERNEL_EVENTS,
    })?;
    gate.ready();
    let detail = match watch.realtime() {
        Ok(()) => "real-time priority".to_owned(),
        Err(why) => format!("normal priority: {why}"),
    };
    sources.set_with_detail("kernel", SourceState::Active, detail);
    Ok((Some(watch), Some(events)))
}

fn capabilities(config: &AgentConfig, watch: Option<&Watch>) -> Vec<Capability> {
    let kubelet = config.trees.kubelet.as_ref();
    probe(
        &config.host,
        &ProbeOptions {
            cgroup_root: kubelet.and_then(|trees| trees.below.clone()),
            realtime: watch.map(Watch::realtime),
            // Whoever gave us a local tree holds it, and knows how it was got.
            own_tree: false,
            kubelet: kubelet.is_some(),
        },
    )
}

fn restore(books: &mut Books, replay: Replay, now: Timestamp) -> Vec<Step> {
    if !replay.live.is_empty() {
        tracing::info!(pods = replay.live.len(), skipped = replay.corrupt, torn = replay.torn, "journal was read back");
    }
    replay.live.into_values().flat_map(|evidence| books.restore(evidence, now)).collect()
}

fn own_usage(host: &HostRoot) -> Option<ProcessUsage> {
    let usage = self_usage::read(host)
        .inspect_err(|err| tracing::debug!(error = err as &dyn std::error::Error, "failed to read this process's own usage"))
        .ok()?;
    Some(ProcessUsage {
        cpu_seconds: usage.cpu_seconds,
        resident_bytes: usage.resident_bytes,
        open_fds: usage.open_descriptors,
        start_time_seconds: usage.started_seconds,
    })
}

impl AgentHandle {
    /// The pod's last reading, once it is on the disk; its cgroups may be removed then.
    pub async fn pod_final(&self, pod_uid: &str) -> Result<PodEvidence, FinalError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Final { pod_uid: pod_uid.to_owned(), reply };
        self.requests.send(request).await.map_err(|_closed| FinalError::Stopping)?;
        answer.await.map_err(|_dropped| FinalError::Stopping)?
    }

    /// Resolves when no log of the pod waits in the spool any more; the caller's patience is its own. At once where logs are
    /// not captured.
    pub async fn logs_stored(&self, pod_uid: &str) {
        if let Some(logs) = &self.logs {
            logs.stored(pod_uid).await;
        }
    }

    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    pub fn capabilities(&self) -> Vec<Capability> {
        self.capabilities.clone()
    }

    pub fn sources(&self) -> SourceBoard {
        self.sources.clone()
    }

    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }
}
