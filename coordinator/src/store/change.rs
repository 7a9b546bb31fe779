//! What one change does to what is known of a pod: pure, so that the order and the repetition of reports can be tested.
//!
//! Inputs: the stored pod, a [`PodChange`], the time. Output: the pod as it is to be stored, or why nothing changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_decide::chase::{self, Ending, Step};
use jobmeter_decide::join::join;
use jobmeter_decide::record::{self, Closing, KeptMetadata, RecordInput};
use jobmeter_protocol::{ApiPod, OwnerRef, PodEvidence, Record, Stage};

use super::AppliedPod;
use super::logs::LogNames;

/// What every record is written with.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    pub cluster: String,
    pub kept: KeptMetadata,
    /// Where logs go; `None` where they are not kept.
    pub logs: Option<Arc<dyn LogNames>>,
}

/// All that is stored of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPod {
    pub uid: String,
    pub known: Known,
    pub state: State,
    pub record: Record,
    pub recorded: Timestamp,
    pub changed: Timestamp,
}

/// As the witnesses gave it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub api: Option<ApiPod>,
    /// `None` until the chain was resolved.
    pub owners: Option<Vec<OwnerRef>>,
    pub evidence: Option<PodEvidence>,
    pub vanished: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Complete,
    Partial,
    /// Closed without evidence, or without its last piece: evidence that comes after all replaces it.
    Amendable,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum PodChange {
    Api { pod: Box<ApiPod>, owners: Option<Vec<OwnerRef>> },
    Vanished,
    Evidence(Box<PodEvidence>),
    Close(Ending),
}

/// `after` is to be stored; `told` is for those who listen.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) after: StoredPod,
    pub(super) told: AppliedPod,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Amendable => "amendable",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Complete, Self::Partial, Self::Amendable].into_iter().find(|state| state.as_str() == word)
    }
}

impl Known {
    pub fn for_chase(&self, changed: Timestamp) -> chase::Known {
        chase::Known {
            api: chase::api_known(self.api.as_ref(), self.vanished.is_some()),
            scheduled: self.evidence.is_some() || self.api.as_ref().is_some_and(|pod| pod.node.is_some()),
            ran: chase::ran(self.api.as_ref(), self.evidence.as_ref()),
            evidence: self.evidence.as_ref().map(|evidence| evidence.stage),
            owners: self.owners.is_some(),
            ended: self.ended,
            changed,
        }
    }

    fn learn(&mut self, change: PodChange, now: Timestamp) -> bool {
        match change {
            PodChange::Api { mut pod, owners } => {
                // The kubelet asks once more, with no grace, when the containers are dead: the first to ask is who ended it.
                let asked = self.api.as_ref().and_then(|known| known.deletion_requested);
                pod.deletion_requested = asked.into_iter().chain(pod.deletion_requested).min();
                let news = self.api.as_ref() != Some(&*pod) || (owners.is_some() && owners != self.owners);
                self.api = Some(*pod);
                self.drop_foreign_evidence();
                self.owners = owners.or(self.owners.take());
                news
            }
            PodChange::Vanished => {
                let news = self.vanished.is_none();
                self.vanished.get_or_insert(now);
                news
            }
            PodChange::Evidence(evidence) => match &mut self.evidence {
                Some(known) => join(known, &evidence),
                none => {
                    // Joined with itself, a piece is in normal form: what is stored does not depend on which came first.
                    let mut normal = evidence.clone();
                    join(&mut normal, &evidence);
                    *none = Some(*normal);
                    true
                }
            },
            PodChange::Close(_) => false,
        }
    }

    /// A node that spoke of this pod before the API server did, and that the pod is not on.
    fn drop_foreign_evidence(&mut self) {
        let foreign = self.evidence.as_ref().is_some_and(|evidence| self.other_node(&evidence.node).is_some());
        if foreign {
            self.evidence = None;
            // It may have said that the pod was over; whatever the API server says of that is noted after this.
            self.ended = self.ended.filter(|_| self.vanished.is_some());
        }
    }

    /// The node that the pod is on, where that is known and is not `node`.
    fn other_node(&self, node: &str) -> Option<&str> {
        self.api.as_ref().and_then(|pod| pod.node.as_deref()).filter(|known| *known != node)
    }

    /// When the containers ended whose end the node has told of.
    fn exits(&self) -> BTreeMap<String, Timestamp> {
        let containers = self.evidence.iter().flat_map(|evidence| &evidence.containers);
        containers.filter_map(|container| Some((container.container_id.clone(), container.ended?))).collect()
    }

    fn note_end(&mut self, now: Timestamp) {
        let terminal = self.api.as_ref().is_some_and(|pod| pod.phase.is_terminal());
        if terminal || self.vanished.is_some() || self.stage() == Some(Stage::Final) {
            self.ended.get_or_insert(now);
        }
    }

    fn stage(&self) -> Option<Stage> {
        self.evidence.as_ref().map(|evidence| evidence.stage)
    }
}

/// Why a change is not to be believed. A node's token speaks for the pods of that node alone, and a pod is on one node.
pub(super) fn refusal(before: Option<&StoredPod>, change: &PodChange) -> Option<String> {
    let (PodChange::Evidence(evidence), Some(known)) = (change, before.map(|pod| &pod.known)) else { return None };
    let node = &evidence.node;
    if let Some(other) = known.other_node(node) {
        return Some(format!("the pod is on node {other:?}, not on {node:?}"));
    }
    let told = known.evidence.as_ref().map(|evidence| &evidence.node).filter(|told| *told != node);
    let unplaced = known.api.as_ref().is_none_or(|pod| pod.node.is_none());
    told.filter(|_| unplaced)
        .map(|told| format!("node {told:?} has told of this pod already, and it cannot be on {node:?} as well"))
}

/// `None`: nothing to store.
pub(super) fn apply(
    uid: &str,
    before: Option<StoredPod>,
    change: PodChange,
    assembly: &Assembly,
    now: Timestamp,
) -> Option<Outcome> {
    let (mut known, state, recorded, old) = match before {
        Some(pod) => (pod.known, pod.state, pod.recorded, Some(pod.record)),
        // Neither gone nor given up can be said of a pod that nobody knew.
        None if matches!(change, PodChange::Vanished | PodChange::Close(_)) => return None,
        None => (Known::default(), State::Open, now, None),
    };
    let is_evidence = matches!(change, PodChange::Evidence(_));
    if matches!(state, State::Complete | State::Partial) && !is_evidence {
        return None;
    }
    let asked = match change {
        PodChange::Close(ending) => Some(ending),
        _ => None,
    };
    let exits_before = known.exits();
    let news = known.learn(change, now);
    if !news && (asked.is_none() || state != State::Open) {
        return None;
    }
    known.note_end(now);
    let exits = known.exits().into_iter().filter(|(id, _)| !exits_before.contains_key(id)).map(|(_, ended)| ended).collect();
    let write = |closing: &Closing, known: &Known| assemble(uid, known, now, closing, assembly);
    let (state, record, closed, amended) = match (state, old) {
        (State::Open, _) => {
            let whole = match chase::whole(&known.for_chase(now)) {
                Step::Close(ending) => Some(ending),
                _ => None,
            };
            // The chase decided on what it had read: the last reading may have come since.
            let given_up = asked.map(|ending| if known.stage() == Some(Stage::Final) { Ending::Whole } else { ending });
            let ending = whole.or(given_up);
            let record = write(&closing(ending, &known), &known);
            (closed_state(ending, &record), record, ending, None)
        }
        (State::Amendable, Some(old)) if is_evidence => {
            let whole = known.stage() == Some(Stage::Final);
            let ending = if whole { Ending::Whole } else { Ending::Missing(chase::Missing::LastReading) };
            let record = write(&closing(Some(ending), &known), &known);
            (closed_state(Some(ending), &record), record, None, Some(Box::new(old)))
        }
        (state, Some(record)) => {
            let told = told(&record, &known, None, None, exits, true);
            return Some(Outcome {
                after: StoredPod { uid: uid.to_owned(), known, state, record, recorded, changed: now },
                told,
            });
        }
        // A closed pod has a record; without one it is written now.
        (state, None) => (state, write(&Closing::Open, &known), None, None),
    };
    let told = told(&record, &known, closed, amended, exits, false);
    Some(Outcome { after: StoredPod { uid: uid.to_owned(), known, state, record, recorded, changed: now }, told })
}

fn told(
    record: &Record,
    known: &Known,
    closed: Option<Ending>,
    amended: Option<Box<Record>>,
    exits: Vec<Timestamp>,
    late: bool,
) -> AppliedPod {
    let labels = known.api.as_ref().map(|pod| pod.labels.clone()).unwrap_or_default();
    AppliedPod { record: record.clone(), labels, closed, amended, exits, late }
}

fn closing(ending: Option<Ending>, known: &Known) -> Closing {
    match ending {
        None => Closing::Open,
        Some(Ending::Whole | Ending::NeverRan) => Closing::Closed,
        Some(Ending::Missing(missing)) => {
            let node = known.evidence.as_ref().map(|e| e.node.as_str());
            let node = node.or_else(|| known.api.as_ref().and_then(|pod| pod.node.as_deref()));
            Closing::GivenUp(missing.sentence(node))
        }
    }
}

fn closed_state(ending: Option<Ending>, record: &Record) -> State {
    match (ending, &record.quality) {
        (None, _) => State::Open,
        (Some(Ending::Missing(_) | Ending::NeverRan), _) => State::Amendable,
        (Some(_), jobmeter_protocol::Quality::Partial { .. }) => State::Partial,
        (Some(_), _) => State::Complete,
    }
}

fn assemble(uid: &str, known: &Known, recorded: Timestamp, closing: &Closing, assembly: &Assembly) -> Record {
    let mut record = record::assemble(&RecordInput {
        cluster: &assembly.cluster,
        api: known.api.as_ref(),
        api_gone: known.vanished.is_some(),
        owners: known.owners.as_deref().unwrap_or_default(),
        evidence: known.evidence.as_ref(),
        recorded,
        closing,
        kept: &assembly.kept,
    });
    if record.identity.pod_uid.is_empty() {
        uid.clone_into(&mut record.identity.pod_uid);
    }
    record
}

#[cfg(test)]
mod tests;
