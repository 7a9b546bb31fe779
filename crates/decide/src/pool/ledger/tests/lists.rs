use jiff::Timestamp;

use super::kit::*;
use crate::pool::{Kind, Ledger, Member, Observation, Size};

#[test]
fn nothing_is_admitted_before_everything_was_listed() {
    let mut rig = Rig::unlisted(|_| {});
    rig.apply(pod("a"));
    rig.see(Observation::NodesListed(Vec::new()));
    assert_eq!((rig.plan().len(), rig.waiting()), (0, vec!["a not_listed".to_owned()]));
    rig.see(Observation::Listed { kind: Kind::Pod, members: vec![pod("a")] });
    assert_eq!(rig.plan(), ["reserve a"]);
    assert!(!Ledger::new(0, &[Kind::Pod, Kind::Job]).is_ready());
}

#[test]
fn a_pod_that_lost_its_label_keeps_its_place_until_it_has_ended() {
    let mut rig = Rig::new(|_| {}, vec![on("a", "n1"), pod("b")]);
    rig.see(Observation::Gone { uid: "a".into(), proven: false });
    assert_eq!((rig.plan(), rig.used()), (vec!["look a".to_owned()], 1));
    rig.found("a", Some(Member { pool: "".into(), ..on("a", "n1") }));
    for _ in 0..2 {
        assert!(rig.plan().is_empty());
        rig.pass(10);
        assert_eq!(rig.plan(), ["look a"]);
        rig.found("a", Some(Member { pool: "".into(), ..on("a", "n1") }));
    }
    rig.pass(10);
    rig.plan();
    rig.found("a", None);
    assert_eq!(rig.plan(), ["reserve b"]);
}

#[test]
fn who_is_missing_in_a_list_is_looked_for_if_it_has_a_place_and_forgotten_if_not() {
    let mut rig = Rig::new(|_| {}, vec![on("a", "n1"), pod("b"), pod("c")]);
    rig.see(Observation::Listed { kind: Kind::Pod, members: vec![pod("c")] });
    assert_eq!((rig.plan(), rig.waiting()), (vec!["look a".to_owned()], vec!["c pool_full".to_owned()]));
    rig.see(Observation::Gone { uid: "a".into(), proven: true });
    assert_eq!(rig.plan(), ["reserve c"]);
}

#[test]
fn a_smaller_pool_evicts_nobody_and_a_larger_one_lets_more_in() {
    let mut rig = Rig::new(|settings| settings.size = Size::Places(3), vec![ungated("a"), ungated("b"), pod("c"), pod("d")]);
    assert_eq!(rig.plan(), ["reserve c"]);
    rig.configure(|settings| settings.size = Size::Places(1));
    assert_eq!((rig.used(), rig.detail().pool.over), (3, 2));
    rig.answer("c", crate::pool::Write::Reserve, crate::pool::Answer::Done(Box::new(pod("c"))));
    rig.configure(|settings| settings.size = Size::Places(0));
    assert_eq!(rig.waiting(), ["d paused"]);
    rig.configure(|settings| settings.size = Size::Places(4));
    assert!(rig.plan().contains(&"reserve d".to_owned()));
}

#[test]
fn a_reservation_that_the_pool_shrank_away_from_under_is_not_released() {
    let mut rig = Rig::new(|settings| settings.size = Size::Places(2), vec![ungated("a"), pod("b")]);
    let slot = rig.steps()[0].1.clone();
    rig.configure(|settings| settings.size = Size::Places(1));
    rig.answer("b", crate::pool::Write::Reserve, crate::pool::Answer::Done(Box::new(Member { slot, ..pod("b") })));
    assert_eq!((rig.plan().len(), rig.used(), rig.waiting()), (0, 1, vec!["b pool_full".to_owned()]));
}

#[test]
fn a_pool_that_nobody_configured_is_shown_with_those_who_name_it() {
    let lost = Member { pool: "gqu".into(), ..pod("a") };
    let mut rig = Rig::new(|_| {}, vec![lost]);
    assert!(rig.plan().is_empty());
    let names: Vec<String> = rig.ledger.pools(rig.now).into_iter().map(|pool| pool.name).collect();
    assert_eq!(names, ["gpu", "gqu"]);
    let typo = rig.ledger.pool("gqu", 9, rig.now).unwrap();
    assert_eq!((typo.pool.configured_size.as_str(), typo.waiting[0].reason.as_str()), ("not configured", "no_such_pool"));
    rig.settings.name = "gqu".to_owned();
    rig.configure(|_| {});
    assert_eq!(rig.plan(), ["reserve a"]);
}

#[test]
fn a_job_of_several_places_waits_for_them_and_nobody_overtakes_it() {
    let job = |name: &str, slots| Member { kind: Kind::Job, slots, ..pod(name) };
    let members = vec![ungated("a"), job("b", 3), job("c", 1), job("d", 9)];
    let mut rig = Rig::new(|settings| settings.size = Size::Places(3), members);
    assert!(rig.plan().is_empty());
    assert_eq!(rig.waiting(), ["b pool_full", "c behind", "d too_large"]);
    rig.apply(Member { ended: true, ..ungated("a") });
    assert_eq!((rig.plan(), rig.used()), (vec!["reserve b".to_owned()], 3));
}

#[test]
fn who_is_being_deleted_is_not_admitted_and_keeps_the_place_that_it_has() {
    let mut rig = Rig::new(|_| {}, vec![Member { deleting: true, ..pod("a") }, pod("b")]);
    assert_eq!(rig.plan(), ["reserve b"]);
    let mut rig = Rig::new(|_| {}, vec![Member { deleting: true, ..on("a", "n1") }, pod("b")]);
    assert_eq!((rig.plan().len(), rig.members()), (0, vec!["a ending".to_owned()]));
}

#[test]
fn a_gated_pod_whose_label_went_and_came_back_while_it_was_written_is_not_forgotten() {
    let mut rig = Rig::new(|_| {}, vec![pod("a")]);
    assert_eq!(rig.plan(), ["reserve a"]);
    rig.see(Observation::Gone { uid: "a".into(), proven: false });
    rig.apply(pod("a"));
    rig.answer("a", crate::pool::Write::Reserve, refused());
    assert_eq!(rig.plan(), ["look a"]);
    rig.found("a", Some(pod("a")));
    assert_eq!(rig.waiting(), ["a refused"]);
    rig.pass(1);
    assert_eq!(rig.plan(), ["reserve a"]);
}

#[test]
fn pods_that_have_ended_leave_no_pool_that_nobody_configured() {
    let ended = Member { pool: "old".into(), ended: true, ..on("a", "n1") };
    let rig = Rig::new(|_| {}, vec![ended.clone()]);
    assert_eq!(rig.ledger.pools(rig.now).len(), 1);
    let mut rig = Rig::new(|_| {}, vec![]);
    rig.apply(ended);
    assert_eq!(rig.ledger.pools(rig.now).len(), 1);
}

#[test]
fn the_oldest_is_found_whatever_its_priority() {
    let waits = |name: &str, priority, second| Member { priority, created: Timestamp::from_second(second).unwrap(), ..pod(name) };
    let members = [("a", 9, 50), ("b", 9, 60), ("c", 0, 20), ("d", 0, 70), ("e", -5, 30)].map(|(name, p, at)| waits(name, p, at));
    let rig = Rig::new(|settings| settings.size = Size::Places(0), members.to_vec());
    assert_eq!(rig.detail().pool.oldest, Some(Timestamp::from_second(20).unwrap()));
}

#[test]
fn a_released_pod_that_no_node_can_take_keeps_its_place_and_says_why() {
    let slot = Some(jobmeter_protocol::PoolSlot {
        pool: "gpu".to_owned(),
        epoch: 1,
        given: Timestamp::UNIX_EPOCH,
        nodes: vec!["n1".to_owned()],
    });
    let why = "0/3 nodes are available: 3 Insufficient memory.";
    let mut rig = Rig::new(|_| {}, vec![Member { slot, unschedulable: Some(why.into()), ..ungated("a") }]);
    assert_eq!((rig.members(), rig.used()), (vec!["a released".to_owned()], 1));
    assert_eq!(rig.detail().members[0].why.as_deref(), Some(why));
    rig.apply(on("a", "n1"));
    assert_eq!(rig.detail().members[0].why, None);
}
