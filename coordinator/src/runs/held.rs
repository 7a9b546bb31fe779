//! How much of what jobs posted is held in memory for the metrics; all of it is in the store and on the disk. Pure.
//!
//! In: results. Out: what they take, and those for which there is room. The newest runs come first, as in a scrape, so what is
//! beyond would not be shown anyway.

use std::mem::size_of;

use jobmeter_protocol::runs::{GaugeValue, Gauges, NodeResult};

/// About as many values as a scrape shows.
pub(crate) const MOST_BYTES: usize = 64 << 20;
/// An allocation, with what the allocator adds.
const TEXT: usize = 32;
/// A map of one label takes as much as one of eleven.
const LABELS: usize = 11 * 2 * size_of::<String>() + 16;

pub(crate) fn bytes(result: &NodeResult) -> usize {
    let of_gauge = |(name, values): (&String, &Vec<GaugeValue>)| LABELS + name.len() + values.iter().map(of_value).sum::<usize>();
    result.gauges.iter().map(of_gauge).sum()
}

fn of_value(value: &GaugeValue) -> usize {
    let texts: usize = value.labels.iter().map(|(name, value)| name.len() + value.len() + 2 * TEXT).sum();
    size_of::<GaugeValue>() + texts + LABELS * value.labels.len().div_ceil(11)
}

/// That it came is known, and of which attempt.
pub(crate) fn without_values(result: &NodeResult) -> NodeResult {
    NodeResult { node: result.node.clone(), attempt: result.attempt, received: result.received, gauges: Gauges::new() }
}

/// Takes what it needs of the room; where that is too little, its values go.
pub(crate) fn within(room: &mut usize, result: NodeResult) -> NodeResult {
    match room.checked_sub(bytes(&result)) {
        Some(left) => {
            *room = left;
            result
        }
        None => without_values(&result),
    }
}
