//! Job pods on `/metrics`: those that run, from the books at the moment of the scrape, and those that ended a short while
//! ago. Capped, because every pod is a new name: the newest stay, and what is left out is counted.

mod collect;
mod group;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use jobmeter_decide::books::Books;
use jobmeter_protocol::{ApiPod, PodEvidence};
use prometheus::{IntCounter, core::Desc};

use super::{own::desc, table};
use group::Group;

#[derive(Clone, Copy, Debug)]
pub struct SeriesOptions {
    /// Groups of series: one for each pod, and one for each container of it.
    pub cap: usize,
    /// How long a pod stays after its end: a few scrapes.
    pub expiry: Duration,
}

impl Default for SeriesOptions {
    fn default() -> Self {
        Self { cap: 2_000, expiry: Duration::from_secs(300) }
    }
}

/// The collector; clones share their state with the keeper.
#[derive(Clone)]
pub struct JobSeries {
    shared: Arc<Shared>,
    descs: Vec<Desc>,
}

struct Shared {
    options: SeriesOptions,
    books: Arc<Mutex<Books>>,
    ended: Mutex<Ended>,
    dropped: IntCounter,
}

#[derive(Default)]
struct Ended {
    /// Oldest end first.
    pods: VecDeque<(Timestamp, Group)>,
    groups: usize,
    /// Live pods that were left out once, so that each counts once.
    left_out: BTreeSet<String>,
}

const SHOWN: [table::Metric; 8] = [
    table::POD_CPU,
    table::POD_MEMORY_PEAK,
    table::POD_RSS_PEAK,
    table::POD_OOM_KILLS,
    table::POD_START,
    table::POD_END,
    table::CONTAINER_CPU,
    table::CONTAINER_MEMORY_PEAK,
];

impl JobSeries {
    pub fn new(options: SeriesOptions, books: Arc<Mutex<Books>>, dropped: IntCounter) -> Result<Self, prometheus::Error> {
        let descs = SHOWN.iter().map(desc).collect::<Result<_, _>>()?;
        Ok(Self { shared: Arc::new(Shared { options, books, ended: Mutex::default(), dropped }), descs })
    }

    /// A pod that leaves the books.
    pub fn ended(&self, api: Option<&ApiPod>, evidence: &PodEvidence, now: Timestamp) {
        let group = Group::of(api, evidence);
        let mut ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.groups += group.size();
        ended.pods.push_back((now, group));
        self.shared.expire(&mut ended, now);
        while ended.groups > self.shared.options.cap
            && let Some((_, oldest)) = ended.pods.pop_front()
        {
            ended.groups -= oldest.size();
            self.shared.dropped.inc_by(u64::try_from(oldest.size()).unwrap_or(u64::MAX));
        }
    }

    /// What a scrape shows: live pods first, then the ended ones from the newest.
    fn shown(&self, now: Timestamp) -> Vec<Group> {
        let mut groups: Vec<Group> = {
            let books = self.shared.books.lock().unwrap_or_else(PoisonError::into_inner);
            books.metered().map(|(api, evidence)| Group::of(api, &evidence)).collect()
        };
        let mut ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.expire(&mut ended, now);
        let mut room = self.shared.options.cap;
        let mut left_out = BTreeSet::new();
        groups.retain(|group| {
            let fits = group.size() <= room;
            if fits {
                room -= group.size();
            } else {
                if !ended.left_out.contains(&group.pod_uid) {
                    self.shared.dropped.inc_by(u64::try_from(group.size()).unwrap_or(u64::MAX));
                }
                left_out.insert(group.pod_uid.clone());
            }
            fits
        });
        ended.left_out = left_out;
        for (_, group) in ended.pods.iter().rev() {
            // A pod that came back under its UID is live again.
            let shown_already = groups.iter().any(|shown| shown.pod_uid == group.pod_uid);
            if group.size() <= room && !shown_already {
                room -= group.size();
                groups.push(group.clone());
            }
        }
        groups
    }
}

impl Shared {
    fn expire(&self, ended: &mut Ended, now: Timestamp) {
        let expiry = SignedDuration::try_from(self.options.expiry).unwrap_or(SignedDuration::MAX);
        while ended.pods.front().is_some_and(|(end, _)| now.duration_since(*end) >= expiry) {
            if let Some((_, group)) = ended.pods.pop_front() {
                ended.groups -= group.size();
            }
        }
    }
}

#[cfg(test)]
mod tests;
