//! The cluster in motion: controllers that make pods, a scheduler, kubelets, people, and one coordinator after another.

mod people;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use jobmeter_decide::pool::{NodeFacts, Observation, Order, PoolSettings, Requirements, Size, StartRate};

use crate::cluster::{Change, Cluster, Pod};
use crate::judge::Judge;
use crate::leader::{Call, Leader};
use crate::random::Random;

pub(crate) const POOLS: [&str; 2] = ["red", "blue"];
/// Of the start rate, in milliseconds. What has started stays at least as long, so that it can be counted again.
pub(crate) const WINDOW: u64 = 20_000;
/// After so long nothing goes wrong any more, and everything must come to an end.
const TROUBLE: u64 = 400_000;
const END: u64 = 40_000_000;
/// Until a call is taken for lost. It may land after that.
const PATIENCE: u64 = 5_000;

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) jobs: u32,
    pub(crate) size: u32,
    pub(crate) nodes: u32,
    pub(crate) per_node: Option<u32>,
    /// In [`WINDOW`].
    pub(crate) start_rate: Option<u32>,
    pub(crate) fair: bool,
    /// How often something goes wrong, of a hundred.
    pub(crate) trouble: u32,
    pub(crate) failovers: u32,
}

#[derive(Debug)]
pub(crate) enum Event {
    Create(u32),
    Schedule(Arc<str>),
    End(Arc<str>),
    Remove(Arc<str>),
    /// Of the watches of a term.
    Watch(u64),
    ListPods(u64),
    ListNodes(u64),
    Wake,
    Land(u64, Call),
    Answer(u64, Observation),
    Takeover,
    People,
    NodeBack(NodeFacts),
    Ready(NodeFacts),
    /// A gated pod gets its label back.
    Relabel(Arc<str>),
    Configure,
    /// The controller deletes pods of nodes that are gone.
    CollectGarbage(Arc<str>),
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) random: Random,
    pub(crate) cluster: Cluster,
    pub(crate) judge: Judge,
    pub(crate) leader: Option<Leader>,
    pub(crate) sizes: BTreeMap<Arc<str>, u32>,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
    terms: u64,
    pods_made: u64,
    woken_for: Option<u64>,
    done: u32,
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut world = Self {
            random: Random::new(scenario.seed),
            cluster: Cluster::default(),
            judge: Judge::default(),
            leader: None,
            sizes: BTreeMap::new(),
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            terms: 0,
            pods_made: 0,
            woken_for: None,
            done: 0,
            scenario,
        };
        for (index, pool) in POOLS.iter().enumerate() {
            world.resize(&Arc::from(*pool), world.scenario.size + index as u32);
        }
        for node in 0..world.scenario.nodes {
            let name: Arc<str> = format!("n{node}").into();
            let labels = [("kubernetes.io/hostname".to_owned(), name.to_string())].into();
            world
                .cluster
                .nodes
                .insert(name.clone(), NodeFacts { name, labels, taints: Vec::new(), ready: true, unschedulable: false });
        }
        for job in 0..world.scenario.jobs {
            let at = world.random.within(0, TROUBLE / 2);
            world.after(at, Event::Create(job));
        }
        world.after(0, Event::Takeover);
        world.after(0, Event::People);
        world
    }

    pub(crate) fn run(mut self) {
        while let Some(Reverse((at, event))) = self.queue.pop() {
            assert!(at < END, "only {} of {} jobs have run", self.done, self.scenario.jobs);
            self.now = at;
            let event = self.events.remove(&event).unwrap();
            self.happen(event);
            self.steer();
            if self.done == self.scenario.jobs && self.now > TROUBLE && !self.cluster.pods.values().any(Pod::runs) {
                break;
            }
        }
        assert_eq!(self.done, self.scenario.jobs, "the world stands still");
        assert!(self.judge.runs.values().all(|runs| *runs == 1), "a job ran more than once");
    }

    pub(crate) fn calm(&self) -> bool {
        self.now > TROUBLE
    }

    /// Something goes wrong now.
    pub(crate) fn trouble(&mut self, permille: u32) -> bool {
        !self.calm() && self.random.permille(permille * self.scenario.trouble / 100)
    }

    pub(crate) fn after(&mut self, wait: u64, event: Event) {
        self.queue.push(Reverse((self.now + wait, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    pub(crate) fn settings(&self) -> Vec<PoolSettings> {
        let settings = |(name, size): (&Arc<str>, &u32)| PoolSettings {
            name: name.to_string(),
            size: Size::Places(*size),
            per_node: self.scenario.per_node,
            start_rate: self.rate().map(|(starts, within)| StartRate { starts, within: Duration::from_millis(within) }),
            order: if self.scenario.fair { Order::FairShare } else { Order::Fifo },
            nodes: Requirements::default(),
        };
        self.sizes.iter().map(settings).collect()
    }

    pub(crate) fn resize(&mut self, pool: &Arc<str>, size: u32) {
        self.sizes.insert(pool.clone(), size);
        self.judge.sized(pool, size, self.now);
        self.configure();
    }

    pub(crate) fn configure(&mut self) {
        let settings = self.settings();
        if let Some(leader) = &mut self.leader {
            leader.observe(Observation::Pools(settings), self.now);
        }
    }

    fn rate(&self) -> Option<(u32, u64)> {
        self.scenario.start_rate.map(|starts| (starts, WINDOW))
    }

    /// A few milliseconds, rarely much more.
    fn delay(&mut self) -> u64 {
        let late = self.trouble(150);
        if late { self.random.within(100, 20_000) } else { self.random.within(1, 100) }
    }

    fn leads(&self, term: u64) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.term == term)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Create(job) => self.create(job),
            Event::Schedule(uid) => self.schedule(&uid),
            Event::End(uid) => self.end(&uid),
            Event::Remove(uid) => self.remove(&uid),
            Event::Watch(term) => self.watch(term),
            Event::ListPods(term) if self.leads(term) => self.list_pods(),
            Event::ListNodes(term) if self.leads(term) => {
                self.leader.as_mut().unwrap().list_nodes(&self.cluster, self.now);
            }
            Event::Land(term, call) => self.land(term, &call),
            Event::Answer(term, observation) if self.leads(term) => {
                self.leader.as_mut().unwrap().observe(observation, self.now);
            }
            Event::Wake => self.woken_for = None,
            Event::ListPods(_) | Event::ListNodes(_) | Event::Answer(..) => {}
            Event::Takeover => self.take_over(),
            Event::People => self.people(),
            Event::NodeBack(node) => {
                self.cluster.nodes.insert(node.name.clone(), node.clone());
                self.cluster.node_log.push(Change::Node(node));
            }
            Event::Ready(node) => {
                if let Some(there) = self.cluster.nodes.get_mut(&node.name) {
                    *there = node.clone();
                    self.cluster.node_log.push(Change::Node(node));
                }
            }
            Event::Relabel(uid) => self.cluster.change(&uid, |pod| pod.labelled = true),
            Event::Configure => self.configure(),
            Event::CollectGarbage(node) => self.collect_garbage(&node),
        }
    }

    /// Whoever leads does what its ledger says.
    fn steer(&mut self) {
        let Some(leader) = &mut self.leader else { return };
        let (term, calls) = (leader.term, leader.plan(self.now));
        for call in calls {
            self.send(term, call);
        }
        if let Some(wake) = self.leader.as_ref().and_then(Leader::next_wake)
            && self.woken_for.is_none_or(|at| wake < at)
        {
            self.woken_for = Some(wake);
            self.after(wake.saturating_sub(self.now).max(1), Event::Wake);
        }
        if let Some(leader) = self.leader.as_ref().filter(|_| self.next.is_multiple_of(64)) {
            self.judge.hear(&leader.ledger, self.now);
        }
    }

    fn send(&mut self, term: u64, call: Call) {
        if self.trouble(30) {
            let refused = call.refused();
            let delay = self.delay();
            return self.after(delay, Event::Answer(term, refused));
        }
        if self.trouble(30) {
            // It never arrives.
            let lost = call.lost();
            return self.after(PATIENCE, Event::Answer(term, lost));
        }
        let delay = self.delay();
        if delay > PATIENCE {
            // It arrives when nobody waits for it any more.
            let lost = call.lost();
            self.after(PATIENCE, Event::Answer(term, lost));
            return self.after(delay, Event::Land(0, call));
        }
        self.after(delay, Event::Land(term, call));
    }

    fn land(&mut self, term: u64, call: &Call) {
        let before = self.cluster.pods.get(call.uid()).is_some_and(|pod| pod.gated);
        let observation = call.land(&mut self.cluster);
        let after = self.cluster.pods.get(call.uid());
        if let Some(pod) = after.filter(|pod| before && !pod.gated) {
            self.judge.ungated(pod);
            self.ungated(&call.uid().clone());
        }
        let lost = self.trouble(30);
        let observation = if lost { call.lost() } else { observation };
        let delay = if lost { PATIENCE } else { self.delay() };
        self.after(delay, Event::Answer(term, observation));
    }

    pub(crate) fn ungated(&mut self, uid: &Arc<str>) {
        let wait = self.random.within(1, 3_000);
        self.after(wait, Event::Schedule(uid.clone()));
    }

    fn list_pods(&mut self) {
        let leader = self.leader.as_mut().unwrap();
        // Nobody who lists by the label ever hears of those that lost it before.
        if !leader.has_listed() {
            for pod in self.cluster.pods.values_mut().filter(|pod| !pod.labelled && !pod.by_hand) {
                self.judge.forget_start(pod);
                if pod.runs() {
                    self.judge.over(pod);
                    pod.by_hand = true;
                }
            }
        }
        leader.list_pods(&self.cluster, self.now);
    }

    fn watch(&mut self, term: u64) {
        if !self.leads(term) {
            return;
        }
        let (most, back) = (self.random.within(1, 40) as usize, self.random.within(1, 400) as usize);
        let (gap, nodes, repeats) = (self.trouble(10), self.random.permille(300), self.trouble(200));
        let wait = self.random.within(1_000, 15_000);
        let next = self.random.within(20, 400);
        let leader = self.leader.as_mut().unwrap();
        leader.watch(&self.cluster, if most > 30 { usize::MAX } else { most }, self.now);
        if repeats {
            leader.repeat(&self.cluster, back, self.now);
        }
        if gap {
            leader.break_watch(nodes);
            self.after(wait, if nodes { Event::ListNodes(term) } else { Event::ListPods(term) });
        }
        self.after(next, Event::Watch(term));
    }

    /// The old leader is silent from now on; what it sent is still on the way.
    fn take_over(&mut self) {
        self.leader = None;
        self.woken_for = None;
        let wait = self.random.within(500, 40_000);
        if self.scenario.failovers > 0 && !self.calm() {
            let term = wait * 100 / u64::from(self.scenario.failovers);
            self.after(term, Event::Takeover);
        }
        if self.trouble(500) {
            let pool = Arc::from(*self.random.pick(&POOLS).unwrap());
            let size = self.random.within(0, u64::from(self.scenario.size) * 2) as u32;
            self.resize(&pool, size);
        }
        self.terms += 1;
        let term = self.terms;
        self.leader = Some(Leader::new(term, self.settings(), self.now));
        for event in [Event::ListPods(term), Event::ListNodes(term)] {
            let wait = self.random.within(1, 3_000);
            self.after(wait, event);
        }
        self.after(1, Event::Watch(term));
    }

    fn create(&mut self, job: u32) {
        self.pods_made += 1;
        let name: Arc<str> = format!("job-{job}-{}", self.pods_made).into();
        let namespace = format!("team-{}", self.random.within(0, 7)).into();
        let pool = Arc::from(*self.random.pick(&POOLS).unwrap());
        let uid: Arc<str> = format!("uid-{:06}", self.random.next() % 1_000_000 * 100_000 + self.pods_made).into();
        let pod = Pod {
            job,
            namespace,
            name,
            pool,
            priority: self.random.within(0, 3) as i32,
            created: self.now,
            gated: true,
            slot: None,
            allowed: Vec::new(),
            node: None,
            bound: None,
            ended: false,
            deleting: false,
            labelled: true,
            by_hand: false,
            dead: false,
        };
        self.cluster.pods.insert(uid.clone(), pod);
        self.cluster.change(&uid, |_| {});
    }

    fn schedule(&mut self, uid: &Arc<str>) {
        let Some(pod) = self.cluster.pods.get(uid).filter(|pod| pod.runs() && pod.node.is_none() && !pod.deleting) else {
            return;
        };
        let may = |name: &&Arc<str>| pod.allowed.is_empty() || pod.allowed.iter().any(|allowed| ***name == **allowed);
        let nodes: Vec<Arc<str>> = self.cluster.nodes.keys().filter(may).cloned().collect();
        let Some(node) = self.random.pick(&nodes).cloned() else { return self.after(2_000, Event::Schedule(uid.clone())) };
        let now = self.now;
        self.cluster.change(uid, |pod| {
            pod.node = Some(node);
            pod.bound = Some(now);
        });
        let (per_node, rate) = (self.scenario.per_node, self.rate());
        self.judge.bound(&self.cluster.pods[uid], per_node, rate, now);
        let long = self.random.permille(100);
        let lasts = if long { self.random.within(5_000, 60_000) } else { self.random.within(1, 8_000) };
        self.after(lasts, Event::End(uid.clone()));
    }

    fn end(&mut self, uid: &Arc<str>) {
        let Some(pod) = self.cluster.pods.get(uid).filter(|pod| pod.runs()) else { return };
        self.judge.over(pod);
        *self.judge.runs.entry(pod.job).or_default() += 1;
        self.done += 1;
        self.cluster.change(uid, |pod| pod.ended = true);
        let stays = self.random.within(0, 30_000) + WINDOW + 2_000;
        self.after(stays, Event::Remove(uid.clone()));
    }

    /// The object goes; a job that has not run gets another pod.
    pub(crate) fn remove(&mut self, uid: &Arc<str>) {
        let Some(pod) = self.cluster.pods.get(uid) else { return };
        if pod.runs() {
            self.judge.over(pod);
        }
        let (ended, job) = (pod.ended, pod.job);
        self.cluster.change(uid, |pod| pod.deleting = true);
        self.cluster.remove(uid);
        if !ended {
            let wait = self.random.within(10, 2_000);
            self.after(wait, Event::Create(job));
        }
    }
}
