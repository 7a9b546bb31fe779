use super::kit::*;
use crate::pool::{Answer, Member, Observation, PoolSlot, Size, Write};

#[test]
fn a_gate_goes_only_after_the_place_was_written() {
    let mut rig = Rig::new(|_| {}, vec![pod("a"), pod("b")]);
    let [(words, slot)] = <[_; 1]>::try_from(rig.steps()).unwrap();
    assert_eq!(words, "reserve a");
    assert_eq!(slot.as_ref().map(|slot| (slot.epoch, slot.given)), Some((2, rig.now)));
    assert_eq!((rig.plan().len(), rig.waiting()), (0, vec!["b pool_full".to_owned()]));
    rig.answer("a", Write::Reserve, Answer::Done(Box::new(Member { slot: slot.clone(), ..pod("a") })));
    assert_eq!(rig.steps(), [("release a".to_owned(), slot)]);
    rig.answer("a", Write::Release, Answer::Done(Box::new(ungated("a"))));
    assert_eq!((rig.plan().len(), rig.members()), (0, vec!["a released".to_owned()]));
    rig.apply(Member { ended: true, ..ungated("a") });
    assert_eq!(rig.plan(), ["reserve b"]);
}

#[test]
fn a_reserve_that_nobody_answered_is_looked_for() {
    for written in [true, false] {
        let mut rig = Rig::new(|_| {}, vec![pod("a")]);
        let slot = rig.steps()[0].1.clone();
        rig.answer("a", Write::Reserve, unknown());
        assert_eq!((rig.plan(), rig.used()), (vec!["look a".to_owned()], 1));
        rig.found("a", Some(Member { slot: slot.filter(|_| written), ..pod("a") }));
        if written {
            assert_eq!(rig.plan(), ["release a"]);
        } else {
            assert_eq!((rig.plan().len(), rig.waiting()), (0, vec!["a refused".to_owned()]));
            rig.pass(1);
            assert_eq!(rig.plan(), ["reserve a"]);
        }
    }
}

#[test]
fn a_release_that_nobody_answered_keeps_its_place_and_is_fenced_before_it_is_tried_again() {
    let mut rig = Rig::new(|_| {}, vec![pod("a"), pod("b")]);
    let slot = rig.steps()[0].1.clone();
    let written = Member { slot: slot.clone(), ..pod("a") };
    rig.answer("a", Write::Reserve, Answer::Done(Box::new(written.clone())));
    rig.plan();
    rig.answer("a", Write::Release, unknown());
    assert_eq!((rig.plan(), rig.used()), (vec!["look a".to_owned()], 1));
    rig.found("a", Some(written));
    assert!(rig.plan().is_empty());
    rig.now = rig.ledger.next_wake().unwrap();
    // At whatever moment of the clock, another slot.
    let (words, fence) = rig.steps().remove(0);
    assert_eq!(words, "reserve a");
    assert!(fence.as_ref().unwrap().given > slot.unwrap().given);
    // The first release was done after all.
    rig.answer("a", Write::Reserve, refused());
    assert_eq!((rig.plan(), rig.used()), (vec!["look a".to_owned()], 1));
    rig.found("a", Some(ungated("a")));
    assert_eq!((rig.plan().len(), rig.used()), (0, 1));
}

#[test]
fn who_is_refused_leaves_its_place_to_the_next_and_tries_again_later_and_later() {
    let mut rig = Rig::new(|_| {}, vec![pod("a"), pod("b")]);
    assert_eq!(rig.plan(), ["reserve a"]);
    rig.answer("a", Write::Reserve, refused());
    assert_eq!(rig.plan(), ["reserve b"]);
    assert_eq!(rig.waiting(), ["a refused"]);
    rig.answer("b", Write::Reserve, Answer::Gone);
    for wait in [1, 2, 4] {
        assert!(rig.plan().is_empty());
        assert_eq!(rig.ledger.next_wake(), Some(rig.now + std::time::Duration::from_secs(wait)));
        rig.pass(wait);
        assert_eq!(rig.plan(), ["reserve a"]);
        rig.answer("a", Write::Reserve, refused());
    }
}

#[test]
fn a_release_that_was_refused_gives_the_place_back_when_the_gate_was_seen() {
    let mut rig = Rig::new(|_| {}, vec![pod("a"), pod("b")]);
    let slot = rig.steps()[0].1.clone();
    let written = Member { slot, ..pod("a") };
    rig.answer("a", Write::Reserve, Answer::Done(Box::new(written.clone())));
    rig.plan();
    rig.answer("a", Write::Release, refused());
    assert_eq!((rig.plan(), rig.used()), (vec!["look a".to_owned()], 1));
    rig.see(Observation::Unseen { uid: "a".into() });
    assert_eq!((rig.plan().len(), rig.used()), (0, 1));
    rig.pass(2);
    assert_eq!(rig.plan(), ["look a"]);
    rig.found("a", Some(written.clone()));
    assert_eq!(rig.plan(), ["reserve a"], "it is due again");
    rig.answer("a", Write::Reserve, refused());
    // What it had is still written on it, and is no news.
    rig.apply(written);
    assert_eq!((rig.plan(), rig.used()), (vec!["reserve b".to_owned()], 1));
}

#[test]
fn a_place_that_another_leader_gave_is_counted_and_written_anew_before_it_is_used() {
    let inherited = Member { slot: Some(old_slot()), ..pod("old") };
    let mut rig = Rig::new(|_| {}, vec![inherited.clone(), pod("a")]);
    assert_eq!(rig.members(), ["old reserved"]);
    assert_eq!(rig.go(&[inherited]), ["reserve old", "release old"]);
    assert_eq!((rig.used(), rig.waiting()), (1, vec!["a pool_full".to_owned()]));
}

#[test]
fn what_another_leader_gave_beyond_the_size_waits_once_no_release_of_it_can_succeed() {
    let old = |name: &str| Member { slot: Some(old_slot()), ..pod(name) };
    let members = [old("a"), old("b"), old("c")];
    let mut rig = Rig::new(|settings| settings.size = Size::Places(2), members.to_vec());
    assert_eq!(rig.detail().pool.over, 1);
    assert_eq!(rig.go(&members), ["reserve a", "reserve b", "reserve c", "release a", "release b"]);
    assert_eq!((rig.used(), rig.waiting()), (2, vec!["c pool_full".to_owned()]));
}

#[test]
fn a_fence_that_was_refused_frees_nothing() {
    let inherited = Member { slot: Some(old_slot()), ..pod("old") };
    let mut rig = Rig::new(|_| {}, vec![inherited, pod("a")]);
    assert_eq!(rig.plan(), ["reserve old"]);
    rig.answer("old", Write::Reserve, refused());
    assert_eq!((rig.plan(), rig.used()), (vec!["look old".to_owned()], 1));
    rig.found("old", Some(ungated("old")));
    assert_eq!((rig.plan().len(), rig.used(), rig.waiting()), (0, 1, vec!["a pool_full".to_owned()]));
}

#[test]
fn old_events_take_nothing_back() {
    let mut rig = Rig::new(|_| {}, vec![pod("a")]);
    rig.apply(on("a", "n1"));
    rig.apply(pod("a"));
    assert_eq!(rig.members(), ["a ungated"]);
    rig.apply(Member { ended: true, ..on("a", "n1") });
    for late in [on("a", "n1"), pod("a")] {
        rig.apply(late);
        assert_eq!((rig.ledger.plan(rig.now).len(), rig.used()), (0, 0));
    }
}

#[test]
fn so_many_steps_are_under_way_at_once_and_the_next_ones_say_so() {
    let members: Vec<Member> = (0..300).map(|n| pod(&format!("p{n:03}"))).collect();
    let mut rig = Rig::new(|settings| settings.size = Size::Places(300), members);
    assert_eq!((rig.plan().len(), rig.plan().len(), rig.ledger.next_wake()), (256, 0, None));
    assert_eq!(rig.detail().pool.waiting, [("its_turn".to_owned(), 44)].into());
    rig.answer("p000", Write::Reserve, Answer::Gone);
    assert_eq!(rig.plan(), ["reserve p256"]);
}

#[test]
fn a_place_of_an_epoch_that_no_lease_remembers_is_still_written_anew() {
    // The Lease was deleted and counts from the beginning; no later leader is there to do it.
    let inherited = Member { slot: Some(PoolSlot { epoch: 9, ..old_slot() }), ..pod("old") };
    let mut rig = Rig::new(|_| {}, vec![inherited]);
    let (words, slot) = rig.steps().remove(0);
    assert_eq!((words.as_str(), slot.unwrap().epoch), ("reserve old", 9));
}

#[test]
fn a_write_that_always_fails_without_an_answer_is_not_tried_again_at_once_for_ever() {
    // The API server answers reads, and to each patch that a webhook of somebody's cannot be reached.
    let inherited = Member { slot: Some(old_slot()), ..pod("old") };
    let mut rig = Rig::new(|_| {}, vec![inherited.clone()]);
    for wait in [1, 2, 4] {
        assert_eq!(rig.plan(), ["reserve old"]);
        rig.answer("old", Write::Reserve, unknown());
        assert_eq!(rig.plan(), ["look old"]);
        rig.found("old", Some(inherited.clone()));
        assert_eq!((rig.plan().len(), rig.used()), (0, 1));
        rig.pass(wait);
    }
}

#[test]
fn thousands_whose_turn_it_is_are_told_from_those_for_whom_no_place_is_left() {
    let members: Vec<Member> = (0..3_000).map(|n| pod(&format!("p{n:04}"))).collect();
    let mut rig = Rig::new(|settings| settings.size = Size::Places(2_000), members);
    assert_eq!(rig.plan().len(), 256);
    assert_eq!(rig.detail().pool.waiting, [("its_turn".to_owned(), 1_744), ("pool_full".to_owned(), 1_000)].into());
}
