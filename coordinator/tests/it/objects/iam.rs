//! IBM's way: an API key, tokens, and a store that takes nothing else.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use futures::future::join_all;
use jobmeter_coordinator::objects::{ObjectError, Objects};
use jobmeter_daemon::admin::SourceBoard;
use jobmeter_protocol::logs::{UploadedObject, UploadedPart};
use tempfile::TempDir;

use super::contract::{TEXT, bytes, chunks, piece, read};
use super::doubles::{API_KEY, INSTANCE, Ibm};
use super::stores::{BUCKET, config, secret};

async fn ibm(api_key: &str) -> (Objects, Ibm, TempDir) {
    let ibm = Ibm::start().await;
    let secret = secret(&[
        ("rawBucketName", BUCKET),
        ("apiKey", api_key),
        ("serviceInstanceID", INSTANCE),
        ("authEndpoint", &format!("http://{}/identity/token", ibm.tokens)),
        ("serviceEndpoint", &format!("http://{}", ibm.store)),
    ]);
    let objects = Objects::new(config(secret.path()), SourceBoard::default());
    (objects, ibm, secret)
}

#[tokio::test]
async fn one_token_serves_all_and_everything_goes_through_the_coordinator() {
    let (objects, ibm, _secret) = ibm(API_KEY).await;
    let puts = (0..20).map(|n| {
        let objects = objects.clone();
        async move { objects.put(&format!("many/{n}.log"), &TEXT, Bytes::from("x")).await }
    });
    for put in join_all(puts).await {
        put.unwrap();
    }
    assert_eq!(objects.targets("a", &TEXT, None, &[piece(1, b"x")]).await.unwrap(), None);

    let content = bytes(5 << 20, 1);
    let upload = objects.begin("a/b.log", &TEXT).await.unwrap();
    let etag = objects.put_piece("a/b.log", &TEXT, Some(&upload), &piece(1, &content), chunks(&content)).await.unwrap();
    let parts = vec![UploadedPart { number: 1, bytes: content.len() as u64, etag }];
    let object = UploadedObject { bytes: content.len() as u64, multipart: Some(upload), parts };
    objects.complete("a/b.log", &object).await.unwrap();
    assert_eq!(std::fs::read(ibm.bucket().join("a/b.log")).unwrap(), content);
    assert_eq!(read(&objects, "a/b.log", None).await.unwrap(), content);
    assert_eq!((ibm.seen.granted.load(Ordering::SeqCst), ibm.seen.refused.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_token_is_replaced_at_four_fifths_of_its_life_and_when_it_is_refused() {
    let (objects, ibm, _secret) = ibm(API_KEY).await;
    let granted = || ibm.seen.granted.load(Ordering::SeqCst);
    ibm.seen.lifetime.store(2, Ordering::SeqCst);
    objects.put("a", &TEXT, Bytes::from("1")).await.unwrap();
    objects.put("a", &TEXT, Bytes::from("2")).await.unwrap();
    assert_eq!(granted(), 1);
    tokio::time::sleep(Duration::from_millis(1700)).await;
    ibm.seen.lifetime.store(3600, Ordering::SeqCst);
    objects.put("a", &TEXT, Bytes::from("3")).await.unwrap();
    assert_eq!((granted(), ibm.seen.refused.load(Ordering::SeqCst)), (2, 0));

    ibm.seen.oldest_good.store(3, Ordering::SeqCst);
    objects.put("a", &TEXT, Bytes::from("4")).await.unwrap();
    assert_eq!((granted(), ibm.seen.refused.load(Ordering::SeqCst)), (3, 1));
    assert_eq!(read(&objects, "a", None).await.unwrap(), b"4");

    // A body that is streamed cannot be sent again from here; its sender is told to.
    ibm.seen.oldest_good.store(4, Ordering::SeqCst);
    let error = objects.put_piece("a", &TEXT, None, &piece(1, b"5"), chunks(b"5")).await.unwrap_err();
    assert!(matches!(error, ObjectError::Failed { .. }), "{error:?}");
    objects.put_piece("a", &TEXT, None, &piece(1, b"5"), chunks(b"5")).await.unwrap();
    assert_eq!(granted(), 4);

    // A store that takes no token at all is asked twice, not for ever.
    ibm.seen.oldest_good.store(usize::MAX, Ordering::SeqCst);
    let error = objects.put("a", &TEXT, Bytes::from("6")).await.unwrap_err();
    assert!(matches!(error, ObjectError::Refused { .. }), "{error:?}");
    assert_eq!(granted(), 5);
}

#[tokio::test]
async fn a_wrong_api_key_is_refused_in_ibms_words_and_never_shown() {
    let (objects, ibm, _secret) = ibm("another key").await;
    let error = objects.put("a", &TEXT, Bytes::from("x")).await.unwrap_err();
    let text = format!("{error} {error:?} {objects:?}");
    assert!(matches!(error, ObjectError::Refused { .. }) && text.contains("BXNIM0415E"), "{text}");
    assert!(!text.contains("another key"), "{text}");
    assert!(ibm.seen.forms.lock().unwrap()[0].ends_with("apikey=another%20key"));
}

#[tokio::test]
async fn tokens_are_never_shown() {
    let (objects, ibm, _secret) = ibm(API_KEY).await;
    objects.put("a", &TEXT, Bytes::from("x")).await.unwrap();
    ibm.seen.oldest_good.store(usize::MAX, Ordering::SeqCst);
    let error = objects.put("a", &TEXT, Bytes::from("x")).await.unwrap_err();
    let shown = format!("{objects:?} {error} {error:?}");
    for secret in [API_KEY, "token-1", "token-2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
