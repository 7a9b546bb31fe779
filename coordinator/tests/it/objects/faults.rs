//! Stores that fail: what callers are told, and how soon.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use jobmeter_coordinator::config::objects::ObjectsConfig;
use jobmeter_coordinator::objects::{ObjectError, Objects};
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_protocol::logs::{UploadedObject, UploadedPart};

use super::contract::{TEXT, bytes, chunks, piece, read, send};
use super::doubles::{Fault, S3sFs};
use super::stores::{self, SECRET_KEY, config, secret, secret_of};

async fn faulty() -> (Objects, Fault, (S3sFs, tempfile::TempDir)) {
    let fault = Fault::default();
    let server = S3sFs::start(fault.clone()).await;
    let secret = secret_of(server.address);
    let objects = Objects::new(config(secret.path()), SourceBoard::default());
    (objects, fault, (server, secret))
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_within_seconds() {
    let secret = secret_of(stores::free_address());
    let objects = Objects::new(config(secret.path()), SourceBoard::default());
    let begun = Instant::now();
    let content = bytes(1000, 1);
    for error in [
        objects.put("a", &TEXT, Bytes::from("x")).await.unwrap_err(),
        objects.head("a").await.unwrap_err(),
        objects.begin("a", &TEXT).await.unwrap_err(),
        objects.targets("a", &TEXT, None, &[piece(1, &content)]).await.unwrap_err(),
        objects.put_piece("a", &TEXT, None, &piece(1, &content), chunks(&content)).await.unwrap_err(),
    ] {
        assert!(matches!(error, ObjectError::Failed { .. }), "{error:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("refused"), "{cause}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_store_that_accepts_and_never_answers_holds_nobody_for_long() {
    // Connections are made by the kernel, and nobody reads them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let secret = secret_of(listener.local_addr().unwrap());
    let objects = Objects::new(config(secret.path()), SourceBoard::default());
    let begun = Instant::now();
    let error = objects.head("a").await.unwrap_err();
    assert!(matches!(error, ObjectError::Failed { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_failure_of_a_moment_is_repeated_and_a_refusal_is_not() {
    let (objects, fault, _alive) = faulty().await;
    fault.answer(503, "SlowDown");
    assert!(matches!(objects.head("a").await.unwrap_err(), ObjectError::Failed { .. }));
    assert_eq!(fault.requests(), 3);
    for (status, code) in [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (404, "NoSuchBucket")] {
        fault.answer(status, code);
        let error = objects.put("a", &TEXT, Bytes::from("x")).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ObjectError::Refused { .. }), "{error:?}");
        assert!(text.contains(code) && text.contains("as the test wants") && !text.contains(SECRET_KEY), "{text}");
    }
    assert_eq!(fault.requests(), 6);
    fault.heal();
    assert_eq!(objects.head("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_found_done() {
    let (objects, fault, _alive) = faulty().await;
    let content = bytes(1000, 2);
    let upload = objects.begin("a", &TEXT).await.unwrap();
    let etag = objects.put_piece("a", &TEXT, Some(&upload), &piece(1, &content), chunks(&content)).await.unwrap();
    let parts = vec![UploadedPart { number: 1, bytes: 1000, etag }];
    fault.lose_the_next_completion();
    let object = UploadedObject { bytes: 1000, multipart: Some(upload), parts };
    objects.complete("a", &object).await.unwrap();
    assert_eq!(read(&objects, "a", None).await.unwrap(), content);
}

#[tokio::test]
async fn urls_are_signed_by_the_stores_clock() {
    let (by_our_clock, fault, (_server, secret)) = faulty().await;
    let content = bytes(1000, 3);
    let pieces = [piece(1, &content)];
    let too_old = by_our_clock.targets("a", &TEXT, None, &pieces).await.unwrap().unwrap();
    fault.run_ahead(Duration::from_secs(3 * 3600));
    assert_eq!(send(&too_old[0], &content).await.status(), 403);
    // A fresh process, which nobody told of the clock.
    let objects = Objects::new(config(secret.path()), SourceBoard::default());
    let targets = objects.targets("a", &TEXT, None, &pieces).await.unwrap().unwrap();
    assert_eq!(send(&targets[0], &content).await.status(), 200);
}

#[tokio::test]
async fn half_a_secret_is_an_error_that_names_the_field_and_nothing_goes_to_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let secret = secret(&[("accessKeyID", "AK"), ("bucket", "b"), ("apiKey", SECRET_KEY)]);
    let sources = SourceBoard::default();
    let config = ObjectsConfig { directory: directory.path().join("logs"), ..config(secret.path()) };
    let objects = Objects::new(config, sources.clone());
    let error = objects.put("a", &TEXT, Bytes::from("x")).await.unwrap_err().to_string();
    assert!(error.contains("accessKeyID") && error.contains("apiKey") && !error.contains(SECRET_KEY), "{error}");
    let SourceState::Failed { error: shown } = &sources.snapshot()["object-store"].state else { panic!() };
    assert!(error.contains(shown), "{error}: {shown}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_authority_that_is_none_is_said_and_nobody_panics() {
    let fields = [("accessKeyID", "AK"), ("secretAccessKey", "SK"), ("endpoint", "localhost:1"), ("caBundle", "no PEM")];
    let secret = secret(&fields);
    let error = Objects::new(config(secret.path()), SourceBoard::default()).head("a").await.unwrap_err();
    assert!(error.to_string().contains("caBundle"), "{error}");
}
