//! What is known of one pod, and how a change of it becomes steps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, ContainerExit, Gap, PodEvidence, Reading, Sampled, SegmentId, Stage};

use super::{Options, Step, facts::Change, live::Live, observation::Tree};

pub(super) struct Pod {
    pub(super) uid: String,
    /// All that was seen, the sandbox among the containers. `Final` here means that the executor said so, or that a
    /// journal did; whatever else makes a pod final is in `gone`.
    pub(super) evidence: PodEvidence,
    pub(super) tree: Option<Tree>,
    /// The life of the pod's cgroup that readings belong to.
    pub(super) current: Option<SegmentId>,
    pub(super) gone: BTreeSet<SegmentId>,
    /// In which order the cgroups of its containers were made. Those from a journal were told apart before.
    pub(super) orders: BTreeMap<String, u32>,
    /// Containers found gone, and when.
    pub(super) vanished: BTreeMap<String, Timestamp>,
    pub(super) exits: BTreeMap<String, ContainerExit>,
    /// Read before it was told which life of the cgroup it belongs to.
    pub(super) unplaced: Option<Reading>,
    pub(super) api: Option<ApiPod>,
    pub(super) api_gone: Option<Timestamp>,
    pub(super) job: Job,
    /// The coordinator said that it is a job.
    pub(super) claimed: bool,
    /// The coordinator waits for a word about it.
    pub(super) wanted: bool,
    /// Its cgroup is being looked for.
    pub(super) looking: bool,
    pub(super) identify_asked: bool,
    pub(super) identified: bool,
    /// It ran in an earlier boot and may come back.
    pub(super) rebooted: bool,
    pub(super) first_known: Timestamp,
    pub(super) final_since: Option<Timestamp>,
    /// Counts what is worth a report.
    pub(super) revision: u64,
    /// The greatest revision that was given out to be sent, and the one that arrived.
    pub(super) queued: u64,
    pub(super) acked: u64,
    pub(super) journaled_revision: u64,
    pub(super) reported: Option<Timestamp>,
    /// Learned since the last report, or since the last line in the journal.
    pub(super) unreported: bool,
    pub(super) unjournaled: bool,
    pub(super) journaled: Option<Timestamp>,
    pub(super) sampling: bool,
    pub(super) samples_before: u64,
    pub(super) live: Live,
    /// Lives of the cgroup whose gaps were computed in an earlier life of this agent, from facts that are not in the journal.
    pub(super) closed_before: BTreeSet<SegmentId>,
    /// An earlier life of this agent kept its books.
    pub(super) restored: bool,
    /// What the journal says of it, until the cgroup is read again: what happened in between is not known.
    pub(super) out_of_sight: Option<Stage>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// The API has not spoken of it.
    Unknown,
    Yes,
}

impl Pod {
    pub(super) fn new(uid: &str, node: &str, now: Timestamp) -> Self {
        Self {
            uid: uid.to_owned(),
            evidence: blank(uid, node),
            tree: None,
            current: None,
            gone: BTreeSet::new(),
            orders: BTreeMap::new(),
            vanished: BTreeMap::new(),
            exits: BTreeMap::new(),
            unplaced: None,
            api: None,
            api_gone: None,
            job: Job::Unknown,
            claimed: false,
            wanted: false,
            looking: false,
            identify_asked: false,
            identified: false,
            rebooted: false,
            first_known: now,
            final_since: None,
            revision: 0,
            queued: 0,
            acked: 0,
            journaled_revision: 0,
            reported: None,
            unreported: false,
            unjournaled: false,
            journaled: None,
            sampling: false,
            samples_before: 0,
            live: Live::default(),
            closed_before: BTreeSet::new(),
            restored: false,
            out_of_sight: None,
            stage: Stage::Running,
        }
    }

    pub(super) fn blank(&self) -> PodEvidence {
        blank(&self.uid, &self.evidence.node)
    }

    /// What an earlier life of this agent wrote down, and what to look at because of it.
    pub(super) fn restore(&mut self, evidence: PodEvidence, options: &Options) -> Vec<Step> {
        self.orders.extend(evidence.containers.iter().map(|container| (container.container_id.clone(), u32::MAX)));
        self.samples_before = evidence.sampled.samples;
        self.current =
            evidence.segments.iter().rev().map(|segment| &segment.id).find(|id| id.boot_id == options.boot_id).cloned();
        // Only pods that somebody named were ever reported; the others wait for the API once more.
        self.job = if evidence.namespace.is_some() { Job::Yes } else { Job::Unknown };
        let earlier_boot = evidence.segments.iter().map(|segment| &segment.id.boot_id).find(|boot| **boot != options.boot_id);
        let earlier_boot = earlier_boot.cloned();
        self.evidence = PodEvidence { node: options.node.clone(), ..evidence };
        self.revision = 1;
        self.journaled_revision = 1;
        self.journaled = Some(self.first_known);
        self.stage = self.evidence.stage;
        self.restored = true;
        if self.evidence.stage == Stage::Final {
            self.closed_before = self.evidence.segments.iter().map(|segment| segment.id.clone()).collect();
            self.final_since = Some(self.first_known);
            return Vec::new();
        }
        self.out_of_sight = self.current.as_ref().map(|_here| self.evidence.stage);
        self.evidence.gaps.retain(|gap| !matches!(gap, Gap::ContainerMissed { .. }));
        if let (Some(boot_id), None) = (earlier_boot, &self.current) {
            self.reboot(boot_id);
        }
        vec![Step::ReadPod(self.uid.clone())]
    }

    /// The counters of that boot are gone; whatever the job used after the last reading is lost.
    fn reboot(&mut self, boot_id: String) {
        self.rebooted = true;
        let lost = self.evidence.stage < Stage::Ended;
        let gap = Gap::Rebooted { boot_id };
        if lost && !self.evidence.gaps.contains(&gap) {
            self.evidence.gaps.push(gap);
            self.revision += 1;
        }
        let ids: Vec<SegmentId> = self.evidence.segments.iter().map(|segment| segment.id.clone()).collect();
        self.gone.extend(ids);
    }

    /// Its cgroup was made anew: what ended with the one before begins again.
    pub(super) fn begin_again(&mut self) {
        self.evidence.stage = Stage::Running;
        self.stage = Stage::Running;
        self.final_since = None;
    }

    /// The clock was set back: patience begins anew, and nothing is given up early.
    pub(super) fn mind_the_clock(&mut self, now: Timestamp) {
        self.first_known = self.first_known.min(now);
        self.final_since = self.final_since.map(|since| since.min(now));
        self.api_gone = self.api_gone.map(|since| since.min(now));
    }

    /// After [`Pod::learn`]: marks what changed. The stage is part of it, as it may come from any of the facts.
    pub(super) fn note(&mut self, change: Change, options: &Options, now: Timestamp) -> Change {
        let stage = self.stage(options);
        let advanced = stage > self.stage;
        self.stage = self.stage.max(stage);
        if stage == Stage::Final && self.final_since.is_none() {
            self.final_since = Some(now);
        }
        let change = match change {
            Change::Minor if self.stage == Stage::Final => Change::Major,
            _ if advanced => Change::Major,
            other => other,
        };
        if change == Change::Major {
            self.revision += 1;
        }
        if change > Change::Nothing {
            self.unreported = true;
            self.unjournaled = true;
        }
        change
    }

    /// What the state of the pod asks for, beyond what was asked for before.
    pub(super) fn react(&mut self, options: &Options, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.claimed {
            self.job = Job::Yes;
        }
        let job = self.job == Job::Yes;
        // At first sight as well: an agent that comes back after the pod has gone can then say what it missed.
        let unheard_of = job && self.is_in_kernel() && self.journaled.is_none();
        if self.has_evidence() && (unheard_of || self.revision > self.journaled_revision) {
            steps.push(self.journal(now));
        }
        if job && self.has_evidence() && self.revision > self.queued.max(self.acked) {
            steps.push(self.report(now));
        }
        let live = self.stage < Stage::Final && (self.is_in_kernel() || (!options.local_cgroups && self.runs_without_cgroup()));
        if self.sampling != (job && live) {
            steps.push(Step::Sample { pod_uid: self.uid.clone(), on: !self.sampling });
        }
        let nameless = !job && !self.identify_asked && self.stage > Stage::Running;
        if nameless {
            steps.push(Step::Identify(self.uid.clone()));
        }
        self.identify_asked |= nameless;
        self.sampling = job && live;
        steps
    }

    pub(super) fn journal(&mut self, now: Timestamp) -> Step {
        self.journaled_revision = self.revision;
        self.journaled = Some(now);
        self.unjournaled = false;
        Step::Journal(self.uid.clone())
    }

    pub(super) fn report(&mut self, now: Timestamp) -> Step {
        self.queued = self.revision;
        self.reported = Some(now);
        self.unreported = false;
        Step::Report(self.uid.clone())
    }

    /// Whether a node's kernel, or its executor, said anything at all.
    pub(super) fn has_evidence(&self) -> bool {
        !self.evidence.segments.is_empty() || !self.evidence.containers.is_empty() || !self.exits.is_empty()
    }

    pub(super) fn is_in_kernel(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !self.gone.contains(current))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Final
    }

    fn runs_without_cgroup(&self) -> bool {
        self.evidence.containers.iter().any(|container| !self.exits.contains_key(&container.container_id))
    }
}

fn blank(uid: &str, node: &str) -> PodEvidence {
    PodEvidence {
        pod_uid: uid.to_owned(),
        node: node.to_owned(),
        namespace: None,
        pod: None,
        stage: Stage::Running,
        segments: Vec::new(),
        containers: Vec::new(),
        processes: Vec::new(),
        sampled: Sampled::default(),
        gaps: Vec::new(),
    }
}
