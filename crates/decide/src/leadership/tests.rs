use super::*;

const TIMING: Timing = Timing {
    lease_duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry_period: Duration::from_secs(2),
};
const CALL: Duration = Duration::from_secs(5);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn elector() -> Elector {
    Elector::new(TIMING, "me".to_owned(), 0)
}

fn lease(version: u64, holder: &str, transitions: u64) -> Lease {
    Lease { resource_version: version.to_string(), holder: holder.to_owned(), duration: s(15), transitions }
}

fn claim(transitions: u64, acquires: bool) -> Claim {
    Claim { holder: "me".to_owned(), duration: s(15), transitions, acquires }
}

fn replace(version: u64, transitions: u64, acquires: bool) -> Step {
    Step::Replace { resource_version: version.to_string(), claim: claim(transitions, acquires), within: CALL }
}

/// One that leads since second 0, with epoch 1 and version 1.
fn leader() -> Elector {
    let mut elector = elector();
    assert_eq!(elector.next(s(0)), Step::Get { within: CALL });
    elector.answered(s(0), Answer::Absent, 0.0);
    assert_eq!(elector.next(s(0)), Step::Create { claim: claim(1, true), within: CALL });
    elector.answered(s(0), Answer::Written(lease(1, "me", 1)), 0.0);
    assert_eq!(elector.next(s(0)), Step::BecomeLeader { epoch: 1 });
    assert_eq!(elector.next(s(0)), Step::Wait { until: s(2), why: Waiting::Leading });
    elector
}

#[test]
fn the_first_one_creates_the_lease_and_renews_it_at_every_period() {
    let mut elector = leader();
    assert_eq!(elector.holds_until(), Some(s(10)));
    assert_eq!(elector.next(s(2)), replace(1, 1, false));
    elector.answered(s(4), Answer::Written(lease(2, "me", 1)), 1.0);
    // From when it was sent, not from when it was answered.
    assert_eq!(elector.holds_until(), Some(s(12)));
    assert_eq!(elector.next(s(4)), Step::Wait { until: Duration::from_millis(6400), why: Waiting::Leading });
}

#[test]
fn a_lease_is_taken_only_when_it_did_not_change_for_its_duration_by_our_own_clock() {
    let mut elector = elector();
    let mut look = |now, version| {
        assert_eq!(elector.next(now), Step::Get { within: CALL });
        elector.answered(now, Answer::Found(lease(version, "other", 4)), 0.0);
        elector.next(now)
    };
    let wait = |until| Step::Wait { until, why: Waiting::HeldBy { holder: "other".to_owned() } };
    assert_eq!(look(s(100), 7), wait(s(102)));
    assert_eq!(look(s(103), 8), wait(s(105)));
    // Not before its end, and not later than that.
    assert_eq!(look(s(117), 8), wait(s(118)));
    assert_eq!(look(s(118), 8), replace(8, 5, true));
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once_and_who_comes_second_waits() {
    let mut elector = elector();
    elector.next(s(0));
    elector.answered(s(0), Answer::Found(Lease { duration: s(1), ..lease(7, "", 4) }), 0.0);
    assert_eq!(elector.next(s(0)), replace(7, 5, true));
    elector.answered(s(1), Answer::Conflict, 0.0);
    assert_eq!(elector.next(s(1)), Step::Wait { until: s(3), why: Waiting::Outrun });
    assert_eq!(elector.next(s(3)), Step::Get { within: CALL });
}

#[test]
fn no_epoch_is_used_twice_though_the_lease_was_deleted() {
    let mut elector = Elector::new(TIMING, "me".to_owned(), 41);
    elector.next(s(0));
    elector.answered(s(0), Answer::Absent, 0.0);
    assert_eq!(elector.next(s(0)), Step::Create { claim: claim(42, true), within: CALL });

    let mut elector = super::Elector::new(TIMING, "me".to_owned(), 0);
    elector.next(s(0));
    elector.answered(s(0), Answer::Found(lease(7, "other", 4)), 0.0);
    elector.next(s(2));
    elector.answered(s(2), Answer::Absent, 0.0);
    // Who held it may think so still.
    assert_eq!(elector.next(s(2)), Step::Wait { until: s(4), why: Waiting::HolderMayNotKnow { holder: "other".to_owned() } });
    elector.next(s(15));
    elector.answered(s(15), Answer::Absent, 0.0);
    assert_eq!(elector.next(s(15)), Step::Create { claim: claim(5, true), within: CALL });
}

#[test]
fn a_process_that_is_started_again_in_the_same_pod_does_not_wait_for_its_predecessor() {
    let mut elector = elector().succeeding(Some("pod-a.uid_".to_owned()));
    elector.next(s(0));
    elector.answered(s(0), Answer::Found(lease(7, "pod-a.uid_first", 4)), 0.0);
    assert_eq!(elector.next(s(0)), replace(7, 5, true));
    elector.answered(s(0), Answer::Conflict, 0.0);
    elector.next(s(2));
    elector.answered(s(2), Answer::Found(lease(8, "pod-a.other_first", 5)), 0.0);
    assert!(matches!(elector.next(s(2)), Step::Wait { why: Waiting::HeldBy { .. }, .. }));
}

#[test]
fn a_leader_whose_lease_was_deleted_makes_it_anew_with_its_own_epoch() {
    let mut elector = leader();
    elector.next(s(2));
    elector.answered(s(2), Answer::Absent, 0.0);
    assert_eq!(elector.next(s(2)), Step::Create { claim: claim(1, true), within: CALL });
    elector.answered(s(2), Answer::Written(lease(9, "me", 1)), 0.0);
    assert_eq!(elector.holds_until(), Some(s(12)));
}

#[test]
fn an_answer_that_was_lost_costs_a_look_and_not_the_leadership() {
    let mut elector = leader();
    elector.next(s(2));
    elector.answered(s(7), Answer::Unknown, 0.0);
    assert_eq!(elector.next(s(7)), Step::Wait { until: s(9), why: Waiting::CallFailed });
    // What is left before the deadline is what a call may take.
    assert_eq!(elector.next(s(9)), Step::Get { within: s(1) });
    elector.answered(s(9), Answer::Found(lease(2, "me", 1)), 0.0);
    assert_eq!(elector.next(s(9)), Step::Replace { resource_version: "2".into(), claim: claim(1, false), within: s(1) });
    elector.answered(s(9), Answer::Written(lease(3, "me", 1)), 0.0);
    assert_eq!(elector.holds_until(), Some(s(19)));
}

#[test]
fn a_candidate_whose_winning_answer_was_lost_finds_that_it_won() {
    let mut elector = elector();
    elector.next(s(0));
    elector.answered(s(0), Answer::Absent, 0.0);
    elector.next(s(0));
    elector.answered(s(5), Answer::Unknown, 0.0);
    elector.next(s(7));
    elector.answered(s(7), Answer::Found(lease(1, "me", 1)), 0.0);
    assert_eq!(elector.holds_until(), None, "it may be long ago");
    assert_eq!(elector.next(s(7)), replace(1, 1, false));
    elector.answered(s(8), Answer::Written(lease(2, "me", 1)), 0.0);
    assert_eq!((elector.next(s(8)), elector.holds_until()), (Step::BecomeLeader { epoch: 1 }, Some(s(17))));
}

#[test]
fn a_leader_is_lost_at_its_deadline_and_no_late_answer_brings_it_back() {
    let lost = Step::Lost { why: Lost::NotRenewed { within: s(10) } };
    let mut elector = leader();
    assert_eq!(elector.next(s(10)), lost);
    assert_eq!((elector.next(s(11)), elector.holds_until()), (lost.clone(), None));

    // Stopped between the call and its answer.
    let mut elector = leader();
    elector.next(s(9));
    elector.answered(s(10), Answer::Written(lease(2, "me", 1)), 0.0);
    assert_eq!(elector.next(s(10)), lost);
    assert_eq!(elector.release(s(10), 0), None);
}

#[test]
fn a_winner_that_slept_over_it_does_not_lead() {
    let mut elector = elector();
    elector.next(s(0));
    elector.answered(s(0), Answer::Absent, 0.0);
    elector.next(s(0));
    elector.answered(s(60), Answer::Written(lease(1, "me", 1)), 0.0);
    assert_eq!((elector.holds_until(), elector.next(s(60))), (None, Step::Get { within: CALL }));
}

#[test]
fn a_leader_that_finds_another_in_its_place_is_lost() {
    let after_conflict = |found| {
        let mut elector = leader();
        elector.next(s(2));
        elector.answered(s(2), Answer::Conflict, 0.0);
        assert_eq!(elector.next(s(2)), Step::Get { within: CALL });
        elector.answered(s(2), Answer::Found(found), 0.0);
        elector.next(s(2))
    };
    let lost = |why| Step::Lost { why };
    assert_eq!(after_conflict(lease(5, "other", 2)), lost(Lost::TakenBy { holder: "other".to_owned() }));
    assert_eq!(after_conflict(lease(5, "", 1)), lost(Lost::TakenAway));
    assert_eq!(after_conflict(lease(5, "me", 9)), lost(Lost::OtherEpoch { ours: 1, found: 9 }));
    assert_eq!(after_conflict(lease(5, "me", 1)), replace(5, 1, false));
}

#[test]
fn giving_it_back_names_no_holder_keeps_the_epoch_and_ends_the_elector() {
    let mut elector = leader();
    elector.hurry();
    assert_eq!(elector.next(s(1)), replace(1, 1, false));
    elector.answered(s(1), Answer::Written(lease(2, "me", 1)), 0.0);
    let claim = Claim { holder: String::new(), duration: s(1), transitions: 1, acquires: false };
    let step = Step::Replace { resource_version: "2".to_owned(), claim, within: CALL };
    assert_eq!(elector.release(s(3), 0), Some(step));
    assert_eq!((elector.holds_until(), elector.next(s(3))), (None, Step::Lost { why: Lost::Released }));
    assert_eq!(self::elector().release(s(0), 0), None);
}

#[test]
fn who_remembers_a_later_epoch_gives_the_lease_back_with_that_one() {
    let mut elector = leader();
    let Some(Step::Replace { claim, .. }) = elector.release(s(1), 41) else { panic!("nothing to give back") };
    assert_eq!((claim.holder.as_str(), claim.transitions), ("", 41));
}
