//! The executor's task: one loop that observes, asks the controller, and does the steps. It decides nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jobmeter_decide::local::{Controller, Ending, JobKey, Observation, PodKey, PodOutcome, RunKey, Step};
use jobmeter_hostfs::own_tree::Limits;
use jobmeter_jobfile::JobName;
use jobmeter_protocol::ContainerExit;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::clock::Clock;
use super::job_book::JobBooks;
use super::pod_book::PodBook;
use super::pools::{Books, LocalPools, News};
use super::run::{RunReport, RunSignal, RunStarted, Runner};
use super::settle::settle;
use super::spawner::{Spawner, Start};
use super::{
    Command, ExecutorEvent, JobRef, LocalOptions, NodeAgent, Overview, PodNews, Streams, SubmitError, WaitingPods, identity,
    leftovers, logs,
};
use crate::world::LocalEvent;

/// SIGTERM, SIGKILL, and a few that a person sends.
const SIGNALS: usize = 16;
/// As many starts as may be announced between two turns of the loop; beyond it runs wait to announce theirs.
const STARTS: usize = 64;
const OVERVIEW_PERIOD: Duration = Duration::from_millis(100);

pub(super) struct Outlets {
    pub(super) agent: Arc<dyn NodeAgent>,
    pub(super) world: mpsc::Sender<LocalEvent>,
    pub(super) events: mpsc::Sender<ExecutorEvent>,
    pub(super) overview: watch::Sender<Overview>,
    pub(super) pools: LocalPools,
}

pub(super) struct Executor {
    options: LocalOptions,
    clock: Clock,
    spawner: Spawner,
    outlets: Outlets,
    controller: Controller,
    jobs: JobBooks,
    pods: HashMap<PodKey, PodBook>,
    runs: JoinSet<RunReport>,
    signals: HashMap<RunKey, mpsc::Sender<RunSignal>>,
    settling: JoinSet<(PodKey, PodOutcome)>,
    /// Pods that are over, but for the way of their logs into the store. They hold no place in the pool.
    storing: JoinSet<()>,
    /// Until when those who wait for the end wait for the store as well.
    store_until: Option<Instant>,
    announce: mpsc::Sender<RunStarted>,
    started: mpsc::Receiver<RunStarted>,
    /// Pods whose change was not told yet.
    untold: BTreeSet<PodKey>,
    stopping: bool,
    /// Those who wait for everything to have ended.
    idle: Vec<oneshot::Sender<()>>,
    overview_is_old: bool,
}

impl Executor {
    pub(super) fn new(options: LocalOptions, clock: Clock, spawner: Spawner, outlets: Outlets) -> Self {
        let mut controller = Controller::new(options.settings);
        // Nothing was submitted yet, so there is nothing to do about it.
        controller.observe(Observation::Pools(options.pools.clone()), clock.now());
        let (announce, started) = mpsc::channel(STARTS);
        Self {
            options,
            clock,
            spawner,
            outlets,
            controller,
            jobs: JobBooks::default(),
            pods: HashMap::new(),
            runs: JoinSet::new(),
            signals: HashMap::new(),
            settling: JoinSet::new(),
            storing: JoinSet::new(),
            store_until: None,
            announce,
            started,
            untold: BTreeSet::new(),
            stopping: false,
            idle: Vec::new(),
            overview_is_old: false,
        }
    }

    /// Lasts until the token is cancelled. Whoever cancels it has called `stop` before, or abandons what runs: the children
    /// die with this process.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, token: CancellationToken) -> anyhow::Result<()> {
        if let Some(tree) = self.options.cgroups.clone() {
            leftovers::clear(&tree, &self.outlets.agent).await;
        }
        for (pod_uid, directory) in logs::leftovers(&self.options.log_root) {
            self.storing.spawn(logs::take_over(directory, pod_uid, self.outlets.agent.clone()));
        }
        self.publish_overview();
        let mut overview = tokio::time::interval(OVERVIEW_PERIOD);
        loop {
            let timer = wait_until(self.controller.next_wake().map(|at| self.clock.instant(at).into()));
            // Every arm is cancel-safe: channels, `JoinSet`s and timers that are made anew.
            tokio::select! {
                biased;
                () = token.cancelled() => return Ok(()),
                Some(started) = self.started.recv() => self.on_started(started).await,
                Some(report) = self.runs.join_next() => self.on_ended(report?).await,
                Some(pod) = self.settling.join_next() => self.on_settled(pod).await?,
                Some(stored) = self.storing.join_next() => stored?,
                () = wait_until(self.store_until) => {}
                Some(command) = inbox.recv() => self.on_command(command).await,
                () = timer => self.observe(Observation::Woken).await,
                news = self.outlets.pools.next() => self.on_pools(news).await,
                _ = overview.tick(), if self.overview_is_old => self.publish_overview(),
            }
            self.tell_pods().await;
            self.answer_idle();
        }
    }

    /// Those who wait for the end get their answer once everything is over and stored, or the store is late.
    fn answer_idle(&mut self) {
        let over = self.controller.unfinished() == 0 && self.settling.is_empty() && self.runs.is_empty();
        if !over || self.idle.is_empty() {
            return;
        }
        let until = *self.store_until.get_or_insert_with(|| Instant::now() + logs::PATIENCE);
        if !self.storing.is_empty() && Instant::now() < until {
            return;
        }
        if !self.storing.is_empty() {
            warn!(pods = self.storing.len(), "logs are not stored yet: the next start with this data directory stores them");
        }
        self.store_until = None;
        for idle in self.idle.drain(..) {
            // Who asked may have gone.
            idle.send(()).unwrap_or_default();
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Submit { jobs, reply } => {
                // As above: the jobs run all the same.
                let answer = self.submit(jobs).await;
                reply.send(answer).unwrap_or_default();
            }
            Command::Forward { signal } => self.signal_all(RunSignal::Forward(signal)),
            Command::Stop { at_once, idle } => {
                self.stopping = true;
                self.idle.extend(idle);
                self.observe(Observation::Stopping).await;
                if at_once {
                    self.signal_all(RunSignal::End(Ending::Kill));
                }
            }
        }
    }

    async fn submit(&mut self, jobs: Vec<jobmeter_jobfile::LocalJob>) -> Result<Vec<JobRef>, SubmitError> {
        if self.stopping {
            return Err(SubmitError::Stopping);
        }
        for job in &jobs {
            if let Some(pool) = job.plan.pool.as_deref().filter(|pool| !self.controller.has_pool(pool)) {
                let name = match &job.name {
                    JobName::Fixed(name) | JobName::Generated { prefix: name } => name.clone(),
                };
                let (namespace, pool, known) = (job.namespace.clone(), pool.to_owned(), self.controller.pool_names());
                return Err(SubmitError::NoSuchPool { namespace, name, pool, known });
            }
        }
        let keys = self.jobs.add(jobs, self.clock.now())?;
        let mut names = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(book) = self.jobs.get(key).cloned() else { continue };
            names.push((*book.name).clone());
            self.tell_world(LocalEvent::Job(book.object(None))).await;
            self.observe(Observation::Submitted { job: key, plan: book.spec.plan.clone() }).await;
            if self.controller.is_held(key) {
                self.tell(ExecutorEvent::JobHeld { job: book.name }).await;
            }
        }
        Ok(names)
    }

    async fn on_pools(&mut self, news: News) {
        match news {
            News::Asked(question) => {
                let books = Books { node: &self.options.node, jobs: &self.jobs, pods: &self.pods };
                let detail = self.controller.pool(&question.pool, question.limit, &books, self.clock.now());
                // Whoever asked may have left.
                drop(question.answer.send(detail));
            }
            News::Changed(pools) => self.observe(Observation::Pools(pools)).await,
        }
    }

    async fn on_started(&mut self, RunStarted { run, pid, at }: RunStarted) {
        let Some(pod) = self.pods.get_mut(&run.pod) else { return };
        pod.started(run.container, at);
        self.untold.insert(run.pod);
        if self.options.cgroups.is_none()
            && let Some(container_id) = pod.api.containers.get(run.container).and_then(|c| c.container_id.clone())
        {
            let news = PodNews::Started { pod_uid: pod.api.uid.clone(), container_id, pid };
            self.outlets.agent.pod_event(news).await;
        }
    }

    async fn on_ended(&mut self, report: RunReport) {
        let RunReport { run, container_id, started, ended, waited, could_not_run } = report;
        // Its start may have been announced in the same moment.
        while let Ok(started) = self.started.try_recv() {
            self.on_started(started).await;
        }
        self.signals.remove(&run);
        if let Some(pod) = self.pods.get_mut(&run.pod) {
            pod.ended(run.container, started, ended, waited.exit, could_not_run.is_none());
            self.untold.insert(run.pod);
            let (name, kind) = match pod.api.containers.get(run.container) {
                Some(container) => (container.name.clone(), container.kind),
                None => return,
            };
            let exit = ContainerExit {
                pod_uid: pod.api.uid.clone(),
                container_id,
                name: name.clone(),
                kind,
                attempt: run.attempt,
                started,
                ended,
                exit: waited.exit,
                user_ns: nanoseconds(waited.user),
                system_ns: nanoseconds(waited.system),
                max_rss_bytes: waited.max_rss_bytes,
            };
            let pod_name = pod.api.name.clone();
            self.outlets.agent.pod_event(PodNews::Exited(Box::new(exit))).await;
            if let (Some(why), Some(job)) = (could_not_run, self.job_name(run.pod.job)) {
                self.tell(ExecutorEvent::CouldNotRun { job, pod: pod_name, container: name, why }).await;
            }
        }
        self.observe(Observation::Ended { run, succeeded: waited.exit.code == Some(0) }).await;
    }

    async fn on_settled(&mut self, pod: Result<(PodKey, PodOutcome), JoinError>) -> anyhow::Result<()> {
        let (pod, outcome) = pod?;
        if let Some(book) = self.pods.remove(&pod) {
            let uid = book.api.uid.clone();
            if book.has_run && self.options.streams == Streams::Log {
                let directory = logs::directory(&self.options.log_root, &book.api.namespace, &book.api.name, &uid);
                self.storing.spawn(logs::let_go(directory, uid.clone(), self.outlets.agent.clone()));
            }
            self.outlets.agent.pod_event(PodNews::Gone { pod_uid: uid.clone() }).await;
            self.tell_world(LocalEvent::Gone { pod_uid: uid.clone() }).await;
            if let Some(job) = self.job_name(pod.job) {
                let exit = book.exit();
                self.tell(ExecutorEvent::PodEnded { job, pod: book.api.name, pod_uid: uid, outcome, exit }).await;
            }
        }
        self.observe(Observation::Settled { pod }).await;
        Ok(())
    }

    async fn observe(&mut self, observation: Observation) {
        let now = self.clock.now();
        self.overview_is_old = true;
        for step in self.controller.observe(observation, now) {
            self.execute(step).await;
        }
    }

    async fn execute(&mut self, step: Step) {
        let now = self.clock.now();
        match step {
            Step::StartPod { pod, index } => {
                let Some(job) = self.jobs.get(pod.job) else { return };
                let book = PodBook::new(&job.spec, &job.owner, index, &self.options, now);
                let event = ExecutorEvent::PodStarted { job: job.name.clone(), pod: book.api.name.clone() };
                self.pods.insert(pod, book);
                self.untold.insert(pod);
                self.tell(event).await;
            }
            Step::StartContainer { run } => self.start_container(run),
            Step::Signal { run, ending } => self.signal(run, RunSignal::End(ending)),
            Step::RetryAt { job, at, .. } => {
                if let Some(job) = self.job_name(job) {
                    self.tell(ExecutorEvent::Retry { job, at }).await;
                }
            }
            Step::FinishPod { pod, outcome } => {
                let Some(book) = self.pods.get_mut(&pod) else { return };
                book.finished(outcome, now);
                let cgroups = self.options.cgroups.clone().filter(|_| book.has_run);
                let (uid, agent) = (book.api.uid.clone(), self.outlets.agent.clone());
                // Told before the agent is asked to close the books.
                self.tell_pod(pod).await;
                self.settling.spawn(async move { (settle(pod, uid, cgroups, agent).await, outcome) });
            }
            Step::FinishJob { job, outcome } => {
                let Some(book) = self.jobs.remove(job) else { return };
                self.tell_world(LocalEvent::Job(book.object(Some((outcome, now))))).await;
                self.tell_world(LocalEvent::JobGone { uid: book.name.uid.clone() }).await;
                self.tell(ExecutorEvent::JobFinished { job: book.name, outcome }).await;
            }
        }
    }

    fn start_container(&mut self, run: RunKey) {
        let (Some(job), Some(pod)) = (self.jobs.get(run.pod.job), self.pods.get_mut(&run.pod)) else { return };
        let Some(container) = job.spec.pod.containers.get(run.container) else { return };
        let container_id = identity::container_id();
        pod.starting(run.container, run.attempt, &container_id, self.clock.now());
        self.untold.insert(run.pod);
        let api = &pod.api;
        let start = Start {
            cgroups: self.options.cgroups.clone(),
            pod_uid: api.uid.clone(),
            container_id,
            limits: Limits {
                memory_bytes: container.resources.memory_limit_bytes,
                cpu_millicores: container.resources.cpu_limit_millicores,
            },
            invocation: container.resolve(&pod.facts),
            streams: self.options.streams,
            log: logs::path(
                &logs::directory(&self.options.log_root, &api.namespace, &api.name, &api.uid),
                &container.name,
                run.attempt,
            ),
        };
        let runner = Runner { spawner: self.spawner.clone(), clock: self.clock, started: self.announce.clone() };
        let (signal, signals) = mpsc::channel(SIGNALS);
        self.signals.insert(run, signal);
        self.runs.spawn(runner.run(run, start, signals));
    }

    fn signal(&mut self, run: RunKey, signal: RunSignal) {
        if let Some(signals) = self.signals.get(&run) {
            // Full: it has plenty to obey already. Closed: it has just ended.
            signals.try_send(signal).unwrap_or_default();
        }
    }

    fn signal_all(&mut self, signal: RunSignal) {
        for run in self.signals.keys().copied().collect::<Vec<_>>() {
            self.signal(run, signal);
        }
    }

    fn job_name(&self, job: JobKey) -> Option<Arc<JobRef>> {
        self.jobs.get(job).map(|book| book.name.clone())
    }

    async fn tell_pods(&mut self) {
        while let Some(pod) = self.untold.pop_first() {
            self.tell_pod(pod).await;
        }
    }

    async fn tell_pod(&mut self, pod: PodKey) {
        self.untold.remove(&pod);
        let (Some(job), Some(book)) = (self.jobs.get(pod.job), self.pods.get(&pod)) else { return };
        let (api, owners) = (book.api.clone(), vec![job.owner.clone()]);
        self.outlets.agent.pod_event(PodNews::Applied(Box::new(api.clone()))).await;
        self.tell_world(LocalEvent::Applied { pod: api, owners }).await;
    }

    async fn tell_world(&self, event: LocalEvent) {
        // The world ends only with the process, and then there is nobody to tell.
        self.outlets.world.send(event).await.unwrap_or_default();
    }

    async fn tell(&self, event: ExecutorEvent) {
        self.outlets.events.send(event).await.unwrap_or_default();
    }

    fn publish_overview(&mut self) {
        self.overview_is_old = false;
        let waiting =
            self.controller.waiting(self.clock.now()).into_iter().filter_map(|waiting| {
                Some(WaitingPods { job: self.job_name(waiting.job)?, pods: waiting.pods, why: waiting.why })
            });
        let (running, unfinished_jobs) = (self.controller.running(), self.controller.unfinished());
        let overview = Overview { running, unfinished_jobs, waiting: waiting.collect() };
        self.outlets.overview.send_replace(overview);
        self.outlets.pools.publish(&self.controller, self.clock.now());
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
