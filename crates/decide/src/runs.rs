//! Node runs: which run begins when, on which nodes, which pod is made next, and when it is over.
//!
//! ```text
//! Observation ──▶ Runs::observe        Runs::plan(now) ──▶ Plan { changes, steps, answers }        Runs::next_wake()
//! ```
//! In: definitions, what is stored, nodes, pods of runs, what people ask, reports, answers of steps. Out: what is to be stored, and
//! after that done. Owner: the coordinator's runs task, for one term of leadership.
//!
//! A pod of a run is made gated, in a pool: when it may start, the pool says ([`crate::pool`]). So a pod that is made twice, late, or
//! by a coordinator that leads no more takes no place of anybody; its name says run, node and attempt, nothing is made for an
//! attempt whose pod's UID was stored, and no pool lets a pod go whose UID is not: so of the pods of an attempt one runs.

pub mod schedule;

mod alarms;
mod answers;
mod attempt;
mod book;
mod deadlines;
mod due;
mod ending;
mod flights;
mod history;
mod kept;
mod naming;
mod newcomers;
mod nodes;
mod observe;
mod plan;
mod pods;
mod steps;
mod trigger;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{DefinitionMemory, DefinitionStatus, NodeRun, Run, RunChange, RunSettings, StartRun, StoredRun};

use self::alarms::Alarms;
use self::book::Book;
use self::flights::Flights;
use self::nodes::Nodes;
use self::pods::Pods;
use crate::pool::NodeFacts;
pub use schedule::{Schedule, ScheduleError};

/// What may become runs.
#[derive(Clone, Debug)]
pub struct Definition {
    pub settings: Arc<RunSettings>,
    /// File or ConfigMap.
    pub source: String,
    pub schedule: Option<Schedule>,
    pub suspended: bool,
    /// So long after this term began.
    pub run_on_start: Option<SignedDuration>,
}

/// A pod of a run, as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunPod {
    pub run: String,
    pub node: String,
    pub attempt: u32,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub phase: PodPhase,
    pub created: Timestamp,
    /// When the pool gave it its place.
    pub admitted: Option<Timestamp>,
    /// Of its first container that ran.
    pub started: Option<Timestamp>,
    /// Of its last container, or as near as is known.
    pub finished: Option<Timestamp>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    /// What it waits for, such as `ImagePullBackOff`, or why it cannot be scheduled.
    pub waiting: Option<String>,
    pub deleting: bool,
    /// The node that it is bound to.
    pub bound: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodPhase {
    Gated,
    /// Without gate; no container has started.
    Pending,
    Running,
    Succeeded,
    Failed,
}

#[derive(Clone, Debug)]
pub enum Observation {
    /// Replaces what was configured. Runs go on as they began.
    Definitions(Vec<Definition>),
    /// Everything that is kept, once, at the beginning.
    Stored {
        runs: Vec<StoredRun>,
        memories: Vec<DefinitionMemory>,
    },
    NodesListed(Vec<NodeFacts>),
    Node(NodeFacts),
    NodeGone {
        name: Arc<str>,
    },
    /// All there are.
    PodsListed(Vec<RunPod>),
    Pod(Box<RunPod>),
    PodGone {
        namespace: String,
        name: String,
        uid: String,
    },
    /// Somebody asks; the plan answers with the same number.
    Asked {
        question: u64,
        what: Command,
    },
    /// A pod posted something. It was found to be a pod of this run.
    Reported {
        run: String,
        node: String,
        attempt: u32,
        what: Report,
    },
    /// What became of a step.
    Answered {
        step: StepKey,
        answer: Answer,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Start(StartRun),
    Cancel {
        run: String,
    },
    /// A new run of the nodes that failed or were cancelled.
    Retry {
        run: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Result,
    File { bytes: u64 },
    Event,
}

/// Which step an answer is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKey {
    Create { namespace: String, name: String },
    Delete { uid: String },
    Bind { uid: String },
    Forget { run: String },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A pod is there: it was made now, or it had been made before; as it is.
    Made(Box<RunPod>),
    /// Deleted, bound, or forgotten.
    Done,
    /// It is not there.
    Gone,
    /// Surely not done.
    Refused { why: String },
    /// Nobody knows. Each step may be done again.
    Unknown { why: String },
}

/// Done in this order: `changes` are stored, as one; then `steps` begin and `answers` are given. Where storing fails it is tried
/// again; nothing is planned meanwhile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub changes: Vec<RunChange>,
    pub steps: Vec<Step>,
    pub answers: Vec<(u64, Result<Run, Refusal>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Create(CreatePod),
    /// With that UID only.
    Delete {
        namespace: String,
        name: String,
        uid: String,
    },
    /// Its pool let it go, and it is to run on that node whatever the scheduler thinks.
    Bind {
        namespace: String,
        name: String,
        uid: String,
        node: String,
    },
    /// Its pods, those of earlier attempts too, and its reports go; afterwards it is forgotten.
    Forget {
        run: String,
        settings: Arc<RunSettings>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct CreatePod {
    pub run: String,
    pub settings: Arc<RunSettings>,
    pub node: String,
    pub attempt: u32,
    pub name: String,
}

/// Why something that was asked for is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was stored, and the nodes, are not known yet.
    #[error("the runs are not known here yet")]
    NotReady,
    #[error("there is no definition {name:?}; there are: {known}")]
    NoSuchDefinition { name: String, known: String },
    #[error("there is no run {run}")]
    NoSuchRun { run: String },
    #[error("run {run} is over: {state}")]
    Over { run: String, state: &'static str },
    #[error("run {run} still runs; cancel it, or wait for its end")]
    NotOver { run: String },
    #[error("no node of run {run} failed or was cancelled")]
    NothingToRetry { run: String },
    #[error("run {run} of {definition} still runs, and its overlap policy is to forbid a second one")]
    Overlaps { definition: String, run: String },
    #[error("no node can take pods of {definition}: {why}")]
    NoNodes { definition: String, why: String },
    #[error("there is no node {node}, or it is not one of {definition}'s: {why}")]
    NotItsNode { definition: String, node: String, why: String },
}

/// All runs that are kept, and all definitions.
#[derive(Clone, Debug)]
pub struct Runs {
    began: Timestamp,
    awaited: Awaited,
    definitions: BTreeMap<String, Definition>,
    /// When a definition runs because this term began; none: not, or not any more.
    startups: BTreeMap<String, Option<Timestamp>>,
    memories: BTreeMap<String, DefinitionMemory>,
    memories_changed: BTreeSet<String>,
    nodes: Nodes,
    /// By definition: nodes that became usable in this term and that none of its runs has had since.
    fresh: BTreeMap<String, BTreeSet<String>>,
    pods: Pods,
    book: Book,
    alarms: Alarms,
    flights: Flights,
    /// Run and node of pods that are being made.
    makes: BTreeMap<StepKey, (String, String)>,
    look: Look,
    questions: Vec<(u64, Command)>,
}

/// What was not observed yet.
#[derive(Clone, Debug)]
struct Awaited {
    definitions: bool,
    stored: bool,
    nodes: bool,
    pods: bool,
}

/// What is to be looked at with the next plan.
#[derive(Clone, Debug, Default)]
struct Look {
    definitions: BTreeSet<String>,
    history: BTreeSet<String>,
    newcomers: bool,
    pods: BTreeSet<String>,
    bind: BTreeSet<String>,
    delete: BTreeSet<String>,
    forget: BTreeSet<String>,
}

impl Runs {
    /// Of a term that began then. Nothing is planned before definitions, what is stored, nodes and pods were observed.
    pub fn new(began: Timestamp) -> Self {
        Self {
            began,
            awaited: Awaited { definitions: true, stored: true, nodes: true, pods: true },
            definitions: BTreeMap::new(),
            startups: BTreeMap::new(),
            memories: BTreeMap::new(),
            memories_changed: BTreeSet::new(),
            nodes: Nodes::default(),
            fresh: BTreeMap::new(),
            pods: Pods::default(),
            book: Book::default(),
            alarms: Alarms::default(),
            flights: Flights::default(),
            makes: BTreeMap::new(),
            look: Look::default(),
            questions: Vec::new(),
        }
    }

    pub fn is_ready(&self) -> bool {
        let Awaited { definitions, stored, nodes, pods } = self.awaited;
        !(definitions || stored || nodes || pods)
    }

    /// Reports and answers count from the moment on in which what is stored was observed.
    pub fn observe(&mut self, observation: Observation, now: Timestamp) {
        let before = self.is_ready();
        self.take_in(observation, now);
        if !before && self.is_ready() {
            self.settle(now);
        }
    }

    /// When to plan again at the latest, if nothing is observed before.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.is_ready() { self.alarms.next() } else { None }
    }

    /// All that are kept, in the order of IDs, with their nodes: what the changes that were planned add up to.
    pub fn runs(&self) -> impl Iterator<Item = (&Run, &BTreeMap<String, NodeRun>)> {
        self.book.runs().map(|kept| (&kept.run, kept.nodes()))
    }

    /// In the order of names.
    pub fn definitions(&self, now: Timestamp) -> Vec<DefinitionStatus> {
        self.definitions.iter().map(|(name, definition)| self.status(name, definition, now)).collect()
    }

    /// Pools of their own that definitions and runs have: name and size. Of two sizes the definition's.
    pub fn own_pools(&self) -> BTreeMap<String, u32> {
        self.pools_of_runs()
    }
}

#[cfg(test)]
mod tests;
