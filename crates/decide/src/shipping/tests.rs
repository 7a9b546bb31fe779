#![allow(clippy::disallowed_methods, reason = "the clock is the only source of an Instant; no test depends on which it is")]
use super::*;

const MIB: u64 = 1024 * 1024;
const LIMITS: Limits = Limits { small_bytes: 16 * MIB, small_at_once: 4, small_total: 16 * MIB, known: 100 };

fn started(shipping: &mut Shipping, now: Instant) -> Vec<Ticket> {
    std::iter::from_fn(|| match shipping.next(now) {
        Next::Start(ticket, _) => Some(ticket),
        Next::Idle(_) => None,
    })
    .collect()
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn small_logs_go_together_within_a_budget_of_bytes() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let sizes = [7, 7, 7, 1].map(|mib| shipping.offer(Some(mib * MIB), now));
    assert_eq!(started(&mut shipping, now), sizes[..2]);
    assert_eq!(shipping.next(now), Next::Idle(WhyNot::LanesFull));
    shipping.ended(sizes[0], Ended::Stored, now);
    assert_eq!(started(&mut shipping, now), sizes[2..]);
}

#[test]
fn no_more_than_four_small_logs_and_one_large_one_are_under_way() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let small: Vec<_> = (0..6).map(|_| shipping.offer(Some(1), now)).collect();
    let large = [Some(17 * MIB), None].map(|bytes| shipping.offer(bytes, now));
    let mut expected = small[..4].to_vec();
    expected.push(large[0]);
    assert_eq!(started(&mut shipping, now), expected);
    shipping.ended(large[0], Ended::Stored, now);
    assert_eq!(started(&mut shipping, now), [large[1]]);
}

#[test]
fn a_log_that_needs_the_whole_budget_is_not_overtaken() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let first = shipping.offer(Some(MIB), now);
    let whole = shipping.offer(Some(16 * MIB), now);
    let late = shipping.offer(Some(1), now);
    assert_eq!(started(&mut shipping, now), [first]);
    shipping.ended(first, Ended::Stored, now);
    assert_eq!(started(&mut shipping, now), [whole]);
    shipping.ended(whole, Ended::Stored, now);
    assert_eq!(started(&mut shipping, now), [late]);
}

#[test]
fn a_parked_log_holds_up_nobody_and_comes_again_when_it_is_due() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let [parked, other] = [0, 1].map(|_| shipping.offer(None, now));
    assert_eq!(started(&mut shipping, now), [parked]);
    shipping.ended(parked, Ended::Wait(s(9)), now);
    assert_eq!(started(&mut shipping, now), [other]);
    shipping.ended(other, Ended::Stored, now);
    assert_eq!(shipping.next(now), Next::Idle(WhyNot::Parked { until: now + s(9) }));
    assert_eq!(started(&mut shipping, now + s(9)), [parked]);
    assert_eq!(shipping.counts(now), (1, 0, 0));
}

#[test]
fn while_the_store_is_away_attempts_are_single_and_far_between() {
    let (mut shipping, mut now) = (Shipping::new(LIMITS), Instant::now());
    let all: Vec<_> = (0..50).map(|_| shipping.offer(Some(1), now)).collect();
    let mut attempts = 0;
    let until = now + s(100);
    while now < until {
        let round = started(&mut shipping, now);
        attempts += round.len();
        for ticket in round {
            shipping.ended(ticket, Ended::Away { log: s(1), all: s(10) }, now);
        }
        now += s(1);
    }
    // The first round finds the lane open.
    assert_eq!(attempts, 4 + 9);
    assert_eq!(shipping.failures(), 13);
    assert_eq!(shipping.counts(now).0, 0);
    shipping.ended(all[0], Ended::Stored, now);
    assert_eq!(started(&mut shipping, now).len(), 4, "one got through: nobody waits any longer");
}

#[test]
fn an_attempt_that_never_ends_does_not_stop_the_others_while_the_store_is_away() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let hangs = shipping.offer(None, now);
    let fails = shipping.offer(Some(1), now);
    assert_eq!(started(&mut shipping, now), [fails, hangs]);
    shipping.ended(fails, Ended::Away { log: s(1), all: s(2) }, now);
    assert_eq!(shipping.next(now), Next::Idle(WhyNot::StoreAway { until: now + s(2) }));
    assert_eq!(started(&mut shipping, now + s(2)), [fails]);
}

#[test]
fn one_log_that_the_store_always_refuses_does_not_come_again_whenever_another_succeeds() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let (bad, good) = (shipping.offer(Some(1), now), shipping.offer(Some(1), now));
    assert_eq!(started(&mut shipping, now), [bad, good]);
    shipping.ended(bad, Ended::Away { log: s(60), all: s(1) }, now);
    shipping.ended(good, Ended::Stored, now);
    assert_eq!(shipping.next(now), Next::Idle(WhyNot::Parked { until: now + s(60) }));
}

#[test]
fn a_log_that_grew_beyond_its_lane_goes_on_in_the_other() {
    let (mut shipping, now) = (Shipping::new(LIMITS), Instant::now());
    let log = shipping.offer(Some(1), now);
    assert_eq!(shipping.next(now), Next::Start(log, Lane::Small));
    shipping.ended(log, Ended::Larger, now);
    assert_eq!(shipping.next(now), Next::Start(log, Lane::Large));
}
