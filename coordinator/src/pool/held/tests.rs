use jobmeter_decide::pool::Kind;
use serde_json::json;

use super::*;
use crate::pool::member::of_pod;
use crate::pool::requirements::Shared;

fn pod(uid: &str, gated: bool) -> Member {
    let gates = if gated { json!([{"name": "jobmeter.io/pool"}]) } else { json!([]) };
    let labels = json!({"jobmeter.io/pool": "run.check", "jobmeter.io/run": "202611211930"});
    let pod = json!({
        "metadata": {"name": uid, "namespace": "checks", "uid": uid, "labels": labels},
        "spec": {"schedulingGates": gates, "containers": []},
    });
    of_pod(&serde_json::from_value(pod).unwrap(), &mut Shared::default()).unwrap()
}

fn stored(uids: &[&str]) -> StoredPods {
    Some(uids.iter().map(|uid| Arc::from(*uid)).collect())
}

fn uids(observations: &[Observation]) -> Vec<String> {
    let uid = |what: &Observation| match what {
        Observation::Applied(member) => member.uid.to_string(),
        what => format!("{what:?}"),
    };
    observations.iter().map(uid).collect()
}

#[test]
fn a_pod_of_a_run_that_was_made_behind_the_stores_back_gets_no_place() {
    let mut held = Held::default();
    let none = stored(&[]);
    assert_eq!(held.pass(Observation::Applied(pod("late", true)), &none), None);
    assert!(held.free(&none).is_empty());
    assert_eq!(uids(&held.free(&stored(&["late"]))), ["late"]);
    assert!(held.free(&stored(&["late"])).is_empty(), "once");
    // What runs is counted, whoever made it.
    assert!(held.pass(Observation::Applied(pod("runs", false)), &none).is_some());
}

#[test]
fn a_list_hides_those_that_are_not_stored_and_what_is_gone_is_not_freed() {
    let mut held = Held::default();
    let members = vec![pod("a", true), pod("b", true), pod("c", false)];
    let Some(Observation::Listed { members, .. }) = held.pass(Observation::Listed { kind: Kind::Pod, members }, &stored(&["b"]))
    else {
        panic!("a list stays one")
    };
    assert_eq!(members.iter().map(|member| &*member.uid).collect::<Vec<_>>(), ["b", "c"]);
    assert!(held.pass(Observation::Gone { uid: "a".into(), proven: false }, &stored(&[])).is_some());
    assert!(held.free(&stored(&["a"])).is_empty());
}

#[test]
fn where_nobody_keeps_runs_no_pod_is_held() {
    assert!(Held::default().pass(Observation::Applied(pod("a", true)), &None).is_some());
}
