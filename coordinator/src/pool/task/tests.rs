//! The loop over places in memory, where a test holds the answers in its hand.

use std::sync::Mutex;

use futures::FutureExt;
use futures::future::BoxFuture;
use jobmeter_decide::pool::{Member, NodeFacts, Order, PoolSettings, Requirements, Size, Target};
use jobmeter_protocol::PoolSlot;
use prometheus::Registry;
use tokio::task::JoinHandle;

use super::*;
use crate::pool::PoolView;

/// What was asked for, in order; each call is answered by `next`.
struct Scripted {
    calls: Mutex<Vec<String>>,
    pods: Mutex<HashMap<Arc<str>, Member>>,
    /// Calls of this kind are never answered.
    silent: Option<&'static str>,
}

impl Scripted {
    fn call(&self, what: &'static str, target: &Target, change: impl FnOnce(&mut Member)) -> BoxFuture<'_, Answer> {
        self.calls.lock().unwrap().push(format!("{what} {}", target.uid));
        if self.silent == Some(what) {
            return std::future::pending().boxed();
        }
        let mut pods = self.pods.lock().unwrap();
        let member = pods.get_mut(&target.uid).map(|member| {
            change(member);
            member.clone()
        });
        std::future::ready(member.map_or(Answer::Gone, |member| Answer::Done(Box::new(member)))).boxed()
    }
}

impl Places for Scripted {
    fn reserve<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer> {
        self.call("reserve", target, |member| member.slot = Some(slot.clone()))
    }

    fn release<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer> {
        self.call("release", target, |member| {
            assert_eq!(member.slot.as_ref(), Some(slot), "released without its place");
            member.gated = false;
        })
    }

    fn look<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Option<Member>, String>> {
        self.calls.lock().unwrap().push(format!("look {}", target.uid));
        let found = self.pods.lock().unwrap().get(&target.uid).cloned();
        std::future::ready(Ok(found)).boxed()
    }
}

struct Term {
    places: Arc<Scripted>,
    inbox: Inbox,
    view: PoolView,
    token: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

fn gated(n: usize) -> Member {
    Member {
        uid: n.to_string().into(),
        kind: Kind::Pod,
        namespace: "bench".into(),
        name: format!("pod-{n}").into(),
        pool: "gpu".into(),
        priority: 0,
        created: Timestamp::from_second(n as i64).unwrap(),
        slots: 1,
        gated: true,
        slot: None,
        node: None,
        scheduled: None,
        unschedulable: None,
        of_run: false,
        ended: false,
        deleting: false,
        requirements: Arc::default(),
    }
}

impl Term {
    async fn begin(size: u32, pods: usize, silent: Option<&'static str>, authority: Authority) -> Self {
        let members: Vec<Member> = (1..=pods).map(gated).collect();
        let pods = members.iter().map(|member| (member.uid.clone(), member.clone())).collect();
        let places = Arc::new(Scripted { calls: Mutex::default(), pods: Mutex::new(pods), silent });
        let (inbox, seen) = mpsc::channel(16);
        let (view, desk) = PoolView::new();
        let metrics = Metrics::register(&Registry::new(), 10).unwrap();
        let task = Task::new(&[Kind::Pod], seen, places.clone(), desk, metrics, authority);
        let token = CancellationToken::new();
        let task = tokio::spawn(task.run(token.clone()));
        let term = Self { places, inbox, view, token, task };
        let pool = PoolSettings {
            name: "gpu".to_owned(),
            size: Size::Places(size),
            per_node: None,
            start_rate: None,
            order: Order::Fifo,
            nodes: Requirements::default(),
        };
        term.tell(Observation::Pools(vec![pool])).await;
        term.tell(Observation::NodesListed(Vec::<NodeFacts>::new())).await;
        term.tell(Observation::Listed { kind: Kind::Pod, members }).await;
        term
    }

    async fn tell(&self, what: Observation) {
        self.inbox.send(Seen { at: Instant::now(), what }).await.unwrap();
    }

    /// Until the pool is as it should be; under paused time this is as long as anything else waits.
    async fn until(&self, used: u32, queued: u32) {
        for _ in 0..600 {
            let pools = self.view.pools().unwrap_or_default();
            if pools.first().is_some_and(|pool| (pool.used, pool.queued) == (used, queued)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("waited in vain for {used} used and {queued} queued: {:?}", self.view.pools());
    }

    fn calls(&self) -> Vec<String> {
        self.places.calls.lock().unwrap().clone()
    }

    async fn end(self) {
        self.token.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_place_is_written_before_its_gate_goes() {
    let term = Term::begin(1, 2, None, Authority::alone()).await;
    term.until(1, 1).await;
    let ended = Member { ended: true, gated: false, ..gated(1) };
    term.tell(Observation::Applied(ended)).await;
    term.until(1, 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(term.calls(), ["reserve 1", "release 1", "reserve 2", "release 2"]);
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_authority_nothing_is_written() {
    let term = Term::begin(5, 3, None, Authority::lapsed(4)).await;
    term.until(0, 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(term.calls(), Vec::<String>::new());
    let detail = term.view.pool("gpu", 1).await.unwrap().unwrap();
    assert!(detail.waiting[0].why.contains("does not lead"), "{detail:?}");
    term.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_never_answered_keeps_its_place_and_is_looked_up() {
    let term = Term::begin(1, 2, Some("release"), Authority::alone()).await;
    term.until(1, 1).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let calls = term.calls();
    assert_eq!(calls[..3], ["reserve 1", "release 1", "look 1"]);
    assert!(!calls.iter().any(|call| call.ends_with(" 2")), "{calls:?}");
    term.end().await;
}

#[tokio::test]
async fn nothing_is_told_before_everything_was_counted() {
    let (inbox, seen) = mpsc::channel(16);
    let (view, desk) = PoolView::new();
    let places = Scripted { calls: Mutex::default(), pods: Mutex::default(), silent: None };
    let metrics = Metrics::register(&Registry::new(), 10).unwrap();
    let task = Task::new(&[Kind::Pod], seen, Arc::new(places), desk, metrics, Authority::alone());
    let task = tokio::spawn(task.run(CancellationToken::new()));
    inbox.send(Seen { at: Instant::now(), what: Observation::Pools(vec![]) }).await.unwrap();
    tokio::time::sleep(2 * PUBLISH).await;
    assert!(view.pools().is_err());
    // Nobody observes any more: that is no way to go on.
    drop(inbox);
    assert!(task.await.unwrap().is_err());
}
