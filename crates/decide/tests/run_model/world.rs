//! The clock, chance, and everybody who acts: the coordinator, the pool, kubelets, strangers, people.

mod outside;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use jobmeter_decide::runs::{Answer, Command, Definition, Observation, PodPhase, Report, RunPod, Runs, Schedule, Step, StepKey};
use jobmeter_protocol::runs::{OWN_POOL_PREFIX, Overlap, Placement, RunMetrics, RunSettings, RunState, StartRun};

use crate::cluster::{Cluster, time};
use crate::judge::{Judge, key};
use crate::random::Random;

const MINUTE: u64 = 60_000;
/// Until then things go wrong.
const STORM: u64 = 30 * MINUTE;
const DEFINITIONS: [&str; 2] = ["check", "update"];
/// A write is on its way so long at most.
const LATEST: u64 = 20_000;

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) nodes: u32,
    pub(crate) pool: u32,
    pub(crate) retries: u32,
    pub(crate) canary: u32,
    pub(crate) max_failures: Option<u32>,
    pub(crate) new_nodes: bool,
    pub(crate) result_required: bool,
    pub(crate) deadlines: bool,
    pub(crate) overlap: Overlap,
    pub(crate) placement: Placement,
    /// Of a thousand.
    pub(crate) trouble: u32,
    pub(crate) crashes: u32,
    pub(crate) history: u32,
}

#[derive(Clone, Debug)]
enum Event {
    /// A write arrives; whoever sent it may be gone.
    Land(Sent, Step),
    Answer(u64, StepKey, Answer),
    Watch(u64),
    List(u64),
    /// As it was when it was made.
    Listed(u64, Vec<RunPod>, usize),
    Wake(u64),
    Begin,
    Pool,
    Start(String),
    End(String),
    Remove(String),
    Report(String, String, u32),
    Stranger,
    Node,
    People,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    term: u64,
    /// The answer is on its way, whatever becomes of the write.
    answered: bool,
}

struct Leader {
    runs: Runs,
    /// What the watch has told, and whether it tells.
    told: usize,
    told_nodes: usize,
    watches: bool,
}

pub(crate) struct World {
    scenario: Scenario,
    random: Random,
    now: u64,
    number: u64,
    queue: BTreeMap<(u64, u64), Event>,
    cluster: Cluster,
    judge: Judge,
    leader: Option<Leader>,
    term: u64,
    question: u64,
    asked: BTreeSet<u64>,
    woken_for: Option<(u64, u64)>,
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let random = Random::new(scenario.seed);
        let mut world = Self {
            scenario,
            random,
            now: 0,
            number: 0,
            queue: BTreeMap::new(),
            cluster: Cluster::default(),
            judge: Judge::default(),
            leader: None,
            term: 0,
            question: 0,
            asked: BTreeSet::new(),
            woken_for: None,
        };
        for node in 0..world.scenario.nodes {
            // Two of a kind share their first label.
            world.cluster.node(&format!("node-{}.zone-{}", node / 2, node % 2), |_| {});
        }
        for event in [Event::Begin, Event::Pool, Event::Stranger, Event::Node, Event::People] {
            world.after(1, event);
        }
        world
    }

    pub(crate) fn run(mut self) {
        let end = STORM + 120 * MINUTE;
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            let done = |world: &Self| world.judge.runs.values().all(|stored| stored.run.state.is_over());
            if at > end || (at > STORM + 20 * MINUTE && done(&self)) {
                break;
            }
            self.happen(event);
        }
        for stored in self.judge.runs.values() {
            assert!(stored.run.state != RunState::Running, "it never ends: {stored:#?}\n{:#?}", self.cluster.pods);
        }
        assert!(self.judge.over > 0 && self.judge.attempts > 0, "nothing ran");
        assert!(self.asked.is_empty(), "nobody answered");
    }

    fn calm(&self) -> bool {
        self.now >= STORM
    }

    fn trouble(&mut self, times: u32) -> bool {
        let chance = self.scenario.trouble * times / 10;
        !self.calm() && self.random.permille(chance)
    }

    fn after(&mut self, wait: u64, event: Event) {
        self.number += 1;
        self.queue.insert((self.now + wait, self.number), event);
    }

    fn definitions(&self) -> Vec<Definition> {
        let definition = |name: &str| {
            let scenario = &self.scenario;
            let minutes = |minutes| scenario.deadlines.then_some(SignedDuration::from_mins(minutes));
            let settings = RunSettings {
                name: name.to_owned(),
                namespace: "jobs".to_owned(),
                pool: format!("{OWN_POOL_PREFIX}{name}"),
                own_pool_size: Some(scenario.pool),
                placement: scenario.placement,
                node_selector: BTreeMap::from([("kind".to_owned(), "worker".to_owned())]),
                unschedulable_nodes: name == "update",
                pod_template: String::new(),
                service_account: String::new(),
                image_pull_secrets: Vec::new(),
                retries: scenario.retries,
                retry_delay: SignedDuration::from_secs(10),
                start_deadline: minutes(2),
                node_deadline: minutes(3),
                run_deadline: minutes(15),
                canary: scenario.canary,
                max_failures: scenario.max_failures,
                new_nodes: scenario.new_nodes,
                overlap: scenario.overlap,
                catch_up: (name == "update").then_some(SignedDuration::from_mins(30)),
                history: scenario.history,
                result_required: scenario.result_required,
                compatible: false,
                save_pod_log: false,
                report_directory: "/reports".to_owned(),
                metrics: RunMetrics::default(),
                callback_service: None,
                callback_port: None,
            };
            Definition {
                settings: Arc::new(settings),
                source: "test".to_owned(),
                schedule: (!self.calm())
                    .then(|| Schedule::parse(if name == "check" { "@every 7m" } else { "*/12 * * * *" }).unwrap()),
                suspended: false,
                run_on_start: (name == "update" && !self.calm()).then_some(SignedDuration::from_secs(20)),
            }
        };
        DEFINITIONS.iter().map(|name| definition(name)).collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Land(sent, step) => self.land(sent, step),
            Event::Answer(term, step, answer) if term == self.term => {
                self.judge.in_flight.remove(&step);
                self.observe(Observation::Answered { step, answer });
                self.plan();
            }
            Event::Watch(term) if term == self.term => self.watch(),
            Event::List(term) if term == self.term => {
                let pods = self.cluster.pods.values().cloned().collect();
                let told = self.cluster.history.len();
                let wait = self.random.within(1, 5_000);
                self.after(wait, Event::Listed(term, pods, told));
            }
            Event::Listed(term, pods, told) if term == self.term => {
                let leader = self.leader.as_mut().unwrap();
                (leader.told, leader.watches) = (told, true);
                self.observe(Observation::PodsListed(pods));
                self.plan();
            }
            Event::Wake(term) if term == self.term => self.plan(),
            Event::Answer(..) | Event::Watch(_) | Event::List(_) | Event::Listed(..) | Event::Wake(_) => {}
            Event::Begin => self.begin(),
            Event::Pool => self.pool(),
            Event::Start(uid) => self.start(&uid),
            Event::End(uid) => self.end(&uid),
            Event::Remove(uid) => self.remove(&uid),
            Event::Report(run, node, attempt) => self.report(run, node, attempt),
            Event::Stranger => self.stranger(),
            Event::Node => self.node(),
            Event::People => self.people(),
        }
    }

    /// A coordinator leads from now on; what the one before it sent is still on its way.
    fn begin(&mut self) {
        self.term += 1;
        let term = self.term;
        self.judge.in_flight.clear();
        let mut leader = Leader { runs: Runs::new(time(self.now)), told: 0, told_nodes: 0, watches: false };
        leader.told_nodes = self.cluster.node_history.len();
        self.leader = Some(leader);
        let stored = Observation::Stored {
            runs: self.judge.runs.values().cloned().collect(),
            memories: self.judge.memories.values().cloned().collect(),
        };
        self.observe(stored);
        self.observe(Observation::Definitions(self.definitions()));
        self.observe(Observation::NodesListed(self.cluster.nodes.values().cloned().collect()));
        self.plan();
        let wait = self.random.within(1, 3_000);
        self.after(wait, Event::List(term));
        self.after(10, Event::Watch(term));
    }

    fn crash(&mut self) {
        self.leader = None;
        // Nothing that belongs to the term is heard any more.
        self.term += 1;
        self.asked.clear();
        let wait = self.random.within(10, 4 * MINUTE);
        self.after(wait, Event::Begin);
    }

    fn crashes(&mut self) -> bool {
        let crashes = !self.calm() && self.random.permille(self.scenario.crashes / 8);
        if crashes {
            self.crash();
        }
        crashes
    }

    fn observe(&mut self, observation: Observation) {
        let now = time(self.now);
        if let Some(leader) = &mut self.leader {
            leader.runs.observe(observation, now);
        }
    }

    fn plan(&mut self) {
        let now = time(self.now);
        let Some(leader) = &mut self.leader else { return };
        let plan = leader.runs.plan(now);
        let (ready, wake) = (leader.runs.is_ready(), leader.runs.next_wake());
        assert!(ready || plan.steps.is_empty(), "only reports count before everything is known");
        assert!(wake.is_none_or(|wake| wake > now), "it would be planned again at once");
        if !plan.changes.is_empty() && self.crashes() {
            return;
        }
        self.judge.store(&plan, &self.cluster);
        let leader = self.leader.as_ref().unwrap();
        if ready && self.random.permille(30) {
            self.judge.compare(&leader.runs);
            assert!(
                leader.runs.clone().plan(now) == jobmeter_decide::runs::Plan::default(),
                "a second plan had something left to say"
            );
        }
        self.judge.steps(&plan.steps);
        for (question, answer) in plan.answers {
            assert!(self.asked.remove(&question), "answered twice");
            if let Ok(run) = answer {
                assert!(self.judge.runs[&run.id].run == run);
            }
        }
        let term = self.term;
        if let Some(wake) = wake {
            let wait = u64::try_from(wake.duration_since(now).as_millis()).unwrap() + 1;
            if self.woken_for.is_none_or(|(of, at)| of != term || at <= self.now || at > self.now + wait) {
                self.woken_for = Some((term, self.now + wait));
                self.after(wait, Event::Wake(term));
            }
        }
        for step in plan.steps {
            if self.crashes() {
                return;
            }
            self.send(term, step);
        }
    }

    fn send(&mut self, term: u64, step: Step) {
        let wait = self.random.within(1, 300);
        let sent = Sent { term, answered: false };
        if self.trouble(10) {
            // It never arrives.
            let why = "no answer".to_owned();
            return self.after(5_000, Event::Answer(term, key(&step), Answer::Unknown { why }));
        }
        if self.trouble(10) && !matches!(step, Step::Forget { .. }) {
            let why = "quota".to_owned();
            return self.after(wait, Event::Answer(term, key(&step), Answer::Refused { why }));
        }
        if self.trouble(10) {
            let why = "no answer in time".to_owned();
            self.after(5_000, Event::Answer(term, key(&step), Answer::Unknown { why }));
            let late = self.random.within(1, LATEST);
            return self.after(late, Event::Land(Sent { answered: true, ..sent }, step));
        }
        self.after(wait, Event::Land(sent, step));
    }

    fn land(&mut self, sent: Sent, step: Step) {
        let answer = match &step {
            Step::Create(pod) => {
                let (pod, made) = self.cluster.create(pod, self.now);
                if made && self.trouble(5) {
                    let uid = pod.uid.clone();
                    self.delete(&uid);
                }
                Answer::Made(Box::new(pod))
            }
            Step::Delete { uid, .. } => match self.cluster.pods.contains_key(uid) {
                true => {
                    self.delete(uid);
                    Answer::Done
                }
                false => Answer::Gone,
            },
            Step::Bind { uid, node, .. } => match self.cluster.pods.get(uid) {
                Some(pod) if pod.bound.is_none() => {
                    assert_eq!(pod.node, *node);
                    assert!(pod.phase == PodPhase::Pending && self.scenario.placement == Placement::NodeName);
                    let node = node.clone();
                    self.cluster.change(uid, |pod| pod.bound = Some(node));
                    Answer::Done
                }
                Some(_) => Answer::Refused { why: "it is bound".to_owned() },
                None => Answer::Gone,
            },
            Step::Forget { run, .. } => {
                let pods: Vec<_> = self.cluster.pods.values().filter(|pod| pod.run == *run).map(|pod| pod.uid.clone()).collect();
                for uid in pods {
                    self.delete(&uid);
                }
                Answer::Done
            }
        };
        if sent.answered {
            return;
        }
        let lost = self.trouble(10);
        let answer = if lost { Answer::Unknown { why: "the answer got lost".to_owned() } } else { answer };
        let wait = self.random.within(1, if lost { 5_000 } else { 300 });
        self.after(wait, Event::Answer(sent.term, key(&step), answer));
    }
}
