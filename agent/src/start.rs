//! Puts an agent together and hands its tasks to a supervisor: the one way in, for the DaemonSet and for standalone use.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jobmeter_daemon::{
    admin::{Readiness, SourceBoard, SourceState},
    process_metrics::{self, ProcessUsage},
    supervise::Supervisor,
};
use jobmeter_decide::books::{Books, Options, Step};
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
    metrics::{JobSeries, OwnMetrics},
    pods::PodEvent,
    sampler::Sampler,
    uplink::Uplink,
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
}

/// Call it within a runtime.
pub fn start(
    config: AgentConfig,
    pods: mpsc::Receiver<PodEvent>,
    uplink: Arc<dyn Uplink>,
    supervisor: &mut Supervisor,
) -> Result<AgentHandle, StartError> {
    let now = Timestamp::now();
    let (sources, readiness, registry) = (SourceBoard::default(), Readiness::default(), Registry::new());
    let metrics = OwnMetrics::register(&registry)?;
    let host = config.host.clone();
    process_metrics::register(&registry, "jobmeter_agent", move || own_usage(&host))?;

    let boot_id = machine::boot_id(&config.host)?;
    let gate = readiness.gate("journal");
    let (journal, replay) = Journal::open(&config.state_dir, config.journal_slack, metrics.journal.clone(), gate)?;
    let (watch, kernel) = start_watch(&config, &sources, &readiness)?;
    let capabilities = capabilities(&config, watch.as_ref());

    let mut books = Books::new(options(&config, &boot_id), now);
    let begin = restore(&mut books, replay, now);
    let books = Arc::new(Mutex::new(books));
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
    };
    let stop = supervisor.token();
    supervisor.spawn("sampler", eye.run());
    supervisor.spawn("keeper", async move { keeper.run(Inbox::new(kernel, pods, samples, asked), begin, stop).await });
    Ok(AgentHandle { requests, registry, capabilities, sources, readiness })
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
