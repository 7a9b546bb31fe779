use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::pool::placement::Unfit;

type Key = (u32, &'static str);

/// Priority, arrival, namespace.
type Waiting = (i32, u32, &'static str);

struct Pool {
    size: u32,
    used: u32,
    order: Order,
    limits: Limits,
    shares: BTreeMap<Arc<str>, u32>,
    loads: BTreeMap<Arc<str>, Load>,
    unnamed: bool,
}

fn pool(size: u32, used: u32) -> Pool {
    let (shares, loads) = Default::default();
    Pool { size, used, order: Order::Fifo, limits: Limits::default(), shares, loads, unnamed: false }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn survey(nodes: &[&str]) -> Survey {
    Survey { fits: nodes.iter().map(|node| (*node).into()).collect(), unfit: BTreeMap::new() }
}

impl Pool {
    /// Lanes of (slots, survey, members).
    fn admit(&self, lanes: &[(u32, Option<&Survey>, &[Waiting])], most: usize) -> Outcome<Key> {
        let round = Round {
            size: self.size,
            used: self.used,
            order: self.order,
            limits: self.limits,
            shares: &self.shares,
            loads: &self.loads,
            named: &|_| !self.unnamed,
            now: now(),
        };
        let namespaces: Vec<Arc<str>> =
            lanes.iter().map(|(.., members)| members.first().map_or("", |member| member.2).into()).collect();
        let open = lanes.iter().zip(&namespaces).map(|((slots, survey, members), namespace)| Lane {
            namespace: Some(namespace),
            slots: *slots,
            survey: *survey,
            members: members.iter().map(|(priority, at, name)| Asking { priority: *priority, key: (*at, *name) }).peekable(),
        });
        admit(&round, open.collect(), most)
    }
}

fn order(outcome: &Outcome<Key>) -> Vec<u32> {
    outcome.admitted.iter().map(|admitted| admitted.key.0).collect()
}

#[test]
fn the_free_places_go_to_the_highest_priority_and_then_to_the_first() {
    let outcome = pool(4, 1).admit(&[(1, None, &[(5, 3, "a"), (0, 1, "a")]), (1, None, &[(5, 2, "b"), (0, 4, "b")])], 99);
    assert_eq!(order(&outcome), [2, 3, 1]);
    assert_eq!(outcome.waiting, [WaitReason::PoolFull { used: 4, size: 4 }, WaitReason::PoolFull { used: 4, size: 4 }]);
}

#[test]
fn fair_share_gives_to_the_namespace_with_the_fewest_places() {
    let lanes: &[(u32, Option<&Survey>, &[Waiting])] =
        &[(1, None, &[(0, 1, "a"), (0, 2, "a"), (0, 3, "a")]), (1, None, &[(0, 7, "b"), (0, 8, "b"), (0, 9, "b")])];
    let fair = Pool { order: Order::FairShare, shares: [("a".into(), 2)].into(), ..pool(6, 2) };
    assert_eq!(order(&fair.admit(lanes, 99)), [7, 8, 1, 9]);
    assert_eq!(order(&pool(6, 2).admit(lanes, 99)), [1, 2, 3, 7]);
}

#[test]
fn one_that_needs_more_than_is_free_holds_up_the_others_unless_it_can_never_fit() {
    let outcome = pool(4, 2).admit(&[(3, None, &[(0, 1, "big")]), (1, None, &[(0, 2, "small")])], 99);
    assert_eq!(order(&outcome), [0_u32; 0]);
    assert_eq!(outcome.blocker, Some(((1, "big"), WaitReason::PoolFull { used: 2, size: 4 })));
    assert_eq!(outcome.waiting[1], WaitReason::Behind { slots: 3 });
    let outcome = pool(4, 2).admit(&[(5, None, &[(0, 1, "huge")]), (1, None, &[(0, 2, "small")])], 99);
    assert_eq!(order(&outcome), [2]);
    assert_eq!(outcome.waiting[0], WaitReason::TooLarge { slots: 5, size: 4 });
}

#[test]
fn a_pool_of_no_places_is_paused_and_one_that_shrank_is_full() {
    assert_eq!(pool(0, 3).admit(&[(1, None, &[(0, 1, "a")])], 99).waiting, [WaitReason::Paused]);
    assert_eq!(pool(2, 3).admit(&[(1, None, &[(0, 1, "a")])], 99).waiting, [WaitReason::PoolFull { used: 3, size: 2 }]);
}

#[test]
fn who_can_use_no_node_leaves_its_place_to_the_next() {
    let mut nowhere = survey(&[]);
    nowhere.unfit.insert(Unfit::NotReady, 2);
    let one = survey(&["n1"]);
    let limited = Pool { limits: Limits { per_node: Some(1), start_rate: None }, ..pool(9, 0) };
    let outcome = limited.admit(&[(1, Some(&nowhere), &[(0, 1, "a")]), (1, Some(&one), &[(0, 2, "b"), (0, 3, "b")])], 99);
    assert_eq!(outcome.admitted, [Admitted { key: (2, "b"), nodes: vec!["n1".into()] }]);
    assert_eq!(
        outcome.waiting,
        [WaitReason::NoNode { nodes: 2, why: "2 not ready".to_owned() }, WaitReason::NodesFull { nodes: 1, per_node: 1 }]
    );
}

#[test]
fn free_nodes_are_shared_between_those_who_wait() {
    let names: Vec<String> = (0..40).map(|node| format!("n{node:02}")).collect();
    let nodes = survey(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let limited = Pool { limits: Limits { per_node: Some(1), start_rate: None }, ..pool(99, 0) };
    let alone = limited.admit(&[(1, Some(&nodes), &[(0, 1, "a")])], 99);
    assert_eq!(alone.admitted[0].nodes.len(), 16);
    let five: Vec<Waiting> = (0..5).map(|at| (0, at, "a")).collect();
    let shared = limited.admit(&[(1, Some(&nodes), &five)], 99);
    assert_eq!(shared.admitted.iter().map(|admitted| admitted.nodes.len()).collect::<Vec<_>>(), [8; 5]);
    let unnamed = Pool { unnamed: true, ..limited }.admit(&[(1, Some(&nodes), &[(0, 1, "a")])], 99);
    assert_eq!(unnamed.admitted[0].nodes, ["n00".into()]);
}

#[test]
fn a_node_starts_no_more_within_the_window_than_its_rate() {
    let rate = StartRate { starts: 2, within: Duration::from_secs(60) };
    let second = |second| Timestamp::from_second(second).unwrap();
    let load = |bound, held, starts: &[i64]| Load { bound, held, starts: starts.iter().map(|at| second(*at)).collect() };
    let one = survey(&["n1"]);
    let ask = |load: Load| {
        let limits = Limits { per_node: None, start_rate: Some(rate) };
        let outcome =
            Pool { limits, loads: [("n1".into(), load)].into(), ..pool(9, 0) }.admit(&[(1, Some(&one), &[(0, 1, "a")])], 99);
        outcome.admitted.is_empty().then(|| outcome.waiting[0].clone())
    };
    assert_eq!(ask(load(2, 0, &[930, 970])), None, "the older one has left the window");
    assert_eq!(ask(load(2, 0, &[950, 970])), Some(WaitReason::StartRate { until: second(1010) }));
    assert_eq!(ask(load(1, 1, &[970])), Some(WaitReason::StartRate { until: second(1030) }));
    assert_eq!(ask(load(0, 2, &[])), Some(WaitReason::NodesFull { nodes: 1, per_node: 2 }));
}

#[test]
fn a_percentage_is_rounded_up_and_is_one_at_least() {
    assert_eq!([0, 1, 4, 5].map(|nodes| Size::Percent(25).places(nodes)), [0, 1, 1, 2]);
    assert_eq!((Size::Percent(0).places(9), Size::Percent(200).places(3)), (0, 6));
}

#[test]
fn a_round_that_was_cut_short_says_so() {
    let outcome = pool(9, 0).admit(&[(1, None, &[(0, 1, "a"), (0, 2, "a")])], 1);
    assert!(outcome.more && order(&outcome) == [1]);
}

proptest! {
    #[test]
    fn never_more_than_the_size_nor_than_a_node_takes_and_no_place_is_left_that_somebody_could_use(
        size in 0_u32..12,
        used in 0_u32..12,
        per_node in 1_u32..4,
        nodes in 0_usize..6,
        members in proptest::collection::vec((0_i32..3, 1_u32..4), 0..20),
    ) {
        let names: Vec<String> = (0..nodes).map(|node| format!("n{node}")).collect();
        let all = survey(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let limited = Pool { limits: Limits { per_node: Some(per_node), start_rate: None }, ..pool(size, used) };
        let mut waiting: Vec<Waiting> = members.iter().enumerate().map(|(at, (priority, _))| (*priority, at as u32, "a")).collect();
        waiting.sort_by_key(|(priority, at, _)| (std::cmp::Reverse(*priority), *at));
        let outcome = limited.admit(&[(1, Some(&all), &waiting)], usize::MAX);
        let given = outcome.admitted.len() as u32;
        prop_assert!(given + used <= size.max(used));
        for node in &all.fits {
            prop_assert!(outcome.admitted.iter().filter(|admitted| admitted.nodes.contains(node)).count() as u32 <= per_node);
        }
        let first: Vec<u32> = waiting.iter().take(given as usize).map(|member| member.1).collect();
        prop_assert_eq!(order(&outcome), first);
        // Each holds at least one node and at most its share: with as many places as members nobody is left out.
        let room = per_node * nodes as u32;
        if nodes > 0 && room >= waiting.len() as u32 && size >= used + waiting.len() as u32 && waiting.len() as u32 <= nodes as u32 {
            prop_assert_eq!(given as usize, waiting.len());
        }
    }
}
