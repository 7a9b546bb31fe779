//! What the capture of logs wants to know of a pod: whether it is a job, and which of its containers can write no more.

use jobmeter_protocol::{ApiContainer, ApiPod, Stage};

use super::{Books, Entry, pod::Job};

/// A pod as its books have it now. Asked for whenever something may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `None`: nobody has said so far; the coordinator may know.
    pub job: Option<bool>,
    /// The API's list was seen: who is undecided now stays so, unless the coordinator speaks.
    pub heard: bool,
    /// These books have, or had, something of it: what is said here is no mere ignorance.
    pub known: bool,
    /// All containers that were seen have ended, and no other is expected.
    pub ended: bool,
    /// Nothing more can come: it is final, or neither the API nor the kernel has it.
    pub over: bool,
    /// Runs that the API names.
    pub runs: Vec<RunStanding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStanding {
    pub container: String,
    pub attempt: u32,
    /// It has terminated, or a later run of the container was begun.
    pub over: bool,
}

impl Standing {
    /// `false` also where nobody has heard of the run.
    pub fn is_over(&self, container: &str, attempt: u32) -> bool {
        let later = |run: &RunStanding| run.attempt > attempt || (run.attempt == attempt && run.over);
        self.ended || self.over || self.runs.iter().any(|run| run.container == container && later(run))
    }
}

impl Books {
    /// Costs a look-up and a walk over the pod's containers.
    pub fn standing(&self, pod_uid: &str) -> Standing {
        let heard = self.synced;
        match self.pods.get(pod_uid) {
            Some(Entry::Ignored(ignored)) => Standing {
                job: ignored.maybe.is_none().then_some(false),
                heard,
                known: true,
                ended: false,
                over: !ignored.api && !ignored.kernel,
                runs: ignored.maybe.iter().flat_map(|api| runs(api)).collect(),
            },
            Some(Entry::Tracked(pod)) => {
                let stage = pod.stage(&self.options);
                let known = pod.has_evidence() || pod.api.is_some();
                Standing {
                    job: (pod.job == Job::Yes || pod.claimed).then_some(true),
                    heard,
                    known,
                    ended: stage >= Stage::Ended,
                    over: stage == Stage::Final || (self.synced && !known),
                    runs: pod.api.iter().flat_map(runs).collect(),
                }
            }
            None => {
                // What is settled was final when its books were closed.
                let known = self.settled.contains(pod_uid);
                let over = self.synced || known;
                Standing { job: None, heard, known, ended: over, over, runs: Vec::new() }
            }
        }
    }
}

fn runs(api: &ApiPod) -> impl Iterator<Item = RunStanding> + '_ {
    let dead = api.phase.is_terminal();
    api.containers.iter().flat_map(move |container| {
        let (name, now) = (&container.name, container.restart_count);
        let current = RunStanding { container: name.clone(), attempt: now, over: dead || has_terminated(container) };
        let earlier = container.earlier.iter().map(|run| run.attempt).filter(move |attempt| *attempt < now);
        let earlier = earlier.map(|attempt| RunStanding { container: name.clone(), attempt, over: true });
        earlier.chain([current])
    })
}

fn has_terminated(container: &ApiContainer) -> bool {
    container.finished.is_some() || container.exit.is_some()
}
