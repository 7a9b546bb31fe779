use std::time::Duration;

use super::kit::*;
use crate::pool::{Kind, Member, NodeFacts, Observation, Size, StartRate};

#[test]
fn a_place_is_free_when_its_node_is_gone_and_taken_again_when_it_is_back() {
    let mut rig = Rig::new(|_| {}, vec![on("a", "n1")]);
    rig.see(Observation::Node(node("n1")));
    rig.see(Observation::NodeGone { name: "n1".into() });
    assert_eq!(rig.used(), 0);
    rig.see(Observation::Node(node("n1")));
    assert_eq!(rig.used(), 1);
    rig.see(Observation::NodesListed(vec![node("n2")]));
    assert_eq!(rig.used(), 0);
}

#[test]
fn a_pod_on_a_node_that_nobody_has_seen_yet_keeps_its_place() {
    let mut rig = Rig::new(|_| {}, vec![on("a", "brand-new")]);
    rig.see(Observation::NodesListed(vec![node("n1")]));
    assert_eq!(rig.used(), 1);
}

#[test]
fn a_percentage_is_of_the_nodes_that_can_take_pods() {
    let mut rig = Rig::new(|settings| settings.size = Size::Percent(50), Vec::new());
    rig.see(Observation::NodesListed(["n1", "n2", "n3"].map(node).to_vec()));
    assert_eq!((rig.detail().pool.size, rig.detail().pool.nodes), (2, 3));
    rig.see(Observation::Node(NodeFacts { ready: false, ..node("n3") }));
    assert_eq!((rig.detail().pool.size, rig.detail().pool.configured_size), (1, "50%".to_owned()));
}

#[test]
fn a_place_is_held_on_every_node_of_the_list_until_the_pod_is_bound() {
    let limits = |settings: &mut crate::pool::PoolSettings| {
        settings.size = Size::Places(9);
        settings.per_node = Some(1);
    };
    let members = [pod("a"), pod("b")];
    let mut rig = Rig::new(limits, vec![pod("a")]);
    rig.see(Observation::NodesListed(["n1", "n2"].map(node).to_vec()));
    assert_eq!(rig.steps()[0].1.as_ref().unwrap().nodes, ["n1", "n2"]);
    rig.apply(pod("b"));
    assert!(rig.plan().is_empty());
    assert_eq!(rig.waiting(), ["b nodes_full"]);
    rig.apply(on("a", "n2"));
    let (words, slot) = rig.steps().remove(0);
    assert_eq!((words.as_str(), slot.unwrap().nodes), ("reserve b", vec!["n1".to_owned()]));
    assert_eq!(members.len(), 2);
}

#[test]
fn a_pod_that_no_node_suits_says_why() {
    let mut rig = Rig::new(|settings| settings.per_node = Some(1), vec![pod("a")]);
    rig.see(Observation::NodesListed(vec![NodeFacts { unschedulable: true, ..node("n1") }]));
    rig.plan();
    let wait = &rig.detail().waiting[0];
    assert_eq!((wait.reason.as_str(), wait.why.as_str()), ("no_node", "none of 1 node can take it: 1 cordoned"));
}

fn rated(settings: &mut crate::pool::PoolSettings) {
    settings.size = Size::Places(9);
    settings.start_rate = Some(StartRate { starts: 1, within: Duration::from_secs(60) });
}

#[test]
fn starts_are_counted_again_after_a_restart_also_those_of_pods_that_have_ended() {
    for ended in [true, false] {
        let mut rig = Rig::unlisted(rated);
        let scheduled = rig.now.checked_sub(Duration::from_secs(20)).unwrap();
        let started = Member { scheduled: Some(scheduled), ended, ..on("a", "n1") };
        rig.see(Observation::Listed { kind: Kind::Pod, members: vec![started, pod("b")] });
        rig.see(Observation::NodesListed(vec![node("n1")]));
        assert!(rig.plan().is_empty());
        assert_eq!(rig.waiting(), ["b start_rate"]);
        // A second more, because the API server rounds down.
        assert_eq!(rig.ledger.next_wake(), Some(rig.now + Duration::from_secs(41)));
        rig.pass(41);
        assert_eq!(rig.plan(), ["reserve b"]);
    }
}

#[test]
fn a_pod_that_came_and_went_unseen_counts_as_a_start() {
    let mut rig = Rig::new(rated, vec![pod("a")]);
    rig.see(Observation::NodesListed(vec![node("n1")]));
    assert_eq!(rig.go(&[pod("a")]), ["reserve a", "release a"]);
    rig.apply(pod("b"));
    rig.see(Observation::Gone { uid: "a".into(), proven: true });
    assert_eq!((rig.plan().len(), rig.waiting()), (0, vec!["b start_rate".to_owned()]));
}

#[test]
fn a_rate_that_is_new_knows_what_has_started_before() {
    let mut rig = Rig::new(|_| {}, Vec::new());
    rig.see(Observation::NodesListed(vec![node("n1")]));
    rig.apply(Member { scheduled: Some(rig.now), ..on("a", "n1") });
    rig.configure(rated);
    rig.apply(pod("b"));
    assert_eq!((rig.plan().len(), rig.waiting()), (0, vec!["b start_rate".to_owned()]));
    rig.configure(|_| {});
    assert_eq!(rig.waiting(), ["b start_rate"]);
}

#[test]
fn a_pool_that_is_taken_away_and_comes_back_remembers_what_it_started() {
    let mut rig = Rig::new(rated, Vec::new());
    rig.see(Observation::NodesListed(vec![node("n1")]));
    rig.apply(Member { scheduled: Some(rig.now), ..on("a", "n1") });
    rig.apply(Member { ended: true, ..on("a", "n1") });
    rig.see(Observation::Pools(Vec::new()));
    rig.pass(10);
    rig.configure(rated);
    rig.apply(pod("b"));
    assert_eq!((rig.plan().len(), rig.waiting()), (0, vec!["b start_rate".to_owned()]));
    rig.pass(60);
    assert_eq!(rig.plan(), ["reserve b"]);
}

#[test]
fn nodes_that_come_and_go_leave_no_starts_behind() {
    let mut rig = Rig::new(rated, Vec::new());
    for n in 0..50 {
        let (pod, spot) = (format!("p{n}"), format!("spot-{n}"));
        rig.see(Observation::Node(node(&spot)));
        rig.apply(Member { scheduled: Some(rig.now), ..on(&pod, &spot) });
        rig.apply(Member { ended: true, ..on(&pod, &spot) });
        rig.see(Observation::NodeGone { name: spot.as_str().into() });
        rig.pass(120);
    }
    let loads = &rig.ledger.books.pools["gpu"].loads;
    assert!(loads.len() <= 2, "{}", loads.len());
}
