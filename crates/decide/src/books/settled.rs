//! Pods whose books are closed: what still comes about them is old news.

use std::collections::{HashMap, VecDeque};

use jobmeter_protocol::SegmentId;

/// The kernel and the API speak of a pod for seconds after its end; at thousands of pods an hour this is a long memory.
const REMEMBERED: usize = 4_096;

#[derive(Default)]
pub(super) struct Settled {
    pods: HashMap<String, Vec<SegmentId>>,
    oldest_first: VecDeque<String>,
}

impl Settled {
    pub(super) fn add(&mut self, pod_uid: &str, segments: Vec<SegmentId>) {
        if self.pods.insert(pod_uid.to_owned(), segments).is_none() {
            self.oldest_first.push_back(pod_uid.to_owned());
        }
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.pods.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, pod_uid: &str) -> bool {
        self.pods.contains_key(pod_uid)
    }

    /// A pod may come back under its UID with a new cgroup: that is a life whose books are not closed.
    pub(super) fn contains_segment(&self, pod_uid: &str, segment: &SegmentId) -> bool {
        self.pods.get(pod_uid).is_some_and(|segments| segments.contains(segment))
    }
}
