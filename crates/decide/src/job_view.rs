//! The job as people name it, from what is known of its pods and of its object.
//!
//! Inputs: [`PodFacts`], one for each pod of the job, and [`JobObject`] where the cluster (or the local executor) told of
//! one. Output: [`jobmeter_protocol::Job`]. Owner: the coordinator's store, which asks for it at each query.

use jiff::Timestamp;
use jobmeter_protocol::job::PodCounts;
use jobmeter_protocol::{Figure, Job, JobState, Method, OwnerRef, Reason, Resources};

/// What the job's own object said of it, where it has one that knows: a `batch/v1` Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobObject {
    pub namespace: String,
    /// The object itself.
    pub owner: OwnerRef,
    /// Its own controlling owner, for example a CronJob.
    pub parent: Option<OwnerRef>,
    pub condition: JobCondition,
    pub created: Option<Timestamp>,
    pub finished: Option<Timestamp>,
}

/// Ordered: a later one never gives way to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobCondition {
    /// It has work left, running or not.
    Active,
    Complete,
    Failed,
}

/// The part of a record that the view of its job is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    pub reason: Reason,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub cpu_seconds: Option<Figure<f64>>,
    pub memory_peak_bytes: Option<Figure<u64>>,
    pub rss_peak_bytes: Option<Figure<u64>>,
    pub oom_kills: u64,
    pub resources: Resources,
    pub partial: bool,
}

/// Which job, and what its object said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobIdentity {
    pub cluster: String,
    pub namespace: String,
    pub owner: OwnerRef,
    pub condition: Option<JobCondition>,
    pub created: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// The object was seen, and is not there any more.
    pub gone: bool,
}

impl JobCondition {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Complete, Self::Failed].into_iter().find(|condition| condition.as_str() == word)
    }
}

pub fn view(identity: JobIdentity, pods: &[PodFacts]) -> Job {
    let counts = counts(pods);
    let state = state(&identity, counts, pods);
    let ended = !matches!(state, JobState::Pending | JobState::Running);
    Job {
        state,
        pods: counts,
        created: identity.created.into_iter().chain(pods.iter().filter_map(|pod| pod.created)).min(),
        started: pods.iter().filter_map(|pod| pod.started).min(),
        finished: identity.finished.or_else(|| pods.iter().filter_map(|pod| pod.finished).max()).filter(|_| ended),
        cpu_seconds: total(pods),
        memory_peak_bytes: greatest(pods.iter().filter_map(|pod| pod.memory_peak_bytes)),
        rss_peak_bytes: greatest(pods.iter().filter_map(|pod| pod.rss_peak_bytes)),
        oom_kills: pods.iter().map(|pod| pod.oom_kills).sum(),
        resources: newest(pods).map(|pod| pod.resources).unwrap_or_default(),
        partial_records: pods.iter().map(|pod| u64::from(pod.partial)).sum(),
        cluster: identity.cluster,
        namespace: identity.namespace,
        owner: identity.owner,
    }
}

fn counts(pods: &[PodFacts]) -> PodCounts {
    let mut counts = PodCounts::default();
    for pod in pods {
        let count = match pod.reason {
            Reason::Running if pod.started.is_none() => &mut counts.pending,
            Reason::Running => &mut counts.running,
            Reason::Completed => &mut counts.completed,
            _ => &mut counts.failed,
        };
        *count += 1;
    }
    counts
}

/// The object's word counts where it has spoken its last; else what the pods do now; else how the last of them ended.
fn state(identity: &JobIdentity, counts: PodCounts, pods: &[PodFacts]) -> JobState {
    match identity.condition {
        Some(JobCondition::Complete) => return JobState::Completed,
        Some(JobCondition::Failed) => return JobState::Failed,
        Some(JobCondition::Active) | None => {}
    }
    if counts.running > 0 {
        return JobState::Running;
    }
    if counts.pending > 0 {
        return JobState::Pending;
    }
    if identity.gone {
        return JobState::Deleted;
    }
    if identity.condition == Some(JobCondition::Active) {
        // Between two pods: it has run, and it is not done.
        return if pods.is_empty() { JobState::Pending } else { JobState::Running };
    }
    match pods.iter().max_by_key(|pod| (pod.finished, pod.created)).map(|pod| pod.reason) {
        Some(Reason::Completed) => JobState::Completed,
        Some(Reason::Deleted) | None => JobState::Deleted,
        Some(_) => JobState::Failed,
    }
}

fn total(pods: &[PodFacts]) -> Option<Figure<f64>> {
    pods.iter()
        .filter_map(|pod| pod.cpu_seconds)
        .reduce(|sum, figure| Figure { value: sum.value + figure.value, method: weakest(sum.method, figure.method) })
}

/// The method is that of the greatest; where two pods tie, the better of the two.
fn greatest(figures: impl Iterator<Item = Figure<u64>>) -> Option<Figure<u64>> {
    figures.reduce(|greatest, figure| match figure.value.cmp(&greatest.value) {
        std::cmp::Ordering::Greater => figure,
        std::cmp::Ordering::Equal if figure.method < greatest.method => figure,
        _ => greatest,
    })
}

fn weakest(a: Method, b: Method) -> Method {
    a.max(b)
}

fn newest(pods: &[PodFacts]) -> Option<&PodFacts> {
    pods.iter().max_by_key(|pod| pod.created)
}

#[cfg(test)]
mod tests;
