//! A cluster in memory, and a term over it with the real decisions and a real database.

use super::*;

/// Pods by name, and what a test wants to go wrong.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) pods: Mutex<BTreeMap<String, RunPod>>,
    pub(super) uids: Mutex<u32>,
    pub(super) calls: Mutex<Vec<String>>,
    /// Nodes whose pods a quota refuses.
    pub(super) refused: Mutex<BTreeSet<String>>,
    /// Of the term that watches now.
    pub(super) inbox: Mutex<Option<Inbox>>,
}

impl Cluster {
    pub(super) fn call(&self, what: &str, of: &str) {
        self.calls.lock().unwrap().push(format!("{what} {of}"));
    }

    pub(super) fn calls(&self, what: &str) -> Vec<String> {
        self.calls.lock().unwrap().iter().filter(|call| call.starts_with(what)).cloned().collect()
    }

    pub(super) fn tell(&self, what: Observation) {
        let inbox = self.inbox.lock().unwrap();
        if let Some(inbox) = &*inbox {
            inbox.try_send(Seen { at: Instant::now(), what }).unwrap();
        }
    }

    pub(super) fn pod_of(&self, node: &str) -> Option<RunPod> {
        self.pods.lock().unwrap().values().rev().find(|pod| pod.node == node).cloned()
    }

    /// As the pool and its node would.
    pub(super) fn becomes(&self, node: &str, phase: PodPhase) {
        let mut pod = self.pod_of(node).unwrap();
        let now = Timestamp::now();
        pod.phase = phase;
        pod.admitted.get_or_insert(now);
        pod.bound = Some(node.to_owned());
        if phase >= PodPhase::Running {
            pod.started.get_or_insert(now);
        }
        if phase >= PodPhase::Succeeded {
            pod.finished.get_or_insert(now);
            pod.exit_code = Some(i32::from(phase == PodPhase::Failed));
        }
        self.pods.lock().unwrap().insert(pod.name.clone(), pod.clone());
        self.tell(Observation::Pod(Box::new(pod)));
    }
}

impl RunPods for Cluster {
    fn create<'a>(&'a self, pod: &'a CreatePod) -> BoxFuture<'a, Answer> {
        let reports = ReportDirectory::of(&pod.settings, &pod.run);
        assert!(reports.path().is_dir(), "a pod without a place for its reports");
        self.call("create", &pod.node);
        if self.refused.lock().unwrap().contains(&pod.node) {
            return std::future::ready(Answer::Refused { why: "exceeded quota: pods".to_owned() }).boxed();
        }
        let mut pods = self.pods.lock().unwrap();
        let made = pods.entry(pod.name.clone()).or_insert_with(|| {
            let mut uids = self.uids.lock().unwrap();
            *uids += 1;
            RunPod {
                run: pod.run.clone(),
                node: pod.node.clone(),
                attempt: pod.attempt,
                namespace: pod.settings.namespace.clone(),
                name: pod.name.clone(),
                uid: format!("uid-{uids}"),
                phase: PodPhase::Gated,
                created: Timestamp::now(),
                admitted: None,
                started: None,
                finished: None,
                exit_code: None,
                reason: None,
                waiting: None,
                bound: None,
                deleting: false,
            }
        });
        std::future::ready(Answer::Made(Box::new(made.clone()))).boxed()
    }

    fn delete<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str) -> BoxFuture<'a, Answer> {
        self.call("delete", name);
        let removed = self.pods.lock().unwrap().remove(name);
        let (namespace, name, uid) = (namespace.to_owned(), name.to_owned(), uid.to_owned());
        self.tell(Observation::PodGone { namespace, name, uid });
        std::future::ready(if removed.is_some() { Answer::Done } else { Answer::Gone }).boxed()
    }

    fn bind<'a>(&'a self, _: &'a str, name: &'a str, _: &'a str, _: &'a str) -> BoxFuture<'a, Answer> {
        self.call("bind", name);
        std::future::ready(Answer::Done).boxed()
    }

    fn forget<'a>(&'a self, _: &'a str, run: &'a str) -> BoxFuture<'a, Answer> {
        self.call("forget", run);
        let mut pods = self.pods.lock().unwrap();
        let gone: Vec<RunPod> = pods.values().filter(|pod| pod.run == run).cloned().collect();
        pods.retain(|_, pod| pod.run != run);
        for RunPod { namespace, name, uid, .. } in gone {
            self.tell(Observation::PodGone { namespace, name, uid });
        }
        std::future::ready(Answer::Done).boxed()
    }

    fn save_logs<'a>(&'a self, pod: &'a RunPod, reports: &'a ReportDirectory) -> BoxFuture<'a, Result<(), SaveLogsError>> {
        self.call("log", &pod.name);
        assert!(self.pods.lock().unwrap().contains_key(&pod.name), "the log of a pod that was deleted");
        std::fs::write(reports.path().join(format!("{}-container-main.log", pod.node)), "done\n").unwrap();
        std::future::ready(Ok(())).boxed()
    }
}

/// What outlives a term: the cluster, the disk.
pub(super) struct World {
    pub(super) cluster: Arc<Cluster>,
    pub(super) files: TempDir,
    pub(super) settings: RunSettings,
    pub(super) nodes: Vec<&'static str>,
}

pub(super) struct Term {
    pub(super) cluster: Arc<Cluster>,
    pub(super) store: Store,
    pub(super) view: RunsView,
    pub(super) own: watch::Receiver<OwnPools>,
    pub(super) stored: watch::Receiver<StoredPods>,
    pub(super) sources: SourceBoard,
    pub(super) token: CancellationToken,
    pub(super) task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(super) fn new(nodes: &[&'static str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let settings = RunSettings {
            name: "inventory".to_owned(),
            namespace: "bench".to_owned(),
            pool: "run.inventory".to_owned(),
            own_pool_size: Some(2),
            placement: Placement::Scheduler,
            node_selector: BTreeMap::new(),
            unschedulable_nodes: false,
            pod_template: "kind: Pod".to_owned(),
            service_account: String::new(),
            image_pull_secrets: vec![],
            retries: 0,
            retry_delay: SignedDuration::from_secs(1),
            start_deadline: None,
            node_deadline: None,
            run_deadline: None,
            canary: 0,
            max_failures: None,
            new_nodes: false,
            overlap: Overlap::Forbid,
            catch_up: None,
            history: 1,
            result_required: true,
            compatible: true,
            save_pod_log: true,
            report_directory: files.path().join("reports").to_str().unwrap().to_owned(),
            metrics: RunMetrics::default(),
            callback_service: None,
            callback_port: None,
        };
        std::fs::create_dir(&settings.report_directory).unwrap();
        Self { cluster: Arc::default(), files, settings, nodes: nodes.to_vec() }
    }

    pub(super) fn database(&self) -> std::path::PathBuf {
        self.files.path().join("jobmeter.db")
    }

    pub(super) async fn term(&self, authority: Authority) -> Term {
        let store = Store::open(&self.database(), Assembly::default(), Box::new(|_| {})).unwrap();
        let (inbox, seen) = mpsc::channel(64);
        let (view, desk) = RunsView::new();
        let (told, FromRuns { own: pools, stored }) = FromRuns::channel();
        let (sources, token) = (SourceBoard::default(), CancellationToken::new());
        let metrics = Metrics::register(&Registry::new(), 10).unwrap();
        let mut storing = Storing::new(store.clone(), metrics, sources.clone());
        let begun = storing.begin().await.unwrap();
        let steps = Steps::new(self.cluster.clone(), authority);
        let task = Task::new(Parts { seen, steps, storing, begun, desk, told });
        let task = tokio::spawn(task.run(token.clone()));
        *self.cluster.inbox.lock().unwrap() = Some(inbox);
        let definition = Definition {
            settings: Arc::new(self.settings.clone()),
            source: "inventory.yaml".to_owned(),
            schedule: None,
            suspended: false,
            run_on_start: None,
        };
        self.cluster.tell(Observation::Definitions(vec![definition]));
        let node = |name: &&'static str| NodeFacts {
            name: (*name).into(),
            labels: BTreeMap::new(),
            taints: vec![],
            ready: true,
            unschedulable: false,
        };
        self.cluster.tell(Observation::NodesListed(self.nodes.iter().map(node).collect()));
        let pods = self.cluster.pods.lock().unwrap().values().cloned().collect();
        self.cluster.tell(Observation::PodsListed(pods));
        Term { cluster: self.cluster.clone(), store, view, own: pools, stored, sources, token, task }
    }
}

impl Term {
    /// A run, once the term knows enough to begin one.
    pub(super) async fn start(&self) -> Run {
        self.eventually("a run begins", async || {
            let start = Command::Start(StartRun { definition: "inventory".to_owned(), nodes: vec![] });
            match self.view.command(start).await.unwrap() {
                Ok(run) => Some(run),
                Err(Refusal::NotReady) => None,
                Err(refusal) => panic!("{refusal}"),
            }
        })
        .await
    }

    pub(super) async fn eventually<T>(&self, what: &str, poll: impl AsyncFn() -> Option<T>) -> T {
        for _ in 0..1_000 {
            if let Some(value) = poll().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let calls = self.cluster.calls.lock().unwrap();
        panic!("waited in vain: {what}; {calls:?}; {:?}", self.view.snapshot().map(|snapshot| snapshot.runs.clone()))
    }

    pub(super) fn run(&self, id: &str) -> Arc<StoredRun> {
        self.view.snapshot().unwrap().runs[id].clone()
    }

    pub(super) async fn pod_is_made(&self, node: &str) -> RunPod {
        self.eventually(&format!("a pod of {node}"), async || self.cluster.pod_of(node)).await
    }

    pub(super) async fn node_is(&self, run: &str, node: &str, state: NodeRunState) {
        let what = format!("{node} is {state:?}");
        self.eventually(&what, async || (self.run(run).nodes[node].state == state).then_some(())).await;
    }

    pub(super) async fn run_is(&self, run: &str, state: RunState) {
        self.eventually(&format!("the run is {state:?}"), async || (self.run(run).run.state == state).then_some(())).await;
    }

    pub(super) async fn posts(&self, run: &str, node: &str, attempt: u32, value: f64) -> Result<(), ReportRefused> {
        self.view.report(run, node, attempt, Posted::Result(Box::new(result(node, attempt, value)))).await.unwrap()
    }

    /// From the pool's word to the end, with a result.
    pub(super) async fn works(&self, run: &str, node: &str) {
        self.pod_is_made(node).await;
        self.cluster.becomes(node, PodPhase::Pending);
        self.cluster.becomes(node, PodPhase::Running);
        self.posts(run, node, 0, 1.0).await.unwrap();
        self.cluster.becomes(node, PodPhase::Succeeded);
    }

    pub(super) async fn end(self) {
        self.token.cancel();
        self.task.await.unwrap().unwrap();
        *self.cluster.inbox.lock().unwrap() = None;
        self.store.close().await.unwrap();
    }
}

pub(super) fn result(node: &str, attempt: u32, value: f64) -> NodeResult {
    let gauge = jobmeter_protocol::runs::GaugeValue { value, labels: BTreeMap::new() };
    let gauges = BTreeMap::from([("files".to_owned(), vec![gauge])]);
    NodeResult { node: node.to_owned(), attempt, received: Timestamp::now(), gauges }
}

pub(super) fn value(run: &StoredRun, node: &str) -> f64 {
    run.results[node].gauges["files"][0].value
}

/// The database refuses to write nodes and results, as a full disk would.
pub(super) fn refuse(database: &Path, sql: &str) {
    rusqlite::Connection::open(database).unwrap().execute_batch(sql).unwrap();
}

pub(super) const FULL: &str = "CREATE TRIGGER full BEFORE INSERT ON run_nodes BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
pub(super) const EMPTIED: &str = "DROP TRIGGER full";
