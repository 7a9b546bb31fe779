//! The books of one node: what its kernel, its API server and its executor said of each pod, and what follows from it.
//!
//! Inputs: [`Observation`]s, each about one pod, in any order and any number of times; the time. Outputs: [`Step`]s, never
//! none: doing nothing is [`Step::Idle`] with its reason. Owner: the agent's books task, which does what the steps say.
//!
//! ```text
//! observation ─▶ facts of the pod (only grow) ─▶ view: the evidence as it is reported ─▶ steps
//! ```
//! The pod's own cgroup is the truth, its containers' cgroups the refinement. Nothing is ever subtracted from the facts:
//! what depends on several of them (names, the sandbox, the stage, gaps) is computed in the view, each time anew, so the
//! order in which they came does not matter.

mod facts;
mod intake;
mod live;
mod observation;
mod pod;
mod settled;
mod standing;
mod tick;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, PodEvidence};

use crate::metered::{Scope, WhyNot};

pub use live::Totals;
pub use observation::{Identity, Observation, ProcessScan, Sample, Tree, Verdict};
use pod::Pod;
use settled::Settled;
pub use standing::{RunStanding, Standing};

/// What does not change while the agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    pub node: String,
    pub boot_id: String,
    pub scope: Scope,
    /// Local containers get a cgroup here; without, what `wait4` says is all there is.
    pub local_cgroups: bool,
    pub pace: Pace,
    pub limits: Limits,
}

/// How often things happen that no event asks for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Journal what was learned of a live pod: all that is left of it after a power cut.
    pub journal: Duration,
    /// Report a live pod: all that is left of it when the node does not come back.
    pub report: Duration,
    /// How long the watch may lag before a pod that the API does not know is looked up elsewhere.
    pub api_lag: Duration,
    /// How long a pod may take to come back after a reboot.
    pub reboot: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pods that ended and whose evidence nobody acknowledged. Above it the oldest are given up, nobody's before anybody's.
    pub unacknowledged: usize,
    /// The most expensive processes that are kept of each pod.
    pub processes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            journal: Duration::from_secs(30),
            report: Duration::from_secs(60),
            api_lag: Duration::from_secs(5),
            reboot: Duration::from_secs(600),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { unacknowledged: 10_000, processes: 10 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Write the pod's evidence to the journal.
    Journal(String),
    /// Its evidence is worth sending now.
    Report(String),
    /// Whether the watcher spends descriptors on it.
    Follow {
        pod_uid: String,
        on: bool,
    },
    /// Whether the sampler looks at it.
    Sample {
        pod_uid: String,
        on: bool,
    },
    /// Look at its cgroup now; answer with [`Observation::Looked`] or [`Observation::NotThere`].
    ReadPod(String),
    /// Look for its name among the log directories; answer with [`Observation::Identified`].
    Identify(String),
    /// Tell the coordinator that nothing is known of it.
    SayUnknown(String),
    /// Drop it from the journal as well.
    Forget {
        pod_uid: String,
        why: Forgotten,
    },
    Idle(Idle),
}

/// Why the books of a pod were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Forgotten {
    Acknowledged,
    Rejected,
    NotAJob,
    /// It ended and nobody said that it was a job.
    Unclaimed,
    /// [`Limits::unacknowledged`] was reached: its evidence is lost.
    NoRoom,
}

/// Why an observation led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idle {
    /// Nothing in it was new.
    Known,
    /// New, and it will go out with the next report.
    Noted,
    NotAJob(NotAJob),
    /// Its final evidence was acknowledged before.
    Settled,
    UnknownPod,
    /// New facts came while the report was on its way; the next one is due already.
    StillDue,
    NothingDue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotAJob {
    Scope(&'static str),
    /// Its owners may say otherwise; the coordinator will name it then.
    Owners,
}

impl From<WhyNot> for NotAJob {
    fn from(why: WhyNot) -> Self {
        Self::Scope(why.as_str())
    }
}

impl Forgotten {
    /// For a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Rejected => "rejected",
            Self::NotAJob => "not_a_job",
            Self::Unclaimed => "unclaimed",
            Self::NoRoom => "no_room",
        }
    }
}

pub struct Books {
    options: Options,
    pods: BTreeMap<String, Entry>,
    settled: Settled,
    /// The API's list was seen: a pod that is not in it is not there.
    synced: bool,
    started: Timestamp,
}

enum Entry {
    /// Not a job: nothing is kept but the fact, as long as anybody speaks of it.
    Ignored(Ignored),
    Tracked(Box<Pod>),
}

#[derive(Clone)]
struct Ignored {
    api: bool,
    kernel: bool,
    why: NotAJob,
    /// Kept only where the coordinator may yet say that it is one.
    maybe: Option<Box<ApiPod>>,
}

/// Evidence on its way out. [`Observation::Acked`] brings the revision back.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    pub evidence: PodEvidence,
    pub revision: u64,
}

impl Books {
    pub fn new(options: Options, now: Timestamp) -> Self {
        Self { options, pods: BTreeMap::new(), settled: Settled::default(), synced: false, started: now }
    }

    /// Evidence from the journal of an earlier life of this agent. Before any other observation.
    pub fn restore(&mut self, evidence: PodEvidence, now: Timestamp) -> Vec<Step> {
        let uid = evidence.pod_uid.clone();
        let mut pod = Pod::new(&uid, &self.options.node, now);
        let mut steps = pod.restore(evidence, &self.options);
        steps.extend(pod.react(&self.options, now));
        self.pods.insert(uid, Entry::Tracked(Box::new(pod)));
        settle_idle(steps, Idle::Noted)
    }

    /// One observation about one pod.
    pub fn observe(&mut self, pod_uid: &str, observation: Observation, now: Timestamp) -> Vec<Step> {
        let steps = match self.pods.remove(pod_uid) {
            Some(Entry::Tracked(pod)) => self.observe_tracked(pod, observation, now),
            Some(Entry::Ignored(ignored)) => self.observe_ignored(pod_uid, ignored, observation, now),
            None => self.observe_new(pod_uid, observation, now),
        };
        settle_idle(steps, Idle::Known)
    }

    /// The API's whole list of this node's pods.
    pub fn resync(&mut self, pods: Vec<ApiPod>, now: Timestamp) -> Vec<Step> {
        self.synced = true;
        let listed: BTreeSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        let unlisted: Vec<String> = self.pods.keys().filter(|uid| !listed.contains(uid.as_str())).cloned().collect();
        let mut steps = Vec::new();
        for uid in unlisted {
            steps.extend(self.observe(&uid, Observation::ApiGone, now));
        }
        for pod in pods {
            let uid = pod.uid.clone();
            steps.extend(self.observe(&uid, Observation::Api(Box::new(pod)), now));
        }
        let steps = steps.into_iter().filter(|step| !matches!(step, Step::Idle(_))).collect();
        settle_idle(steps, Idle::Known)
    }

    /// What is known of a pod, as it is reported.
    pub fn evidence(&self, pod_uid: &str) -> Option<Outgoing> {
        let pod = self.tracked(pod_uid)?;
        Some(Outgoing { evidence: pod.view(&self.options), revision: pod.revision })
    }

    /// Pods of which anything was seen: those that may be named in a path.
    pub fn followed(&self) -> impl Iterator<Item = &str> {
        self.pods.iter().filter_map(|(uid, entry)| matches!(entry, Entry::Tracked(_)).then_some(uid.as_str()))
    }

    pub fn api(&self, pod_uid: &str) -> Option<&ApiPod> {
        self.tracked(pod_uid)?.api.as_ref()
    }

    /// When the pod was first seen.
    pub fn born(&self, pod_uid: &str) -> Option<Timestamp> {
        let pod = self.tracked(pod_uid)?;
        pod.evidence.segments.iter().map(|segment| segment.first_seen).min().or(Some(pod.first_known))
    }

    /// Whether the acknowledgement of this revision closes the pod's books.
    pub fn is_last(&self, pod_uid: &str, revision: u64) -> bool {
        self.tracked(pod_uid).is_some_and(|pod| pod.has_ended() && revision >= pod.revision)
    }

    fn tracked(&self, pod_uid: &str) -> Option<&Pod> {
        match self.pods.get(pod_uid)? {
            Entry::Tracked(pod) => Some(pod),
            Entry::Ignored(_) => None,
        }
    }
}

/// Steps are never empty.
fn settle_idle(mut steps: Vec<Step>, why: Idle) -> Vec<Step> {
    if steps.is_empty() {
        steps.push(Step::Idle(why));
    }
    steps
}

#[cfg(test)]
mod tests;
