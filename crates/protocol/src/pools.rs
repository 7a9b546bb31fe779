//! Pools: how many job pods may run at once, and who waits why. Answers of `GET /v1/pools` and `GET /v1/pools/{name}`, and the
//! names that pods carry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Label of a pod (or Job): the pool it belongs to.
pub const POOL_LABEL: &str = "jobmeter.io/pool";
/// Name of the scheduling gate that holds a pod of a pool until it is admitted.
pub const POOL_GATE: &str = "jobmeter.io/pool";
/// Annotation of a pod (or Job) that holds a place: a [`PoolSlot`] as JSON. Written by the coordinator, before the gate goes.
pub const SLOT_ANNOTATION: &str = "jobmeter.io/pool-slot";
/// Annotation of a Job that was suspended for its pool, by us: only those are resumed.
pub const SUSPENDED_ANNOTATION: &str = "jobmeter.io/pool-suspended";

/// Value of [`SLOT_ANNOTATION`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSlot {
    pub pool: String,
    /// Of the leadership that gave it: `leaseTransitions` of the Lease; 0 where there is no Lease.
    pub epoch: u64,
    pub given: Timestamp,
    /// Nodes that the pod may go to; any where empty. A place is kept on each of them until the pod is bound to one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// One line of `jobmeter pools`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct PoolStatus {
    pub name: String,
    /// Places now; a percentage is of [`Self::nodes`].
    pub size: u32,
    /// As configured: `8` or `25%`.
    pub configured_size: String,
    /// Most places on one node at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_node: Option<u32>,
    /// As configured: `5/1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_rate: Option<String>,
    /// `fifo` or `fair_share`.
    pub order: String,
    /// Nodes that match the pool's selector and can take pods now.
    pub nodes: u32,
    /// Places taken, by pods that run, that are being started, or that are on the way.
    pub used: u32,
    /// Places taken beyond [`Self::size`]: it was made smaller, or pods came without asking.
    pub over: u32,
    pub queued: u32,
    /// Creation of the pod that has waited longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// How many wait for which reason (a [`PoolWait::reason`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting: BTreeMap<String, u32>,
}

/// Answer to `GET /v1/pools/{name}?limit=`: the pool, who is in it, and who waits, first come first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolDetail {
    pub pool: PoolStatus,
    /// At most `limit` of [`PoolStatus::used`].
    pub members: Vec<PoolMember>,
    /// At most `limit` of [`PoolStatus::queued`], in the order of admission.
    pub waiting: Vec<PoolWait>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolMember {
    /// `Pod` or `Job`.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// `reserved`, `releasing`, `released` (no node yet), `bound`, `ending`, `ungated` (it came without asking).
    pub state: String,
    pub slots: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it got its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Of a released one: why the scheduler finds no node for it, in its words. It keeps its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolWait {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub priority: i32,
    pub slots: u32,
    pub created: Timestamp,
    /// From 1.
    pub position: u32,
    /// One word, such as `pool_full`.
    pub reason: String,
    /// A sentence.
    pub why: String,
}
