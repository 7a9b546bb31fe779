//! The agents, as their heartbeats tell of them: which nodes are measured, what runs there now, what they know nothing of.
//!
//! Inputs: heartbeats. Outputs: [`Witness`]es for the chase, `/v1/nodes` and `/v1/live`. In memory only: agents tell it
//! again within seconds. Owner: whoever handles a request; one lock, held for a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobmeter_decide::chase::Witness;
use jobmeter_protocol::{Heartbeat, LivePod, LogId, NodeStatus};

/// More nodes than Kubernetes supports; one token per node is needed to get here.
const MAX_NODES: usize = 10_000;
/// A node that was not heard for so long is forgotten.
const FORGET: Duration = Duration::from_secs(24 * 3600);
/// What one heartbeat may bring; a node runs some hundreds of pods.
pub const MAX_LIVE: usize = 10_000;

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Nodes {
    listening_since: Arc<Mutex<Timestamp>>,
    by_name: Arc<Mutex<BTreeMap<String, Node>>>,
}

struct Node {
    status: NodeStatus,
    /// By our clock, not the node's.
    heard: Timestamp,
    live: Vec<LivePod>,
    unknown: BTreeSet<String>,
    /// Logs that it does not have, with the reason.
    logs_unknown: BTreeMap<LogId, String>,
}

/// What is known of the agent that should have a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogWitness {
    pub last_heartbeat: Option<Timestamp>,
    /// It does not have it, for this reason.
    pub says_unknown: Option<String>,
    pub listening_since: Timestamp,
}

#[derive(Debug, thiserror::Error)]
#[error("too many nodes: {MAX_NODES} are known already")]
pub struct TooManyNodes;

impl Nodes {
    pub fn new(listening_since: Timestamp) -> Self {
        Self { listening_since: Arc::new(Mutex::new(listening_since)), by_name: Arc::default() }
    }

    /// Agents are heard from now on: their heartbeats go to whoever leads, however long this process has followed.
    pub fn listen_from(&self, now: Timestamp) {
        *self.listening_since.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn listening_since(&self) -> Timestamp {
        *self.listening_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the node says that it knows nothing of a pod, which it had not said before.
    pub fn heard(&self, node: &str, beat: Heartbeat, now: Timestamp) -> Result<bool, TooManyNodes> {
        let mut by_name = self.lock();
        let forget = SignedDuration::try_from(FORGET).unwrap_or(SignedDuration::MAX);
        by_name.retain(|_, node| now.duration_since(node.heard) < forget);
        if by_name.len() >= MAX_NODES && !by_name.contains_key(node) {
            return Err(TooManyNodes);
        }
        let mut live = beat.live;
        live.iter_mut().for_each(|pod| node.clone_into(&mut pod.node));
        let known = by_name.remove(node);
        let (mut unknown, mut logs_unknown) = known.map(|node| (node.unknown, node.logs_unknown)).unwrap_or_default();
        let before = unknown.len() + logs_unknown.len();
        unknown.extend(beat.unknown);
        logs_unknown.extend(beat.logs_unknown.into_iter().map(|lost| (lost.log, lost.why)));
        let news = unknown.len() + logs_unknown.len() > before;
        let status = NodeStatus { last_heartbeat: now, ..beat.status };
        by_name.insert(node.to_owned(), Node { status, heard: now, live, unknown, logs_unknown });
        Ok(news)
    }

    pub fn witness(&self, node: Option<&str>, pod_uid: &str) -> Witness {
        let by_name = self.lock();
        let node = node.and_then(|node| by_name.get(node));
        Witness {
            last_heartbeat: node.map(|node| node.heard),
            says_unknown: node.is_some_and(|node| node.unknown.contains(pod_uid)),
            listening_since: self.listening_since(),
        }
    }

    pub fn log_witness(&self, node: Option<&str>, log: &LogId) -> LogWitness {
        let by_name = self.lock();
        let node = node.and_then(|node| by_name.get(node));
        LogWitness {
            last_heartbeat: node.map(|node| node.heard),
            says_unknown: node.and_then(|node| node.logs_unknown.get(log)).cloned(),
            listening_since: self.listening_since(),
        }
    }

    /// Drops what was said of logs that nobody asks about any more.
    pub fn forget_log_answers(&self, wanted: impl Fn(&LogId) -> bool) {
        self.lock().values_mut().for_each(|node| node.logs_unknown.retain(|log, _| wanted(log)));
    }

    /// Drops what was said of pods that nobody asks about any more.
    pub fn forget_answers(&self, wanted: impl Fn(&str) -> bool) {
        self.lock().values_mut().for_each(|node| node.unknown.retain(|uid| wanted(uid)));
    }

    pub fn statuses(&self) -> Vec<NodeStatus> {
        self.lock().values().map(|node| node.status.clone()).collect()
    }

    /// What runs now, of nodes that were heard since `since`.
    pub fn live(&self, since: Timestamp) -> Vec<LivePod> {
        self.lock().values().filter(|node| node.heard >= since).flat_map(|node| node.live.iter().cloned()).collect()
    }

    /// Nodes heard since `since`, nodes not heard, and live pods.
    pub fn counts(&self, since: Timestamp) -> (usize, usize, usize) {
        let by_name = self.lock();
        let alive = by_name.values().filter(|node| node.heard >= since);
        let (nodes, pods) = alive.fold((0, 0), |(nodes, pods), node| (nodes + 1, pods + node.live.len()));
        (nodes, by_name.len() - nodes, pods)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
