//! What the pools look like together, one line each: pure.

use jiff::Timestamp;
use jobmeter_protocol::PoolStatus;

use super::{age, table};
use crate::output::{Align, Grid, printable};

/// Never empty.
pub(super) fn lines(pools: &[PoolStatus], now: Timestamp) -> Vec<String> {
    if pools.is_empty() {
        return vec!["no pools are configured: see docs/pools.md".to_owned()];
    }
    let mut grid = Grid::new([
        ("POOL", Align::Left),
        ("SIZE", Align::Right),
        ("USED", Align::Right),
        ("QUEUED", Align::Right),
        ("OVER", Align::Right),
        ("NODES", Align::Right),
        ("PER-NODE", Align::Right),
        ("RATE", Align::Right),
        ("ORDER", Align::Left),
        ("OLDEST", Align::Right),
        ("WAITING FOR", Align::Left),
    ]);
    for pool in pools {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        grid.row([
            printable(&pool.name).into_owned(),
            size(pool),
            pool.used.to_string(),
            pool.queued.to_string(),
            or_dash((pool.over > 0).then(|| pool.over.to_string())),
            pool.nodes.to_string(),
            or_dash(pool.per_node.map(|most| most.to_string())),
            or_dash(pool.start_rate.as_deref().map(|rate| printable(rate).into_owned())),
            printable(&pool.order).into_owned(),
            age(pool.oldest, now),
            reasons(pool),
        ]);
    }
    table(&grid)
}

/// `8`, or `5 (25%)` where the number follows the nodes.
fn size(pool: &PoolStatus) -> String {
    let places = pool.size.to_string();
    if pool.configured_size == places { places } else { format!("{places} ({})", printable(&pool.configured_size)) }
}

/// `pool_full 12, nodes_full 3`: the most frequent first. Words as in docs/pools.md.
fn reasons(pool: &PoolStatus) -> String {
    let mut reasons: Vec<_> = pool.waiting.iter().filter(|(_, count)| **count > 0).collect();
    // Stable: equally many stay in the order of their names.
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if reasons.is_empty() {
        return "-".to_owned();
    }
    let parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{} {count}", printable(reason))).collect();
    parts.join(", ")
}
