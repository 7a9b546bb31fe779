use std::path::Path;

use jobmeter_decide::pool::NodeFacts;
use jobmeter_decide::pool::placement::{Effect, Taint};
use tokio::sync::mpsc;

use super::*;

fn parsed(text: &str) -> Vec<PoolSettings> {
    crate::config::pools::parse(text, Path::new("pools.yaml")).unwrap()
}

fn sizes(pools: &[PoolSettings]) -> Vec<(&str, String)> {
    pools.iter().map(|pool| (pool.name.as_str(), pool.size.to_string())).collect()
}

#[test]
fn a_pool_of_the_file_wins_over_a_definitions_pool_of_that_name() {
    let own = OwnPools::from([("run.inventory".to_owned(), 5), ("run.scrub".to_owned(), 2)]);
    let mut covered = BTreeSet::new();
    let pools = merge(&parsed("pools: {gpu: {size: 3}, run.inventory: {size: 7}}"), &own, &mut covered);
    assert_eq!(sizes(&pools), [("gpu", "3".to_owned()), ("run.inventory", "7".to_owned()), ("run.scrub", "2".to_owned())]);
    assert_eq!(covered, BTreeSet::from(["run.inventory".to_owned()]));
}

#[test]
fn a_definitions_pool_has_no_conditions_of_its_own() {
    let taint = Taint { key: "node.kubernetes.io/unschedulable".to_owned(), value: String::new(), effect: Effect::NoSchedule };
    let node =
        NodeFacts { name: "node-a".into(), labels: BTreeMap::new(), taints: vec![taint], ready: true, unschedulable: true };
    assert_eq!(settings("run.inventory", 1).nodes.fits(&node), Ok(()));
}

#[tokio::test]
async fn a_definitions_pool_comes_changes_its_size_and_goes_without_any_pools_file() {
    let (inbox, mut seen) = mpsc::channel(4);
    let (own, view) = watch::channel(OwnPools::new());
    let merged = Merged { file: None, own: view, surroundings: Arc::default(), inbox };
    let task = tokio::spawn(merged.follow());
    let mut next = async || match seen.recv().await.unwrap().what {
        Observation::Pools(pools) => sizes(&pools).into_iter().map(|(name, size)| format!("{name} {size}")).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(next().await, Vec::<String>::new(), "the ledger waits for the first word about pools");
    own.send_replace(OwnPools::from([("run.inventory".to_owned(), 2)]));
    assert_eq!(next().await, ["run.inventory 2"]);
    own.send_replace(OwnPools::from([("run.inventory".to_owned(), 5)]));
    assert_eq!(next().await, ["run.inventory 5"]);
    own.send_replace(OwnPools::new());
    assert_eq!(next().await, Vec::<String>::new());
    task.abort();
}
