use std::time::Duration;

use jobmeter_decide::certificates::{Step, Why, decide};

use super::super::issue;
use super::*;

fn names(service: &str) -> Names {
    Names {
        namespace: "jobs".to_owned(),
        service: service.to_owned(),
        secret: "jobmeter-webhook-tls".to_owned(),
        configuration: "jobmeter-pool".to_owned(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn secret(now: Timestamp) -> Secret {
    let authority = issue::authority(now).unwrap();
    let leaf = issue::leaf(&authority.key, &names("coordinator"), now).unwrap();
    Secret { data: Some(fields(leaf, authority.certificate, authority.key)), ..Secret::default() }
}

fn with(mut secret: Secret, field: &str, from: &Secret) -> Secret {
    let value = from.data.as_ref().unwrap()[field].clone();
    secret.data.as_mut().unwrap().insert(field.to_owned(), value);
    secret
}

#[test]
fn what_was_issued_is_served_and_says_how_long_it_lives() {
    let secret = secret(now());
    let material = read(&secret, &names("coordinator")).unwrap();
    assert_eq!(material.leaf.until, now() + Duration::from_secs(365 * 86_400));
    assert_eq!(material.authority.until, now() + Duration::from_secs(3650 * 86_400));
    assert!(matches!(decide(&found(Some(&secret), &names("coordinator")), now()), Step::Keep { .. }));
}

#[test]
fn a_leaf_that_is_renewed_is_trusted_by_who_trusts_the_authority_of_the_first() {
    let first = secret(now());
    let later = now() + Duration::from_secs(300 * 86_400);
    let leaf = issue::leaf(&authority_key(&first).unwrap(), &names("coordinator"), later).unwrap();
    let old = String::from_utf8(first.data.as_ref().unwrap()[AUTHORITIES].0.clone()).unwrap();
    let second = Secret { data: Some(fields(leaf, old, authority_key(&first).unwrap())), ..Secret::default() };
    let material = read(&second, &names("coordinator")).unwrap();
    assert_eq!(material.leaf.until, later + Duration::from_secs(365 * 86_400));
}

#[test]
fn a_leaf_that_is_over_is_renewed_and_not_taken_for_a_foreign_one() {
    let secret = secret(now());
    let later = now() + Duration::from_secs(400 * 86_400);
    let step = decide(&found(Some(&secret), &names("coordinator")), later);
    assert!(matches!(step, Step::Leaf { why: Why::Aged { .. } }), "{step:?}");
}

#[test]
fn what_cannot_be_served_says_which_field_is_wrong_and_never_shows_it() {
    let (ours, other) = (secret(now()), secret(now()));
    let why = |secret: &Secret, service: &str| match found(Some(secret), &names(service)) {
        Found::Unusable { why } => why,
        found => panic!("{found:?}"),
    };
    assert!(why(&ours, "renamed").contains("not for renamed.jobs.svc"), "{}", why(&ours, "renamed"));
    assert!(why(&with(ours.clone(), AUTHORITIES, &other), "coordinator").contains("signed by the first of ca.crt"));
    assert_eq!(why(&with(ours.clone(), TLS_KEY, &other), "coordinator"), "tls.key in the Secret is not the key of tls.crt");
    assert_eq!(why(&with(ours.clone(), AUTHORITY_KEY, &other), "coordinator"), "ca.key in the Secret is not the key of ca.crt");
    let mut half = ours.clone();
    half.data.as_mut().unwrap().remove(TLS_KEY);
    assert_eq!(why(&half, "coordinator"), "the Secret has no tls.key");
    let mut garbage = ours;
    garbage.data.as_mut().unwrap().insert(TLS_CERTIFICATE.to_owned(), ByteString(b"hunter2".to_vec()));
    let why = why(&garbage, "coordinator");
    assert!(why.contains("tls.crt") && !why.contains("hunter2"), "{why}");
    assert_eq!(found(None, &names("coordinator")), Found::Nothing);
    assert_eq!(found(Some(&Secret::default()), &names("coordinator")), Found::Nothing);
}

#[test]
fn the_authority_before_the_newest_stays_trusted_while_it_is_valid() {
    let old = secret(now());
    let newest = issue::authority(now()).unwrap().certificate;
    let both = authorities_with(&newest, Some(&old), now());
    assert_eq!(certificates(AUTHORITIES, &both).unwrap().len(), 2);
    assert!(both.starts_with(&newest));
    let repeated =
        Secret { data: Some(BTreeMap::from([(AUTHORITIES.to_owned(), ByteString(both.into_bytes()))])), ..Secret::default() };
    assert_eq!(certificates(AUTHORITIES, &authorities_with(&newest, Some(&repeated), now())).unwrap().len(), 2);
    let long_after = now() + Duration::from_secs(3651 * 86_400);
    assert_eq!(authorities_with(&newest, Some(&old), long_after), newest);
}
