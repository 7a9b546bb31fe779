//! What the pool costs: from a pod's end to the next one's release, releases in a second, memory of those who wait.
//! `cargo bench -p jobmeter-coordinator --bench pool`
//!
//! The API server is a map in this process that echoes every change as a watch does; figures are the coordinator's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark may panic, and prints"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use jobmeter_coordinator::execute::places::Places;
use jobmeter_coordinator::leadership::Authority;
use jobmeter_coordinator::metrics::Metrics;
use jobmeter_coordinator::pool::PoolView;
use jobmeter_coordinator::pool::task::{Inbox, Seen, Task};
use jobmeter_decide::pool::{
    Answer, Kind, Member, NodeFacts, Observation, Order, PoolSettings, Requirements, Size, StartRate, Target,
};
use jobmeter_hostfs::{HostRoot, self_usage};
use jobmeter_protocol::PoolSlot;
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const NODES: usize = 50;
const POOL: &str = "bench";

struct Api {
    pods: Mutex<HashMap<Arc<str>, Member>>,
    inbox: Inbox,
    released: mpsc::UnboundedSender<Arc<str>>,
}

impl Api {
    /// What a watch says of it.
    async fn tell(&self, member: Member) {
        // The task may have been stopped.
        drop(self.inbox.send(Seen { at: Instant::now(), what: Observation::Applied(member) }).await);
    }

    fn change(&self, uid: &Arc<str>, change: impl FnOnce(&mut Member)) -> Member {
        let mut pods = self.pods.lock().unwrap();
        let member = pods.get_mut(uid).unwrap();
        change(member);
        member.clone()
    }

    async fn end(&self, uid: &Arc<str>) {
        let mut member = self.pods.lock().unwrap().remove(uid).unwrap();
        member.ended = true;
        self.tell(member).await;
    }
}

impl Places for Api {
    fn reserve<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer> {
        async move {
            let member = self.change(&target.uid, |member| member.slot = Some(slot.clone()));
            self.tell(member.clone()).await;
            Answer::Done(Box::new(member))
        }
        .boxed()
    }

    fn release<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer> {
        async move {
            let node = slot.nodes.first().map_or_else(|| "node-0".into(), |node| node.as_str().into());
            let member = self.change(&target.uid, |member| {
                assert!(member.gated && member.slot.as_ref() == Some(slot), "released without its place");
                member.gated = false;
                member.node = Some(node);
                member.scheduled = Some(Timestamp::now());
            });
            self.tell(member.clone()).await;
            self.released.send(target.uid.clone()).unwrap();
            Answer::Done(Box::new(member))
        }
        .boxed()
    }

    fn look<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Option<Member>, String>> {
        async move { Ok(self.pods.lock().unwrap().get(&target.uid).cloned()) }.boxed()
    }
}

/// A term over `queued` pods that wait.
struct Term {
    api: Arc<Api>,
    released: mpsc::UnboundedReceiver<Arc<str>>,
    view: PoolView,
    token: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Term {
    async fn begin(size: u32, per_node: Option<u32>, start_rate: Option<StartRate>, queued: usize) -> Self {
        let (inbox, seen) = mpsc::channel(1024);
        let (sent, released) = mpsc::unbounded_channel();
        let members = members(queued);
        let pods = members.iter().map(|member| (member.uid.clone(), member.clone())).collect();
        let api = Arc::new(Api { pods: Mutex::new(pods), inbox, released: sent });
        let (view, desk) = PoolView::new();
        let metrics = Metrics::register(&Registry::new(), 10).unwrap();
        let task = Task::new(&[Kind::Pod], seen, api.clone(), desk, metrics, Authority::alone());
        let token = CancellationToken::new();
        let task = tokio::spawn(task.run(token.clone()));
        let pool = PoolSettings {
            name: POOL.to_owned(),
            size: Size::Places(size),
            per_node,
            start_rate,
            order: Order::Fifo,
            nodes: Requirements::default(),
        };
        for what in [
            Observation::NodesListed((0..NODES).map(node).collect()),
            Observation::Listed { kind: Kind::Pod, members },
            Observation::Pools(vec![pool]),
        ] {
            api.inbox.send(Seen { at: Instant::now(), what }).await.unwrap();
        }
        Self { api, released, view, token, task }
    }

    async fn next(&mut self) -> Arc<str> {
        tokio::time::timeout(Duration::from_secs(60), self.released.recv()).await.expect("nobody was released").unwrap()
    }

    async fn end(self) {
        self.token.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn node(n: usize) -> NodeFacts {
    let name = format!("node-{n}");
    NodeFacts {
        name: name.as_str().into(),
        labels: [("kubernetes.io/hostname".to_owned(), name)].into(),
        taints: vec![],
        ready: true,
        unschedulable: false,
    }
}

/// As the watch makes them: names of their own, the rest shared.
fn members(count: usize) -> Vec<Member> {
    let (pool, requirements): (Arc<str>, _) = (POOL.into(), Arc::new(Requirements::default()));
    let namespaces: Vec<Arc<str>> = (0..20).map(|n| format!("team-{n}").into()).collect();
    let created = Timestamp::now();
    let member = |n: usize| Member {
        uid: format!("00000000-0000-4000-8000-{n:012}").into(),
        kind: Kind::Pod,
        namespace: namespaces[n % namespaces.len()].clone(),
        name: format!("some-job-{n}-x7k2p").into(),
        pool: pool.clone(),
        priority: 0,
        created,
        slots: 1,
        gated: true,
        slot: None,
        node: None,
        scheduled: None,
        unschedulable: None,
        of_run: false,
        ended: false,
        deleting: false,
        requirements: requirements.clone(),
    };
    (0..count).map(member).collect()
}

/// One pod ends at a time; until the next one is released.
async fn latency(what: &str, mut term: Term, running: usize, samples: usize) {
    let mut up = Vec::new();
    for _ in 0..running {
        up.push(term.next().await);
    }
    let mut took = Vec::new();
    for n in 0..samples {
        let ends = up[n % running].clone();
        let begun = Instant::now();
        term.api.end(&ends).await;
        up[n % running] = term.next().await;
        took.push(begun.elapsed());
    }
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:.2?}, p99 {:.2?}, most {:.2?} (of {samples})", at(0.5), at(0.99), at(1.0));
    term.end().await;
}

/// Every released pod ends at once.
async fn rate(what: &str, mut term: Term, releases: usize) {
    let begun = Instant::now();
    for _ in 0..releases {
        let uid = term.next().await;
        term.api.end(&uid).await;
    }
    let took = begun.elapsed();
    println!("{what}: {:.0} releases a second ({releases} in {took:.2?})", releases as f64 / took.as_secs_f64());
    term.end().await;
}

fn resident() -> u64 {
    self_usage::read(&HostRoot::local()).unwrap().resident_bytes
}

async fn memory(queued: usize) {
    let before = resident();
    let term = Term::begin(0, None, None, queued).await;
    while term.view.pools().map_or(0, |pools| pools.first().map_or(0, |pool| pool.queued)) < queued as u32 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The imitated API server keeps a copy of each, which is not the coordinator's.
    term.api.pods.lock().unwrap().clear();
    let grown = resident().saturating_sub(before) / (1 << 20);
    println!("{queued} queued: {grown} MiB more (with the imitated API server's copies)");
    let begun = Instant::now();
    term.view.pool(POOL, 100).await.unwrap().unwrap();
    println!("{queued} queued: the pool with 100 of them is told in {:.2?}", begun.elapsed());
    term.end().await;
}

#[tokio::main]
async fn main() {
    memory(50_000).await;
    let pace = Some(StartRate { starts: 100_000, within: Duration::from_secs(60) });
    latency("end to release, 3,000 queued", Term::begin(50, None, None, 3_000).await, 50, 2_000).await;
    latency("end to release, 50,000 queued", Term::begin(50, None, None, 50_000).await, 50, 2_000).await;
    latency("end to release, 2 on each of 50 nodes", Term::begin(50, Some(2), pace, 3_000).await, 50, 2_000).await;
    rate("a pool of 50, 50,000 queued", Term::begin(50, None, None, 50_000).await, 5_000).await;
    rate("a pool of 50, 2 on each of 50 nodes", Term::begin(50, Some(2), pace, 10_000).await, 5_000).await;
    rate("a pool of 5,000", Term::begin(5_000, None, None, 10_000).await, 10_000).await;
}
