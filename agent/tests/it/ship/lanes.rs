//! Many logs at a time, and a store that is away.

use std::time::Duration;

use jobmeter_agent::logs::Outcome;
use jobmeter_protocol::logs::TicketReply;
use tokio::time::Instant;

use super::{
    double::{Double, Fault, Step},
    inside::Inside,
    serve::serve,
    spool::{Shipping, Spool, lines, options},
};

fn pod(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Stored { log, .. }
        | Outcome::NotAJob { log, .. }
        | Outcome::Rejected { log, .. }
        | Outcome::Unreadable { log, .. } => &log.pod,
    }
}

#[tokio::test]
async fn two_hundred_logs_arrive_each_once() {
    let (double, spool) = (Double::new(), Spool::new());
    for step in [Step::PutDirect, Step::Ticket, Step::Complete] {
        double.fail(step, (0..20).map(|_| Fault::CutAfter));
    }
    let (uplink, _token) = serve(&double).await;
    let mut shipping = Shipping::start(uplink, options());
    let texts: Vec<_> = (0..200).map(|n| lines(1 + n * 3)).collect();
    let mut done = Vec::new();
    for (n, (_, cri)) in texts.iter().enumerate() {
        shipping.give(spool.seal(&format!("pod-{n}"), &[cri.as_bytes()])).await;
        // Outcomes are taken as they come: both ways are bounded.
        while done.len() + 8 < n {
            done.push(pod(&shipping.outcome().await).to_owned());
        }
    }
    let rest = shipping.outcomes(200 - done.len()).await;
    done.extend(rest.iter().map(|outcome| pod(outcome).to_owned()));
    done.sort();
    done.dedup();
    assert_eq!(done.len(), 200);
    let state = double.state();
    assert_eq!(state.objects.len(), 200);
    for (n, (text, _)) in texts.iter().enumerate() {
        assert!(state.objects[&format!("ns/pod-{n}.log")] == text.as_bytes(), "pod-{n}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_not_hammered_and_all_arrive_when_it_is_back() {
    let (double, spool) = (Double::new(), Spool::new());
    double.state().down = true;
    let (uplink, _token) = serve(&double).await;
    let mut options = options();
    options.waits = (Duration::from_millis(100), Duration::from_millis(400));
    let shipping = Shipping::start(uplink, options);
    for n in 0..50 {
        shipping.give(spool.seal(&format!("pod-{n}"), &[lines(3).1.as_bytes()])).await;
    }
    shipping.give(spool.seal("large", &[lines(4_000).1.as_bytes()])).await;
    let begun = Instant::now();
    while shipping.counted("jobmeter_agent_log_store_failures", &[]) < 8.5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Four small logs and the large one find it out; then at most one each 100 ms tries.
    let most = 6 + begun.elapsed().as_millis() / 100;
    let attempts = double.steps(Step::Ticket);
    assert!(attempts as u128 <= most, "{attempts} attempts in {:?}", begun.elapsed());
    assert!(shipping.counted("jobmeter_agent_log_upload_failures_total", &["put", "unreachable"]) > 8.5);
    double.state().down = false;
    let back = Instant::now();
    assert_eq!(shipping.outcomes(51).await.len(), 51);
    assert!(back.elapsed() < Duration::from_secs(20), "nobody waits longer than the store was looked for");
    assert_eq!(double.state().objects.len(), 51);
}

#[tokio::test]
async fn a_log_that_nobody_can_place_yet_holds_up_nobody() {
    let (double, spool) = (Double::new(), Spool::new());
    let later = TicketReply::Later { why: "no such pod yet".into(), seconds: 0 };
    for n in 0..10 {
        double.state().tickets.insert(format!("unknown-{n}"), later.clone());
    }
    let mut shipping = Shipping::start(Inside(double.clone()), options());
    for n in 0..10 {
        shipping.give(spool.seal(&format!("unknown-{n}"), &[b"x\n"])).await;
    }
    shipping.give(spool.seal("known", &[b"x\n"])).await;
    assert_eq!(pod(&shipping.outcome().await), "known");
    double.state().tickets.clear();
    assert_eq!(shipping.outcomes(10).await.len(), 10);
}

#[tokio::test]
async fn a_large_log_does_not_hold_up_small_ones() {
    let (double, spool) = (Double::new(), Spool::new());
    double.fail(Step::PutDirect, [Fault::Slow(Duration::from_secs(1)), Fault::Slow(Duration::from_secs(1))]);
    let mut shipping = Shipping::start(Inside(double.clone()), options());
    shipping.give(spool.seal("large", &[lines(8_000).1.as_bytes()])).await;
    while double.steps(Step::PutDirect) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shipping.give(spool.seal("small", &[b"x\n"])).await;
    assert_eq!(pod(&shipping.outcome().await), "small");
    assert_eq!(pod(&shipping.outcomes(1).await[0]), "large");
}

#[tokio::test]
async fn whoever_asks_to_come_later_is_obeyed_and_not_for_ever() {
    let (double, spool) = (Double::new(), Spool::new());
    double.fail(Step::PutDirect, [Fault::Busy(Duration::from_millis(700)), Fault::Busy(Duration::from_secs(86_400))]);
    let mut options = options();
    options.longest_retry_after = Duration::from_millis(1_300);
    let begun = Instant::now();
    Shipping::start(Inside(double.clone()), options).ship(spool.seal("p", &[b"x\n"])).await;
    let took = begun.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(10)).contains(&took), "{took:?}");
    assert_eq!(double.steps(Step::PutDirect), 3);
}
