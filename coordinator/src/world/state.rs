//! What the world does with news: pure, so that it can be tested without a cluster.
//!
//! Inputs: [`Event`]s and resolved chains. Outputs: [`Effects`]: changes for the store, chains to look up, lists to reconcile.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jobmeter_decide::metered::{Metered, Scope};
use jobmeter_protocol::{ApiPod, OwnerRef};

use super::owners::{Lookup, Resolved};
use super::{Event, Seen};
use crate::store::Change;

/// Beyond it the chase closes the records with the direct owner alone.
const MAX_GONE: usize = 10_000;

pub(crate) struct World {
    scope: Scope,
    /// Pods that are jobs or may be; gone ones are not kept.
    pods: HashMap<String, Tracked>,
    /// Pods that are gone, and whose record still waits for their owners.
    gone: HashMap<String, Tracked>,
    /// Pods that are there and are no jobs, by these chains: not to be asked for again at each of their changes.
    others: HashMap<String, Vec<OwnerRef>>,
    /// Node → pods that are jobs only by owners above the direct one, which agents do not see.
    meter: BTreeMap<String, BTreeSet<String>>,
}

struct Tracked {
    pod: ApiPod,
    owners: Option<Vec<OwnerRef>>,
    /// Its chain is being looked up.
    asked: bool,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Effects {
    pub(crate) changes: Vec<Change>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) listed: Vec<Listed>,
}

/// A list was received in full: what the store has beyond it is gone.
#[derive(Debug, PartialEq)]
pub(crate) enum Listed {
    Pods { namespace: Option<String>, present: HashSet<String> },
    Jobs { namespace: Option<String>, present: HashSet<String> },
}

impl World {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, pods: HashMap::new(), gone: HashMap::new(), others: HashMap::new(), meter: BTreeMap::new() }
    }

    pub(crate) fn handle(&mut self, event: Event, effects: &mut Effects) {
        match event {
            Event::PodApplied(seen) => {
                self.apply(seen, effects);
            }
            Event::PodGone { uid, last } => {
                let metered = last.is_some_and(|last| self.apply(last, effects));
                self.others.remove(&uid);
                let tracked = self.forget(&uid);
                if tracked.is_some() || metered {
                    effects.changes.push(Change::Vanished { uid });
                }
                self.keep_unresolved(tracked);
            }
            Event::PodsListed { namespace, pods, present } => {
                for seen in pods {
                    self.apply(seen, effects);
                }
                let listed = |pod: &ApiPod| namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace);
                let gone: Vec<String> = self
                    .pods
                    .iter()
                    .filter(|(uid, tracked)| !present.contains(*uid) && listed(&tracked.pod))
                    .map(|(uid, _)| uid.clone())
                    .collect();
                gone.iter().for_each(|uid| drop(self.forget(uid)));
                // A pod of another namespace's list is only asked for once more.
                self.others.retain(|uid, _| present.contains(uid));
                effects.listed.push(Listed::Pods { namespace, present });
            }
            Event::JobApplied(job) => {
                if self.scope.covers(&job.namespace) {
                    effects.changes.push(Change::Job(Box::new(job)));
                }
            }
            Event::JobGone { uid, last } => {
                let covered = last.filter(|job| self.scope.covers(&job.namespace));
                effects.changes.extend(covered.map(|job| Change::Job(Box::new(job))));
                effects.changes.push(Change::JobGone { uid });
            }
            Event::JobsListed { namespace, jobs } => {
                let present = jobs.iter().map(|job| job.owner.uid.clone()).collect();
                let covered = jobs.into_iter().filter(|job| self.scope.covers(&job.namespace));
                effects.changes.extend(covered.map(|job| Change::Job(Box::new(job))));
                effects.listed.push(Listed::Jobs { namespace, present });
            }
        }
    }

    pub(crate) fn resolved(&mut self, resolved: Resolved, effects: &mut Effects) {
        let tracked = self.pods.get_mut(&resolved.pod_uid).or_else(|| self.gone.get_mut(&resolved.pod_uid));
        let Some(tracked) = tracked else { return };
        tracked.asked = false;
        let Some(owners) = resolved.owners else { return };
        tracked.owners = Some(owners);
        let (pod, owners) = (tracked.pod.clone(), tracked.owners.clone());
        match self.scope.judge(&pod, owners.as_deref()) {
            Metered::No(_) => {
                // It may have been metered until its chain was known.
                effects.changes.push(Change::Discard { uid: resolved.pod_uid.clone() });
                if self.forget(&resolved.pod_uid).is_some() {
                    self.others.insert(resolved.pod_uid.clone(), owners.unwrap_or_default());
                }
            }
            Metered::Yes(_) | Metered::AskOwners { .. } => {
                self.note_meter(&resolved.pod_uid);
                effects.changes.push(Change::Api { pod: Box::new(pod), owners });
            }
        }
        self.gone.remove(&resolved.pod_uid);
    }

    /// Asks again for the chains that could not be looked up.
    pub(crate) fn retry(&mut self, effects: &mut Effects) {
        effects.lookups.extend(self.pods.values_mut().chain(self.gone.values_mut()).filter_map(lookup));
    }

    /// A pod that went while nobody was looking, and whose owners are not known.
    pub(crate) fn found_gone(&mut self, pod: ApiPod, effects: &mut Effects) {
        let mut tracked = Tracked { pod, owners: None, asked: false };
        effects.lookups.extend(lookup(&mut tracked));
        self.keep_unresolved(Some(tracked));
    }

    /// The look-up did not find its way out: ask again at the next retry.
    pub(crate) fn not_asked(&mut self, pod_uid: &str) {
        if let Some(tracked) = self.pods.get_mut(pod_uid).or_else(|| self.gone.get_mut(pod_uid)) {
            tracked.asked = false;
        }
    }

    pub(crate) fn meter(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.meter
    }

    pub(crate) fn has(&self, pod_uid: &str) -> bool {
        self.pods.contains_key(pod_uid)
    }

    /// Whose chain of owners is still to be found.
    pub(crate) fn undecided(&self) -> BTreeSet<String> {
        let tracked = self.pods.iter().chain(&self.gone);
        tracked.filter(|(_, tracked)| tracked.owners.is_none()).map(|(uid, _)| uid.clone()).collect()
    }

    pub(crate) fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Whether the pod is a job, for all that is known.
    fn apply(&mut self, seen: Seen, effects: &mut Effects) -> bool {
        let uid = seen.pod.uid.clone();
        let before = self.forget(&uid);
        let asked = before.as_ref().is_some_and(|before| before.asked);
        let nobody = || match &seen.pod.owner {
            None => Some(Vec::new()),
            Some(run) => jobmeter_kubepod::is_run(run).then(|| vec![run.clone()]),
        };
        let owners = seen.owners.clone().or_else(|| before.and_then(|before| before.owners));
        let owners = owners.or_else(|| self.others.get(&uid).cloned()).or_else(nobody);
        let metered = self.scope.judge(&seen.pod, owners.as_deref());
        if matches!(metered, Metered::No(_)) {
            return false;
        }
        self.others.remove(&uid);
        if metered.is_metered() {
            effects.changes.push(Change::Api { pod: seen.pod.clone(), owners: owners.clone() });
        }
        let tracked = self.pods.entry(uid.clone()).or_insert(Tracked { pod: *seen.pod, owners, asked });
        effects.lookups.extend(lookup(tracked));
        self.note_meter(&uid);
        metered.is_metered()
    }

    fn keep_unresolved(&mut self, tracked: Option<Tracked>) {
        let unresolved = tracked.filter(|tracked| tracked.owners.is_none() && self.gone.len() < MAX_GONE);
        self.gone.extend(unresolved.map(|tracked| (tracked.pod.uid.clone(), tracked)));
    }

    fn note_meter(&mut self, uid: &str) {
        let Some(tracked) = self.pods.get(uid) else { return };
        let alone = matches!(self.scope.judge(&tracked.pod, None), Metered::AskOwners { .. });
        if alone
            && tracked.owners.is_some()
            && let Some(node) = &tracked.pod.node
        {
            self.meter.entry(node.clone()).or_default().insert(uid.to_owned());
        }
    }

    fn forget(&mut self, uid: &str) -> Option<Tracked> {
        let tracked = self.pods.remove(uid)?;
        if let Some(node) = &tracked.pod.node
            && let Some(pods) = self.meter.get_mut(node)
        {
            pods.remove(uid);
            if pods.is_empty() {
                self.meter.remove(node);
            }
        }
        Some(tracked)
    }
}

fn lookup(tracked: &mut Tracked) -> Option<Lookup> {
    let owner = tracked.pod.owner.as_ref().filter(|_| tracked.owners.is_none() && !tracked.asked)?;
    tracked.asked = true;
    Some(Lookup { pod_uid: tracked.pod.uid.clone(), namespace: tracked.pod.namespace.clone(), owner: owner.clone() })
}

#[cfg(test)]
mod tests;
