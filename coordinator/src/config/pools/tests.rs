use std::time::Duration;

use jobmeter_decide::pool::placement::Effect;
use jobmeter_decide::pool::{Order, StartRate};

use super::*;

fn read(text: &str) -> Result<Vec<PoolSettings>, PoolsError> {
    parse(text, Path::new("pools.yaml"))
}

#[test]
fn a_pool_is_read_as_it_is_documented() {
    let text = "\
pools:
  gpu:
    size: 8
    perNode: 1
    startRate: 5/1m
    order: fairShare
    nodeSelector: {accelerator: a100, example.com/tier: 2}
    tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  cpu:
    size: 25%
  closed: {size: 0}
";
    let pools = read(text).unwrap();
    let names: Vec<_> = pools.iter().map(|pool| (pool.name.as_str(), pool.size)).collect();
    assert_eq!(names, [("closed", Size::Places(0)), ("cpu", Size::Percent(25)), ("gpu", Size::Places(8))]);
    let gpu = &pools[2];
    assert_eq!((gpu.per_node, gpu.order), (Some(1), Order::FairShare));
    assert_eq!(gpu.start_rate, Some(StartRate { starts: 5, within: Duration::from_secs(60) }));
    assert_eq!(gpu.nodes.node_selector["example.com/tier"], "2");
    let toleration = Toleration { key: "gpu".into(), exists: true, value: String::new(), effect: Some(Effect::NoSchedule) };
    assert_eq!(gpu.nodes.tolerations, [toleration]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_line() {
    let text = "\
pools:
  a:
    size: 120%
    perNode: 0
  b:
    startRate: 5 per minute
    order: random
    size: -1
  -c: {}
  d:
    size: 1
    nodeSelector:
      x y: z
    tolerations:
      - {operator: Sometimes}
";
    let error = read(text).unwrap_err().to_string();
    for problem in [
        "line 3: pools.a.size: `120%` is more than all nodes",
        "line 4: pools.a.perNode: `0` is no number from 1 on",
        "line 6: pools.b.startRate: `5 per minute` is no rate",
        "line 7: pools.b.order: `random` is no order",
        "line 8: pools.b.size: `-1` is no size",
        "line 9: pools.-c: `-c` is no label value",
        "line 9: pools.-c.size: is missing",
        "line 13: pools.d.nodeSelector: `x y` is no label key",
        "line 15: pools.d.tolerations[0]: `Sometimes` is no operator",
    ] {
        assert!(error.contains(problem), "{problem}\nin\n{error}");
    }
    assert!(error.starts_with("pools.yaml: invalid configuration, 9 problems:"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    let error = read("pools:\n  a:\n    size: 1\n    pernode: 2\n").unwrap_err().to_string();
    assert!(error.starts_with("pools.yaml:4:5: ") && error.contains("pernode"), "{error}");
}

#[test]
fn a_pool_that_is_written_twice_is_refused() {
    assert!(read("pools:\n  a: {size: 1}\n  a: {size: 2}\n").unwrap_err().to_string().starts_with("pools.yaml:3:"));
}

#[test]
fn an_empty_file_is_no_pools() {
    assert_eq!(read("").unwrap(), []);
    assert_eq!(read("pools: {}\n").unwrap(), []);
}
