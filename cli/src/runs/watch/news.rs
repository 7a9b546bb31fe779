//! What is new in an answer, compared with the one before it. Pure.

use std::collections::BTreeMap;

use jobmeter_protocol::runs::{NodeRun, NodeRunState, Run, RunDetail};

use super::super::detail::counts;
use super::super::state;

/// What was told already.
#[derive(Default)]
pub(super) struct News {
    nodes: BTreeMap<String, (NodeRunState, u32)>,
    overview: String,
}

impl News {
    /// A line for each node that failed, was cancelled or tries again; without a bar also one for whatever else has changed.
    pub(super) fn of(&mut self, detail: &RunDetail, bar: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for node in &detail.nodes {
            let is = (node.state, node.attempt);
            let was = self.nodes.insert(node.node.clone(), is);
            if was != Some(is) {
                lines.extend(told(node, was));
            }
        }
        let overview = message(&detail.run);
        if !bar && overview != self.overview {
            lines.push(format!("run {}: {overview}", detail.run.id));
        }
        self.overview = overview;
        lines
    }
}

fn told(node: &NodeRun, was: Option<(NodeRunState, u32)>) -> Option<String> {
    let why = node.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    match node.state {
        NodeRunState::Failed | NodeRunState::Cancelled => Some(format!("{} {}{why}", node.node, node.state.as_str())),
        _ if was.is_some_and(|(_, attempt)| attempt < node.attempt) => {
            Some(format!("{} is tried again (attempt {}){why}", node.node, node.attempt.saturating_add(1)))
        }
        _ => None,
    }
}

/// `stopping, 5: 2 succeeded, 1 running`.
pub(super) fn message(run: &Run) -> String {
    format!("{}, {}", state(run), counts(&run.nodes))
}
