//! Shipping logs to a coordinator and a store that misbehave on request.

mod double;
mod faults;
mod inside;
mod killed;
mod lanes;
mod serve;
mod spool;

use std::{fs, io::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use double::{Double, Step};
use inside::Inside;
use jobmeter_agent::logs::{Outcome, PieceForm};
use jobmeter_protocol::{LogFormat, Missing, logs::TicketReply};
use serve::serve;
use spool::{Shipping, Spool, lines, options};

#[tokio::test]
async fn a_small_log_is_one_object_with_equal_bytes_and_its_times() {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(400);
    let (uplink, _token) = serve(&double).await;
    let log = spool.seal("small", &[cri.as_bytes()]);
    let raw_bytes = log.raw_bytes;
    let outcome = Shipping::start(uplink, options()).ship(log.clone()).await;
    assert_eq!(outcome, Outcome::Stored { log: log.log, key: "ns/small.log".into(), raw_bytes });
    let state = double.state();
    assert_eq!(state.objects.len(), 1);
    assert!(state.objects["ns/small.log"] == text.as_bytes());
    let complete = &state.completed["ns/small.log"];
    assert_eq!((complete.object.bytes, complete.object.parts.len(), complete.raw_bytes), (text.len() as u64, 1, raw_bytes));
    assert_eq!((complete.content.lines, complete.content.bytes), (400, text.len() as u64));
    assert_eq!(complete.content.missing, []);
    assert!(!STANDARD.decode(complete.content.times.as_ref().unwrap()).unwrap().is_empty());
    assert!(!log.directory.join("ship.json").exists(), "a small log costs no write to the disk");
}

#[tokio::test]
async fn an_empty_log_is_an_empty_object() {
    let (double, spool) = (Double::new(), Spool::new());
    let (uplink, _token) = serve(&double).await;
    Shipping::start(uplink, options()).ship(spool.seal("empty", &[b""])).await;
    assert_eq!(double.state().objects["ns/empty.log"], b"");
    assert_eq!(double.content("ns/empty.log").lines, 0);
}

#[tokio::test]
async fn a_large_log_goes_in_equal_parts_two_at_a_time() {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(20_000);
    let (uplink, _token) = serve(&double).await;
    // Rotated in the middle of a line's content, as it comes.
    let (one, two) = cri.as_bytes().split_at(cri.find("line 9000").unwrap() - 45);
    let at = one.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let (one, two) = (&one[..at], &[&one[at..], two].concat()[..]);
    Shipping::start(uplink, options()).ship(spool.seal("large", &[one, two])).await;
    let state = double.state();
    assert!(state.objects["ns/large.log"] == text.as_bytes());
    let parts = &state.completed["ns/large.log"].object.parts;
    assert_eq!(parts.len(), text.len().div_ceil(32 * 1024));
    assert!(parts[..parts.len() - 1].iter().all(|part| part.bytes == 32 * 1024));
    assert_eq!(state.most_under_way, 2);
    assert_eq!(state.puts[&Step::PutDirect], parts.len());
}

#[tokio::test]
async fn times_that_are_too_many_for_the_books_are_an_object_of_their_own() {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(120_000);
    let (uplink, _token) = serve(&double).await;
    Shipping::start(uplink, options()).ship(spool.seal("times", &[cri.as_bytes()])).await;
    let state = double.state();
    assert!(state.objects["ns/times.log"] == text.as_bytes());
    let complete = &state.completed["ns/times.log"];
    assert_eq!(complete.content.times, None);
    let times = &state.objects["ns/times.log.times"];
    assert_eq!(complete.times_object.as_ref().unwrap().bytes, times.len() as u64);
    assert!(times.len() > 96 * 1024);
    assert_eq!(*times, fs::read(spool.seal("times", &[]).directory.join("ship.times")).unwrap());
}

#[tokio::test]
async fn what_the_runtime_wrote_is_kept_as_it_is_where_so_configured() {
    let (double, spool) = (Double::new(), Spool::new());
    double.state().policy.format = LogFormat::Cri;
    let (_, cri) = lines(3_000);
    let (uplink, _token) = serve(&double).await;
    Shipping::start(uplink, options()).ship(spool.seal("cri", &[cri.as_bytes()])).await;
    assert!(double.state().objects["ns/cri.log"] == cri.as_bytes());
}

#[tokio::test]
async fn a_compressed_piece_of_unknown_size_keeps_within_the_large_lane() {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(10_000);
    let (uplink, _token) = serve(&double).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(cri.as_bytes()).unwrap();
    let mut log = spool.seal("gzip", &[&gzip.finish().unwrap()]);
    log.pieces[0].form = PieceForm::Gzip;
    Shipping::start(uplink, options()).ship(log).await;
    let state = double.state();
    assert!(state.objects["ns/gzip.log"] == text.as_bytes());
    assert!(state.completed["ns/gzip.log"].object.parts.len() > 5);
}

#[tokio::test]
async fn a_log_that_is_larger_than_the_policy_wants_in_one_piece_goes_in_parts() {
    let (double, spool) = (Double::new(), Spool::new());
    (double.state().policy.whole_bytes, double.state().policy.part_bytes) = (8 * 1024, 4 * 1024);
    let (text, cri) = lines(500);
    Shipping::start(Inside(double.clone()), options()).ship(spool.seal("p", &[cri.as_bytes()])).await;
    let state = double.state();
    assert!(state.objects["ns/p.log"] == text.as_bytes());
    assert_eq!(state.completed["ns/p.log"].object.parts.len(), text.len().div_ceil(4 * 1024));
}

#[tokio::test]
async fn holes_that_were_known_and_holes_that_were_found_are_told() {
    let (double, spool) = (Double::new(), Spool::new());
    let (text, cri) = lines(50);
    let mut log = spool.seal("holes", &[cri.as_bytes(), b"of a rotation"]);
    log.missing = vec![Missing { why: "a file was gone".into(), raw_bytes: None }];
    fs::write(&log.pieces[1].path, b"").unwrap();
    Shipping::start(Inside(double.clone()), options()).ship(log).await;
    assert!(double.state().objects["ns/holes.log"] == text.as_bytes());
    let missing = double.content("ns/holes.log").missing;
    assert_eq!((missing.len(), missing[0].why.as_str(), missing[1].raw_bytes), (2, "a file was gone", Some(13)));
}

#[tokio::test]
async fn a_piece_that_grew_after_it_was_sealed_is_handed_back() {
    let (double, spool) = (Double::new(), Spool::new());
    let mut log = spool.seal("grew", &[b"2026-11-21T10:00:00.000000000Z stdout F more than was told\n"]);
    log.pieces[0].bytes = 3;
    let outcome = Shipping::start(Inside(double.clone()), options()).ship(log).await;
    assert!(matches!(outcome, Outcome::Unreadable { why, .. } if why.contains("grew from 3 to")));
    assert!(double.state().completed.is_empty());
}

#[tokio::test]
async fn what_the_coordinator_does_not_want_is_not_uploaded() {
    let (double, spool) = (Double::new(), Spool::new());
    let answers = [
        ("not", TicketReply::NotAJob { why: "a web server".into() }),
        ("never", TicketReply::Rejected { why: "another node's".into() }),
        ("there", TicketReply::Stored { key: "k".into() }),
    ];
    double.state().tickets.extend(answers.map(|(pod, reply)| (pod.to_owned(), reply)));
    let shipping = Shipping::start(Inside(double.clone()), options());
    let logs = ["not", "never", "there"].map(|pod| spool.seal(pod, &[b"x\n"]));
    for log in &logs {
        shipping.give(log.clone()).await;
    }
    let [not, never, there] = logs.map(|log| log.log);
    let expected = [
        Outcome::NotAJob { log: not, why: "a web server".into() },
        Outcome::Rejected { log: never, why: "another node's".into() },
        Outcome::Stored { log: there, key: "k".into(), raw_bytes: 2 },
    ];
    let outcomes = shipping.outcomes(3).await;
    assert!(expected.iter().all(|outcome| outcomes.contains(outcome)), "{outcomes:?}");
    assert_eq!(double.puts(), 0);
}
