//! Whatever goes wrong on the way, the bytes arrive, once.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use jobmeter_agent::{
    logs::{Outcome, ShipOptions},
    uplink::{LogUplink, PutError},
};
use jobmeter_protocol::logs::{ObjectKind, Target};

use super::{
    double::{Double, Fault, Step},
    inside::Inside,
    serve::serve,
    spool::{Shipping, Spool, lines, options},
};

/// Ships a log of some parts with the faults, and returns how many pieces the store took.
async fn ships_whole(pod: &str, faults: impl IntoIterator<Item = (Step, Fault)>) -> usize {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(8_000);
    for (step, fault) in faults {
        double.fail(step, [fault]);
    }
    let (uplink, _token) = serve(&double).await;
    let outcome = Shipping::start(uplink, options()).ship(spool.seal(pod, &[cri.as_bytes()])).await;
    assert!(matches!(outcome, Outcome::Stored { .. }));
    let key = format!("ns/{pod}.log");
    assert!(double.state().objects[&key] == text.as_bytes(), "{pod}: equal bytes");
    assert_eq!(double.state().objects.len(), 1, "{pod}: no second object");
    assert!(double.state().faults.values().all(|script| script.is_empty()), "{pod}: all of it happened");
    double.puts()
}

fn parts() -> usize {
    lines(8_000).0.len().div_ceil(32 * 1024)
}

#[tokio::test]
async fn refusals_failures_and_broken_connections_cost_repetitions_only() {
    let statuses = [500, 502, 503, 429, 403, 400].map(|status| (Step::PutDirect, Fault::Status(status)));
    assert_eq!(ships_whole("statuses", statuses).await, parts());
    let cuts = (0..4).map(|_| (Step::PutDirect, Fault::Cut));
    assert_eq!(ships_whole("cuts", cuts).await, parts());
    assert_eq!(ships_whole("lost-answer", [(Step::PutDirect, Fault::CutAfter)]).await, parts() + 1);
    assert_eq!(ships_whole("no-etag", [(Step::PutDirect, Fault::NoEtag)]).await, parts() + 1);
    assert_eq!(ships_whole("slow", [(Step::PutDirect, Fault::Slow(Duration::from_millis(300)))]).await, parts());
}

#[tokio::test]
async fn a_coordinator_that_fails_at_any_step_is_asked_again() {
    for step in [Step::Ticket, Step::Multipart, Step::Targets, Step::Complete] {
        let faults = [Fault::Cut, Fault::Status(500), Fault::Status(404), Fault::CutAfter].map(|fault| (step, fault));
        assert_eq!(ships_whole(&format!("{step:?}"), faults).await, parts());
    }
}

#[tokio::test]
async fn a_refused_piece_gets_another_target_and_not_the_same_again() {
    let (double, spool) = (Double::new(), Spool::new());
    double.fail(Step::PutDirect, [Fault::Status(403)]);
    let (uplink, _token) = serve(&double).await;
    Shipping::start(uplink, options()).ship(spool.seal("p", &[lines(9).1.as_bytes()])).await;
    assert_eq!((double.steps(Step::Targets), double.steps(Step::PutDirect), double.steps(Step::PutProxied)), (2, 2, 0));
}

#[tokio::test]
async fn a_store_that_lost_what_it_took_gets_it_anew() {
    // Noticed when all of it is put together.
    let again = ships_whole("damaged", [(Step::PutDirect, Fault::Damaged)]).await;
    assert_eq!(again, 2 * parts());
    // Noticed in the middle.
    let gone = ships_whole("gone", [(Step::PutDirect, Fault::Slow(Duration::ZERO)), (Step::PutDirect, Fault::Forgotten)]).await;
    assert!(gone >= parts() && gone <= 2 * parts() + 2, "{gone}");
}

#[tokio::test]
async fn an_acknowledgement_that_is_late_needs_no_second_upload() {
    let (double, spool) = (Double::new(), Spool::new());
    double.fail(Step::Complete, [Fault::Later(0), Fault::Cut, Fault::Later(0)]);
    let (uplink, _token) = serve(&double).await;
    let shipping = Shipping::start(uplink, options());
    for pod in ["small", "other"] {
        shipping.give(spool.seal(pod, &[lines(9).1.as_bytes()])).await;
    }
    shipping.outcomes(2).await;
    assert_eq!((double.puts(), double.steps(Step::Complete)), (2, 5));
}

#[tokio::test]
async fn a_policy_that_changed_meanwhile_begins_anew() {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(8_000);
    let log = spool.seal("p", &[cri.as_bytes()]);
    // The third part never arrives.
    double.fail(Step::PutDirect, [Fault::Slow(Duration::ZERO), Fault::Slow(Duration::ZERO)]);
    double.fail(Step::PutDirect, (0..100).map(|_| Fault::NoEtag));
    let (uplink, _token) = serve(&double).await;
    let shipping = Shipping::start(uplink, options());
    shipping.give(log.clone()).await;
    while double.steps(Step::Ticket) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shipping.stop().await;
    assert!(log.directory.join("ship.json").exists());
    double.state().faults.clear();
    double.state().policy.part_bytes = 48 * 1024;
    let shipping = Shipping::start(Inside(double.clone()), options());
    shipping.ship(log).await;
    assert!(double.state().objects["ns/p.log"] == text.as_bytes());
    let parts = double.state().completed["ns/p.log"].object.parts.len();
    assert_eq!(parts, text.len().div_ceil(48 * 1024));
}

#[tokio::test]
async fn where_the_store_cannot_be_reached_the_coordinator_passes_it_on() {
    let (double, spool) = (Double::new(), Spool::new());
    double.state().no_direct = true;
    let (uplink, _token) = serve(&double).await;
    let mut shipping = Shipping::start(uplink, options());
    let (text, cri) = lines(8_000);
    for pod in ["one", "two", "three"] {
        shipping.give(spool.seal(pod, &[cri.as_bytes()])).await;
        shipping.outcome().await;
        assert!(double.state().objects[&format!("ns/{pod}.log")] == text.as_bytes());
    }
    let tried = double.steps(Step::PutDirect);
    assert!((2..=4).contains(&tried), "two pieces of the first log tried {tried} times, and nobody else");
    assert!(shipping.counted("jobmeter_agent_log_uploaded_bytes_total", &["coordinator"]) as usize == 3 * text.len());
    assert!(shipping.counted("jobmeter_agent_log_through_coordinator", &[]) > 0.5);
    shipping.stop().await;
}

#[tokio::test]
async fn when_the_store_can_be_reached_again_one_log_finds_it_out() {
    let (double, spool) = (Double::new(), Spool::new());
    double.state().no_direct = true;
    let (uplink, _token) = serve(&double).await;
    let mut shipping = Shipping::start(uplink, ShipOptions { direct_again: Duration::ZERO, ..options() });
    for (pod, through_coordinator) in [("one", 1.0), ("two", 0.0), ("three", 0.0)] {
        shipping.give(spool.seal(pod, &[lines(3).1.as_bytes()])).await;
        shipping.outcome().await;
        let gauge = shipping.counted("jobmeter_agent_log_through_coordinator", &[]);
        assert!((gauge - through_coordinator).abs() < 0.5, "{pod}: {gauge}");
        double.state().no_direct = false;
    }
    assert_eq!((double.steps(Step::PutProxied), double.steps(Step::PutDirect)), (1, 4));
    shipping.stop().await;
}

#[tokio::test]
async fn no_error_holds_a_signature_and_no_foreign_address_the_token() {
    let (double, _spool) = (Double::new(), Spool::new());
    double.fail(Step::PutDirect, [Fault::Cut, Fault::Status(403)]);
    let (uplink, _token) = serve(&double).await;
    let log = Spool::new().seal("p", &[]).log;
    let place = super::double::key(&log, ObjectKind::Log);
    let urls = ["http://127.0.0.1:1/b/k?X-Amz-Signature=secret", "ftp://host/k?sig=secret", "no address?secret"];
    for url in urls {
        let target = Target { url: url.into(), headers: Vec::new(), expires: Timestamp::MAX };
        let err = uplink.put(&target, None, Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(err, PutError::Unreachable(_)));
        let mut chain = format!("{err} {err:?}");
        let mut source = err.source();
        while let Some(err) = source {
            chain += &format!(" {err} {err:?}");
            source = err.source();
        }
        assert!(!chain.contains("secret"), "{place}: {chain}");
    }
}
