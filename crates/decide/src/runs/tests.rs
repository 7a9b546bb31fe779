//! A driver for small cases, and the faults of batch-job-controller that are decided here.

use jobmeter_protocol::runs::{NodeRunState, Overlap, Placement, RunMetrics, RunState, Trigger};

use super::*;

mod endings;
mod faults;
mod rules;

pub(super) fn pod(run: &str, node: &str, attempt: u32) -> RunPod {
    RunPod {
        run: run.to_owned(),
        node: node.to_owned(),
        attempt,
        namespace: "jobs".to_owned(),
        name: format!("pod-{run}-{node}-{attempt}"),
        uid: format!("uid-{run}-{node}-{attempt}"),
        phase: PodPhase::Gated,
        created: Timestamp::UNIX_EPOCH,
        admitted: None,
        started: None,
        finished: None,
        exit_code: None,
        reason: None,
        waiting: None,
        deleting: false,
        bound: None,
    }
}

fn settings(name: &str) -> RunSettings {
    RunSettings {
        name: name.to_owned(),
        namespace: "jobs".to_owned(),
        pool: format!("run.{name}"),
        own_pool_size: Some(2),
        placement: Placement::Scheduler,
        node_selector: BTreeMap::new(),
        unschedulable_nodes: false,
        pod_template: String::new(),
        service_account: String::new(),
        image_pull_secrets: Vec::new(),
        retries: 0,
        retry_delay: SignedDuration::from_secs(10),
        start_deadline: None,
        node_deadline: None,
        run_deadline: None,
        canary: 0,
        max_failures: None,
        new_nodes: false,
        overlap: Overlap::Forbid,
        catch_up: None,
        history: 3,
        result_required: false,
        compatible: false,
        save_pod_log: false,
        report_directory: "/reports".to_owned(),
        metrics: RunMetrics::default(),
        callback_service: None,
        callback_port: None,
    }
}

fn definition(settings: RunSettings) -> Definition {
    Definition { settings: Arc::new(settings), source: "test".to_owned(), schedule: None, suspended: false, run_on_start: None }
}

fn facts(name: &str) -> NodeFacts {
    NodeFacts { name: name.into(), labels: BTreeMap::new(), taints: Vec::new(), ready: true, unschedulable: false }
}

/// Answers every step as an API server would that has no pool: pods stay gated until somebody says otherwise.
struct Driver {
    runs: Runs,
    now: Timestamp,
    stored: BTreeMap<String, StoredRun>,
    memories: BTreeMap<String, DefinitionMemory>,
    pods: BTreeMap<String, RunPod>,
    nodes: Vec<NodeFacts>,
    definitions: Vec<Definition>,
    made: u32,
    /// Creates are refused for these nodes.
    refused: BTreeSet<String>,
    /// Creates for these nodes are never answered, and come to nothing.
    unknown: BTreeSet<String>,
    on_delete: OnDelete,
    steps: Vec<Step>,
}

/// What becomes of a pod that is to be deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDelete {
    Go,
    /// It is on its way out.
    Stay,
    Refuse,
}

impl Driver {
    fn new(definitions: Vec<Definition>, nodes: &[&str]) -> Self {
        let now = "2026-11-21T19:30:10Z".parse().unwrap();
        let mut driver = Self {
            runs: Runs::new(now),
            now,
            stored: BTreeMap::new(),
            memories: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: nodes.iter().map(|node| facts(node)).collect(),
            definitions,
            made: 0,
            refused: BTreeSet::new(),
            unknown: BTreeSet::new(),
            on_delete: OnDelete::Go,
            steps: Vec::new(),
        };
        driver.begin();
        driver
    }

    /// A new term, from what is stored and what is there.
    fn begin(&mut self) {
        self.runs = Runs::new(self.now);
        self.runs.observe(Observation::Definitions(self.definitions.clone()), self.now);
        let (runs, memories) = (self.stored.values().cloned().collect(), self.memories.values().cloned().collect());
        self.runs.observe(Observation::Stored { runs, memories }, self.now);
        self.runs.observe(Observation::NodesListed(self.nodes.clone()), self.now);
        self.runs.observe(Observation::PodsListed(self.pods.values().cloned().collect()), self.now);
        self.work();
    }

    fn see(&mut self, observation: Observation) {
        self.runs.observe(observation, self.now);
        self.work();
    }

    /// Plans and does until there is nothing left to do now.
    fn work(&mut self) -> Vec<(u64, Result<Run, Refusal>)> {
        let mut answers = Vec::new();
        loop {
            let plan = self.runs.plan(self.now);
            assert!(self.runs.next_wake().is_none_or(|wake| wake > self.now));
            for change in plan.changes {
                self.store(change);
            }
            answers.extend(plan.answers);
            if plan.steps.is_empty() {
                return answers;
            }
            for step in plan.steps {
                self.steps.push(step.clone());
                let (key, answer) = self.take(step);
                self.runs.observe(Observation::Answered { step: key, answer }, self.now);
            }
        }
    }

    fn store(&mut self, change: RunChange) {
        match change {
            RunChange::Run { run, settings } => match self.stored.get_mut(&run.id) {
                Some(stored) => stored.run = *run,
                None => {
                    let settings = settings.expect("a new run has settings");
                    let stored = StoredRun { run: *run, settings, nodes: BTreeMap::new(), results: BTreeMap::new() };
                    self.stored.insert(stored.run.id.clone(), stored);
                }
            },
            RunChange::Node { run, node } => drop(self.stored.get_mut(&run).unwrap().nodes.insert(node.node.clone(), *node)),
            RunChange::Memory(memory) => drop(self.memories.insert(memory.definition.clone(), memory)),
            RunChange::Forget { run } => drop(self.stored.remove(&run).unwrap()),
            RunChange::Result { .. } => panic!("results are not decided here"),
        }
    }

    fn take(&mut self, step: Step) -> (StepKey, Answer) {
        match step {
            Step::Create(made) => {
                let key = StepKey::Create { namespace: made.settings.namespace.clone(), name: made.name.clone() };
                if self.refused.contains(&made.node) {
                    return (key, Answer::Refused { why: "exceeded quota".to_owned() });
                }
                if self.unknown.contains(&made.node) {
                    return (key, Answer::Unknown { why: "no answer".to_owned() });
                }
                self.made += 1;
                let uid = format!("uid-{}", self.made);
                let pod =
                    RunPod { name: made.name, uid: uid.clone(), created: self.now, ..pod(&made.run, &made.node, made.attempt) };
                self.pods.insert(uid, pod.clone());
                (key, Answer::Made(Box::new(pod)))
            }
            Step::Delete { uid, .. } => {
                let answer = match self.on_delete {
                    OnDelete::Go => {
                        self.pods.remove(&uid);
                        Answer::Gone
                    }
                    OnDelete::Stay => Answer::Done,
                    OnDelete::Refuse => Answer::Refused { why: "forbidden".to_owned() },
                };
                (StepKey::Delete { uid }, answer)
            }
            Step::Bind { uid, node, .. } => {
                self.pods.get_mut(&uid).unwrap().bound = Some(node);
                (StepKey::Bind { uid }, Answer::Done)
            }
            Step::Forget { run, .. } => {
                self.pods.retain(|_, pod| pod.run != run);
                (StepKey::Forget { run }, Answer::Done)
            }
        }
    }

    fn ask(&mut self, what: Command) -> Result<Run, Refusal> {
        self.runs.observe(Observation::Asked { question: 7, what }, self.now);
        let answers = self.work();
        let [(7, answer)] = answers.as_slice() else { panic!("{answers:?}") };
        answer.clone()
    }

    fn start(&mut self, definition: &str) -> Result<Run, Refusal> {
        self.ask(Command::Start(StartRun { definition: definition.to_owned(), nodes: Vec::new() }))
    }

    /// Whatever rings until then rings.
    fn pass(&mut self, seconds: i64) {
        let until = self.now + SignedDuration::from_secs(seconds);
        while let Some(wake) = self.runs.next_wake().filter(|wake| *wake <= until) {
            self.now = wake;
            self.work();
        }
        self.now = until;
        self.work();
    }

    /// The pod of that node's latest attempt becomes so.
    fn pod(&mut self, run: &str, node: &str, phase: PodPhase) {
        let uid = self.node(run, node).pod_uid.clone().expect("it has a pod");
        let pod = self.pods.get_mut(&uid).expect("its pod is there");
        pod.phase = phase;
        pod.exit_code = phase.is_over().then_some(if phase == PodPhase::Failed { 1 } else { 0 });
        let pod = Box::new(pod.clone());
        self.see(Observation::Pod(pod));
    }

    /// Somebody deleted it.
    fn lose(&mut self, run: &str, node: &str) {
        let uid = self.node(run, node).pod_uid.clone().expect("it has a pod");
        let pod = self.pods.remove(&uid).expect("its pod is there");
        self.see(Observation::PodGone { namespace: pod.namespace, name: pod.name, uid });
    }

    fn report(&mut self, run: &str, node: &str, attempt: u32) {
        self.see(Observation::Reported { run: run.to_owned(), node: node.to_owned(), attempt, what: Report::Result });
    }

    fn run(&self, run: &str) -> &Run {
        &self.stored[run].run
    }

    fn node(&self, run: &str, node: &str) -> &NodeRun {
        &self.stored[run].nodes[node]
    }

    fn states(&self, run: &str) -> Vec<NodeRunState> {
        self.stored[run].nodes.values().map(|node| node.state).collect()
    }
}
