#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::*;

fn pod(uid: &str, gated: bool, phase: &str, node: &str) -> Value {
    let gates = if gated { json!([{"name": GATE}]) } else { json!([{"name": "somebody.else/gate"}]) };
    json!({
        "metadata": {"uid": uid, "namespace": "n", "name": uid, "labels": {LABEL: "p"}},
        "spec": {"schedulingGates": gates, "nodeName": node}, "status": {"phase": phase},
    })
}

fn tell(tally: &mut Tally, kind: &str, mut object: Value) -> Result<()> {
    object["metadata"]["resourceVersion"] = json!((tally.version() + 1).to_string());
    tally.apply(&serde_json::from_value(json!({"type": kind, "object": object})).unwrap())
}

#[test]
fn the_most_at_once_is_of_pods_without_our_gate_that_have_not_ended() {
    let mut tally = Tally::default();
    for uid in ["a", "b", "c"] {
        tell(&mut tally, "ADDED", pod(uid, true, "Pending", "")).unwrap();
    }
    tell(&mut tally, "MODIFIED", pod("a", false, "Pending", "")).unwrap();
    tell(&mut tally, "MODIFIED", pod("b", false, "Pending", "x")).unwrap();
    tell(&mut tally, "MODIFIED", pod("a", false, "Running", "x")).unwrap();
    tell(&mut tally, "MODIFIED", pod("a", false, "Succeeded", "x")).unwrap();
    tell(&mut tally, "DELETED", pod("a", false, "Succeeded", "x")).unwrap();
    tell(&mut tally, "MODIFIED", pod("c", false, "Pending", "x")).unwrap();
    tell(&mut tally, "DELETED", pod("b", false, "Pending", "x")).unwrap();
    let seen = tally.pool("p");
    assert_eq!((seen.most, seen.now(), seen.gated()), (2, 1, 0));
    assert_eq!((seen.succeeded, seen.failed, seen.deleted), (1, 0, 1));
    assert_eq!(seen.most_on, BTreeMap::from([("x".to_owned(), 2)]));
    assert_eq!(
        seen.released.iter().map(|release| (release.pod.as_str(), release.then)).collect::<Vec<_>>(),
        [("n/a", 1), ("n/b", 2), ("n/c", 2)]
    );
    assert!(seen.never_gated.is_empty());
}

#[test]
fn a_pod_whose_label_is_removed_is_still_one_of_the_pool() {
    let mut tally = Tally::default();
    tell(&mut tally, "ADDED", pod("a", false, "Running", "x")).unwrap();
    let mut bare = pod("a", false, "Running", "x");
    bare["metadata"]["labels"] = json!({});
    tell(&mut tally, "MODIFIED", bare).unwrap();
    assert_eq!(tally.pool("p").now(), 1);
    assert_eq!(tally.pool("p").never_gated, ["n/a"]);
}

#[test]
fn pods_of_no_pool_count_nowhere_and_gated_ones_that_go_were_never_let_go() {
    let mut tally = Tally::default();
    let mut other = pod("a", false, "Running", "x");
    other["metadata"]["labels"] = json!({});
    tell(&mut tally, "ADDED", other).unwrap();
    tell(&mut tally, "ADDED", pod("b", true, "Pending", "")).unwrap();
    tell(&mut tally, "DELETED", pod("b", true, "Pending", "")).unwrap();
    let seen = tally.pool("p");
    assert_eq!((seen.pods, seen.most, seen.deleted, seen.released.len()), (1, 0, 1, 0));
}

#[test]
fn a_watch_that_fails_or_goes_back_is_an_error() {
    let mut tally = Tally::default();
    tell(&mut tally, "ADDED", pod("a", true, "Pending", "")).unwrap();
    let expired = json!({"metadata": {}, "status": "Failure", "message": "too old", "code": 410});
    assert!(tell(&mut tally, "ERROR", expired).unwrap_err().to_string().contains("too old"));
    let mut old = pod("a", true, "Pending", "");
    old["metadata"]["resourceVersion"] = json!("0");
    tally.apply(&serde_json::from_value(json!({"type": "MODIFIED", "object": old})).unwrap()).unwrap_err();
}
