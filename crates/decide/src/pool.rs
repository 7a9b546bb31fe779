//! The pool: how many job pods may run at once across the cluster, who is next, and why the others wait.
//!
//! ```text
//! Observation ──▶ Ledger::observe        Ledger::plan(now) ──▶ Step…        Ledger::next_wake() ──▶ when to plan at the latest
//! ```
//! In: members (pods of a pool, as the API server has them), nodes, the pools' settings, outcomes of steps. Out: who gets a place.
//! Owner: the coordinator's pool task, one ledger for each term of leadership, filled from lists.
//!
//! A place belongs to a member and is freed when that member has ended, is gone, or its node is; never by time. It is given in two
//! steps: *reserve* writes the place onto the still gated pod, *release* removes the gate. A release is only ever sent for a place
//! that was seen written, so whoever lists the pods later counts every release that may still be on its way: a new leader can
//! never give away a place that an old one is about to fill.

pub mod admission;
pub mod ledger;
pub mod placement;
mod words;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_protocol::PoolSlot;

pub use ledger::Ledger;
pub use placement::{NodeFacts, Requirements};

/// What a pool allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    pub name: String,
    pub size: Size,
    /// Most members on one node at once.
    pub per_node: Option<u32>,
    pub start_rate: Option<StartRate>,
    pub order: Order,
    /// Nodes that count for a percentage and that members may go to.
    pub nodes: Requirements,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 0 holds everybody back.
    Places(u32),
    /// Of the pool's nodes that can take pods, rounded up: one at least while there is a node.
    Percent(u32),
}

/// Most starts on one node within any such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartRate {
    pub starts: u32,
    pub within: Duration,
}

/// Between members of one priority; a higher priority always comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By creation.
    #[default]
    Fifo,
    /// The namespace with the fewest places in use first; within it by creation.
    FairShare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pod,
    /// Suspended instead of gated; it holds as many places as pods of it may run at once.
    Job,
}

/// A pod (or Job) of a pool, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub uid: Arc<str>,
    pub kind: Kind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// Value of the label, which no pool may have.
    pub pool: Arc<str>,
    pub priority: i32,
    pub created: Timestamp,
    /// 1 for a pod.
    pub slots: u32,
    /// The pool's gate is on it (of a Job: it is suspended by us).
    pub gated: bool,
    /// What is written on it.
    pub slot: Option<PoolSlot>,
    /// Where it was bound to, and since when.
    pub node: Option<Arc<str>>,
    pub scheduled: Option<Timestamp>,
    /// Why the scheduler finds no node for it, in its words.
    pub unschedulable: Option<Arc<str>>,
    pub ended: bool,
    /// It is a pod of a node run.
    pub of_run: bool,
    /// Somebody asked for its deletion.
    pub deleting: bool,
    pub requirements: Arc<Requirements>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Replaces what was configured. Members of a pool that is not there any more wait, or keep running uncounted.
    Pools(Vec<PoolSettings>),
    /// All there are of a kind, by a list that is not older than any answer seen before.
    Listed {
        kind: Kind,
        members: Vec<Member>,
    },
    Applied(Member),
    /// The watch says so; `proven`: by a state with a deletion in it, or because it was looked for and not found.
    Gone {
        uid: Arc<str>,
        proven: bool,
    },
    NodesListed(Vec<NodeFacts>),
    Node(NodeFacts),
    NodeGone {
        name: Arc<str>,
    },
    /// What became of a step.
    Answered {
        uid: Arc<str>,
        what: Write,
        answer: Answer,
    },
    /// Answer to [`Step::Look`]: what is there now.
    Found {
        uid: Arc<str>,
        member: Option<Member>,
    },
    /// Answer to [`Step::Look`]: nobody knows. It is looked for again.
    Unseen {
        uid: Arc<str>,
    },
}

/// Which write a step asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Write {
    Reserve,
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the object after it.
    Done(Box<Member>),
    /// It was surely not done and may be tried again later.
    Refused { why: String },
    /// The object is gone, or it is another one by now.
    Gone,
    /// Nobody knows: a timeout, a connection that broke.
    Unknown { why: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write the place onto a member that is still gated.
    Reserve { target: Target, slot: PoolSlot },
    /// Remove the gate; with `nodes` in the slot, allow only those.
    Release { target: Target, slot: PoolSlot },
    /// Read it: nobody knows what became of a write, or whether it is gone.
    Look { target: Target },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    pub kind: Kind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
}

/// Why a member waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    PoolFull {
        used: u32,
        size: u32,
    },
    /// The pool's size is 0.
    Paused,
    NoSuchPool {
        pool: Arc<str>,
    },
    /// It asks for more places than the pool will ever have.
    TooLarge {
        slots: u32,
        size: u32,
    },
    /// One before it needs more places than are free.
    Behind {
        slots: u32,
    },
    /// No node of the pool can take it; the first few reasons with how many nodes each.
    NoNode {
        nodes: u32,
        why: String,
    },
    /// Every node that could take it has its fill.
    NodesFull {
        nodes: u32,
        per_node: u32,
    },
    StartRate {
        until: Timestamp,
    },
    /// Refused by the API server; tried again then.
    Refused {
        why: String,
        until: Timestamp,
    },
    /// Nodes or members were not listed yet.
    NotListed,
    /// It gets a place as soon as some of the writes that are on their way are answered.
    ItsTurn {
        writes: u32,
    },
}

impl WaitReason {
    /// For JSON and metric labels.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::PoolFull { .. } => "pool_full",
            Self::Paused => "paused",
            Self::NoSuchPool { .. } => "no_such_pool",
            Self::TooLarge { .. } => "too_large",
            Self::Behind { .. } => "behind",
            Self::NoNode { .. } => "no_node",
            Self::NodesFull { .. } => "nodes_full",
            Self::StartRate { .. } => "start_rate",
            Self::Refused { .. } => "refused",
            Self::NotListed => "not_listed",
            Self::ItsTurn { .. } => "its_turn",
        }
    }
}
