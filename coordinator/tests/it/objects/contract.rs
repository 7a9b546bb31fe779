//! What every store keeps to. The bytes are compared with the files of the store, read without it.

use std::time::Duration;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use jobmeter_coordinator::objects::{Attributes, ByteRange, ByteStream, Head, ObjectError, Objects};
use jobmeter_protocol::logs::{Piece, Target, UploadedObject, UploadedPart};
use md5::{Digest, Md5};

use super::stores::{self, Bench};

pub(super) const TEXT: Attributes = Attributes { content_type: "text/plain; charset=utf-8", content_encoding: None };
const GZIPPED: Attributes = Attributes { content_type: "text/plain; charset=utf-8", content_encoding: Some("gzip") };
/// The least that S3 allows for a part that is not the last.
const PART: usize = 5 << 20;

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    keeps_the_contract(stores::directory()).await;
}

#[tokio::test]
async fn s3s_fs_keeps_the_contract() {
    keeps_the_contract(stores::s3s_fs().await).await;
}

#[tokio::test]
async fn versitygw_keeps_the_contract() {
    if let Some(bench) = stores::versitygw().await {
        keeps_the_contract(bench).await;
    }
}

#[tokio::test]
async fn a_store_behind_an_authority_of_its_own_is_trusted_by_the_secrets_bundle() {
    let Some((bench, authority)) = stores::versitygw_with_tls().await else { return };
    let objects = &bench.objects;
    objects.put("a", &TEXT, Bytes::from("x")).await.unwrap();
    assert_eq!(read(objects, "a", None).await.unwrap(), b"x");
    // Whoever puts to a target is told of the authority.
    let pem = objects.ca_pem().unwrap();
    assert_eq!(pem, authority.trim());
    let content = bytes(1000, 9);
    let targets = objects.targets("b", &TEXT, None, &[piece(1, &content)]).await.unwrap().unwrap();
    let client = |pem: &str| {
        let client = reqwest::Client::builder().tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap());
        client.build().unwrap()
    };
    let answer = send_by(&client(&pem), &targets[0], &content).await;
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(std::fs::read(bench.files.join("b")).unwrap(), content);
}

async fn keeps_the_contract(bench: Bench) {
    what_was_put_is_there_until_it_is_deleted(&bench).await;
    a_part_of_an_object_can_be_read(&bench).await;
    a_streamed_piece_is_an_object_if_it_is_what_was_announced(&bench).await;
    parts_are_put_together_as_often_as_one_asks(&bench).await;
    what_is_not_complete_is_said(&bench).await;
    a_target_takes_the_bytes_it_was_made_for_and_no_others(&bench).await;
    parts_go_to_targets(&bench).await;
    what_was_begun_and_left_is_removed(&bench).await;
}

async fn what_was_put_is_there_until_it_is_deleted(bench: &Bench) {
    let (objects, key) = (&bench.objects, "suite/cluster=a/job 1/pod+0.log");
    assert_eq!(objects.head(key).await.unwrap(), None);
    assert!(matches!(read(objects, key, None).await, Err(ObjectError::NotFound { .. })));
    for content in ["first", "and then another", ""] {
        objects.put(key, &GZIPPED, Bytes::from(content)).await.unwrap();
        assert_eq!(std::fs::read_to_string(bench.files.join(key)).unwrap(), content);
        assert_eq!(objects.head(key).await.unwrap(), Some(Head { bytes: content.len() as u64 }));
        assert_eq!(read(objects, key, None).await.unwrap(), content.as_bytes());
    }
    objects.delete(key).await.unwrap();
    objects.delete(key).await.unwrap();
    assert!(!bench.files.join(key).exists());
    assert_eq!(objects.head(key).await.unwrap(), None);
}

async fn a_part_of_an_object_can_be_read(bench: &Bench) {
    let key = "suite/ranges.log";
    bench.objects.put(key, &TEXT, Bytes::from("0123456789")).await.unwrap();
    for (first, last, expected) in
        [(0, Some(0), "0"), (3, Some(5), "345"), (7, None, "789"), (8, Some(400), "89"), (10, None, ""), (99, Some(100), "")]
    {
        let range = ByteRange { first, last };
        assert_eq!(read(&bench.objects, key, Some(range)).await.unwrap(), expected.as_bytes(), "{range:?}");
    }
    bench.objects.put(key, &TEXT, Bytes::new()).await.unwrap();
    assert_eq!(read(&bench.objects, key, Some(ByteRange { first: 0, last: None })).await.unwrap(), b"");
}

async fn a_streamed_piece_is_an_object_if_it_is_what_was_announced(bench: &Bench) {
    let (objects, key) = (&bench.objects, "suite/streamed.log");
    let content = bytes(300_000, 1);
    let announced = piece(1, &content);
    for wrong in [bytes(300_000, 2), content[..299_999].to_vec(), [content.as_slice(), b"x"].concat()] {
        let error = objects.put_piece(key, &TEXT, None, &announced, chunks(&wrong)).await.unwrap_err();
        assert!(matches!(error, ObjectError::Mismatch { .. }), "{error:?}");
        assert_eq!(objects.head(key).await.unwrap(), None);
    }
    let etag = objects.put_piece(key, &TEXT, None, &announced, chunks(&content)).await.unwrap();
    assert_eq!(std::fs::read(bench.files.join(key)).unwrap(), content);
    let part = UploadedPart { number: 1, bytes: announced.bytes, etag };
    objects.complete(key, &UploadedObject { bytes: announced.bytes, multipart: None, parts: vec![part] }).await.unwrap();

    let nothing = piece(1, b"");
    objects.put_piece("suite/nothing.log", &TEXT, None, &nothing, chunks(b"")).await.unwrap();
    assert_eq!(objects.head("suite/nothing.log").await.unwrap(), Some(Head { bytes: 0 }));
}

async fn parts_are_put_together_as_often_as_one_asks(bench: &Bench) {
    let (objects, key) = (&bench.objects, "suite/parts.log");
    let content = bytes(2 * PART + 777, 3);
    let upload = objects.begin(key, &TEXT).await.unwrap();
    let mut parts = Vec::new();
    // In any order, and one of them twice.
    for index in [2, 0, 1, 0] {
        let part = content.chunks(PART).nth(index).unwrap();
        let announced = piece(index as u32 + 1, part);
        let etag = objects.put_piece(key, &TEXT, Some(&upload), &announced, chunks(part)).await.unwrap();
        parts.push(UploadedPart { number: announced.number, bytes: announced.bytes, etag });
    }
    parts.sort_by_key(|part| part.number);
    parts.dedup_by_key(|part| part.number);
    let object = UploadedObject { bytes: content.len() as u64, multipart: Some(upload), parts };
    for _ in 0..3 {
        objects.complete(key, &object).await.unwrap();
        assert_eq!(std::fs::read(bench.files.join(key)).unwrap(), content);
    }
}

async fn what_is_not_complete_is_said(bench: &Bench) {
    let (objects, key) = (&bench.objects, "suite/incomplete.log");
    let whole = |bytes, multipart| UploadedObject { bytes, multipart, parts: vec![] };
    let error = objects.complete(key, &whole(1, None)).await.unwrap_err();
    assert!(matches!(error, ObjectError::Mismatch { .. }), "{error:?}");
    objects.put(key, &TEXT, Bytes::from("abc")).await.unwrap();
    let error = objects.complete(key, &whole(4, None)).await.unwrap_err();
    assert!(error.to_string().contains("3 bytes where 4"), "{error}");
    // Another upload is not this one, though something as long is there.
    let content = bytes(PART + 1, 4);
    let upload = objects.begin(key, &TEXT).await.unwrap();
    let part = UploadedPart { number: 1, bytes: 3, etag: hex(&Md5::digest(&content[..3])) };
    let object = UploadedObject { bytes: 3, multipart: Some(upload), parts: vec![part] };
    assert!(objects.complete(key, &object).await.is_err());
}

async fn a_target_takes_the_bytes_it_was_made_for_and_no_others(bench: &Bench) {
    let (objects, key) = (&bench.objects, "suite/direct/pod=0 a+b.log.gz");
    let content = bytes(100_000, 5);
    let Some(targets) = objects.targets(key, &GZIPPED, None, &[piece(1, &content)]).await.unwrap() else {
        assert!(!bench.direct);
        return;
    };
    assert!(bench.direct);
    let [target] = targets.as_slice() else { panic!("{targets:?}") };
    let shown = format!("{target:?}");
    assert!(!shown.contains("Signature") && !shown.contains(stores::ACCESS_KEY), "{shown}");
    assert!(target.headers.iter().any(|(name, value)| name == "content-encoding" && value == "gzip"), "{:?}", target.headers);
    for wrong in [bytes(100_000, 6), content[..99_999].to_vec()] {
        let mut other = target.clone();
        other.headers.retain(|(name, _)| !matches!(name.as_str(), "content-md5" | "content-length"));
        other.headers.push(("content-md5".to_owned(), piece(1, &wrong).md5));
        assert!(!send(&other, &wrong).await.status().is_success());
        assert_eq!(objects.head(key).await.unwrap(), None);
    }
    let answer = send(target, &content).await;
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(std::fs::read(bench.files.join(key)).unwrap(), content);
}

async fn parts_go_to_targets(bench: &Bench) {
    if !bench.direct {
        return;
    }
    let (objects, key) = (&bench.objects, "suite/direct/parts.log");
    let content = bytes(PART + 5, 7);
    let pieces: Vec<Piece> = content.chunks(PART).zip(1..).map(|(part, number)| piece(number, part)).collect();
    let upload = objects.begin(key, &TEXT).await.unwrap();
    let targets = objects.targets(key, &TEXT, Some(&upload), &pieces).await.unwrap().unwrap();
    let mut parts = Vec::new();
    for ((target, part), piece) in targets.iter().zip(content.chunks(PART)).zip(&pieces) {
        let answer = send(target, part).await;
        assert!(answer.status().is_success(), "{answer:?}");
        let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
        parts.push(UploadedPart { number: piece.number, bytes: piece.bytes, etag });
    }
    let object = UploadedObject { bytes: content.len() as u64, multipart: Some(upload), parts };
    objects.complete(key, &object).await.unwrap();
    assert_eq!(std::fs::read(bench.files.join(key)).unwrap(), content);
}

async fn what_was_begun_and_left_is_removed(bench: &Bench) {
    let (objects, key) = (&bench.objects, "suite/left.log");
    let upload = objects.begin(key, &TEXT).await.unwrap();
    let part = bytes(1000, 8);
    let etag = objects.put_piece(key, &TEXT, Some(&upload), &piece(1, &part), chunks(&part)).await.unwrap();
    assert_eq!(objects.abort_stale(Duration::from_secs(3600)).await.unwrap(), 0);
    // Stores note whole seconds.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let removed = objects.abort_stale(Duration::ZERO).await.unwrap();
    if removed == 0 {
        // s3s-fs cannot list uploads.
        return;
    }
    let parts = vec![UploadedPart { number: 1, bytes: 1000, etag }];
    let object = UploadedObject { bytes: 1000, multipart: Some(upload), parts };
    let error = objects.complete(key, &object).await.unwrap_err();
    assert!(matches!(error, ObjectError::Mismatch { .. }), "{error:?}");
}

pub(super) async fn send(target: &Target, body: &[u8]) -> reqwest::Response {
    send_by(&reqwest::Client::new(), target, body).await
}

async fn send_by(client: &reqwest::Client, target: &Target, body: &[u8]) -> reqwest::Response {
    let request = client.put(&target.url).body(body.to_vec());
    target.headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await.unwrap()
}

pub(super) async fn read(objects: &Objects, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>, ObjectError> {
    let chunks: Vec<Bytes> = objects.get(key, range).await?.try_collect().await?;
    Ok(chunks.concat())
}

pub(super) fn piece(number: u32, content: &[u8]) -> Piece {
    Piece { number, bytes: content.len() as u64, md5: STANDARD.encode(Md5::digest(content)) }
}

pub(super) fn chunks(content: &[u8]) -> ByteStream {
    let chunks: Vec<Bytes> = content.chunks(10_000).map(Bytes::copy_from_slice).collect();
    stream::iter(chunks).map(Ok).boxed()
}

/// Bytes that no store can have made up.
pub(super) fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
