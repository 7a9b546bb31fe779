//! What the pool's ledger costs: `cargo bench -p jobmeter-decide`.
//!
//! Releases per second through observe and plan, with an API server that is a map: each release is a reserve, its answer, a release,
//! its answer, the event of the binding, and the event of the end. And the bytes that a queued member takes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark may end in a panic, and it has a clock")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jobmeter_decide::pool::{
    Answer, Kind, Ledger, Member, NodeFacts, Observation, Order, PoolSettings, Requirements, Size, Step, Target, Write,
};

const QUEUED: usize = 50_000;
const NODES: usize = 500;
const SIZE: u32 = 1_000;

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let (ledger, _) = filled(None, Order::Fifo);
    drop(ledger);
    let before = BYTES.load(Ordering::Relaxed);
    let started = Instant::now();
    let (ledger, members) = filled(None, Order::Fifo);
    let with_both = BYTES.load(Ordering::Relaxed) - before;
    println!("{QUEUED} members are listed and queued in {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    drop(members);
    let bytes = BYTES.load(Ordering::Relaxed) - before;
    println!(
        "{QUEUED} queued members: {:.1} MiB in the ledger, {} bytes each (with the API server's own map: {:.1} MiB)",
        mebibytes(bytes),
        bytes / QUEUED,
        mebibytes(with_both)
    );
    let started = Instant::now();
    let pools = ledger.pools(Timestamp::UNIX_EPOCH);
    println!("a look at the pools with {} queued: {:.2} ms", pools[0].queued, started.elapsed().as_secs_f64() * 1e3);
    for (name, per_node, order) in [
        ("first come, first served, any node", None, Order::Fifo),
        ("fair share, any node", None, Order::FairShare),
        ("first come, first served, 2 on each of 500 nodes", Some(2), Order::Fifo),
        ("fair share, 2 on each of 500 nodes", Some(2), Order::FairShare),
    ] {
        run(name, per_node, order);
    }
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

fn at(second: usize) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(second as u64)
}

fn member(n: usize) -> Member {
    Member {
        uid: format!("{n:08x}-4d6b-4a3c-9f10-{:012x}", n * 7).into(),
        kind: Kind::Pod,
        namespace: format!("team-{}", n % 20).into(),
        name: format!("nightly-simulation-{}-{n:05}", n / 100).into(),
        pool: "gpu".into(),
        priority: 0,
        created: at(n / 50),
        slots: 1,
        gated: true,
        slot: None,
        node: None,
        scheduled: None,
        unschedulable: None,
        of_run: false,
        ended: false,
        deleting: false,
        requirements: Arc::new(Requirements {
            node_selector: [("disk".to_owned(), "ssd".to_owned())].into(),
            ..Default::default()
        }),
    }
}

fn filled(per_node: Option<u32>, order: Order) -> (Ledger, BTreeMap<Arc<str>, Member>) {
    let mut ledger = Ledger::new(1, &[Kind::Pod]);
    let nodes = Requirements::default();
    let settings = PoolSettings { name: "gpu".to_owned(), size: Size::Places(SIZE), per_node, start_rate: None, order, nodes };
    ledger.observe(Observation::Pools(vec![settings]), at(0));
    let node = |n: usize| {
        let name = format!("node-{n:03}");
        let labels = [("kubernetes.io/hostname".to_owned(), name.clone()), ("disk".to_owned(), "ssd".to_owned())].into();
        NodeFacts { name: name.into(), labels, taints: Vec::new(), ready: true, unschedulable: false }
    };
    ledger.observe(Observation::NodesListed((0..NODES).map(node).collect()), at(0));
    let members: Vec<Member> = (0..QUEUED).map(member).collect();
    let map = members.iter().map(|member| (member.uid.clone(), member.clone())).collect();
    ledger.observe(Observation::Listed { kind: Kind::Pod, members }, at(0));
    (ledger, map)
}

fn run(name: &str, per_node: Option<u32>, order: Order) {
    let (mut ledger, mut api) = filled(per_node, order);
    let (mut running, mut released) = (std::collections::VecDeque::new(), 0_usize);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) && released < QUEUED - SIZE as usize {
        let now = at(10_000) + started.elapsed();
        let steps = ledger.plan(now);
        if steps.is_empty() {
            // The pool is full: one ends, as it does in a cluster, one by one.
            let uid: Arc<str> = running.pop_front().unwrap();
            let mut member = api.remove(&uid).unwrap();
            member.ended = true;
            ledger.observe(Observation::Applied(member), now);
            continue;
        }
        for step in steps {
            let (Step::Reserve { target, .. } | Step::Release { target, .. } | Step::Look { target }) = &step;
            let Target { uid, .. } = target.clone();
            let member = api.get_mut(&uid).unwrap();
            let what = match step {
                Step::Reserve { slot, .. } => {
                    member.slot = Some(slot);
                    Write::Reserve
                }
                Step::Release { .. } => {
                    member.gated = false;
                    Write::Release
                }
                Step::Look { .. } => continue,
            };
            ledger.observe(Observation::Answered { uid: uid.clone(), what, answer: Answer::Done(Box::new(member.clone())) }, now);
            ledger.observe(Observation::Applied(member.clone()), now);
            if what == Write::Release {
                let node = member
                    .slot
                    .as_ref()
                    .unwrap()
                    .nodes
                    .first()
                    .cloned()
                    .unwrap_or_else(|| format!("node-{:03}", released % NODES));
                member.node = Some(node.into());
                member.scheduled = Some(now);
                ledger.observe(Observation::Applied(member.clone()), now);
                running.push_back(uid);
                released += 1;
            }
        }
    }
    let rate = released as f64 / started.elapsed().as_secs_f64();
    println!("{name}: {rate:.0} releases a second, {:.0} times the 500 that are asked for", rate / 500.0);
}
