//! What must hold, asked of the cluster itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jobmeter_decide::pool::Ledger;

use crate::cluster::{Pod, time};

/// Counts pods that somebody admitted; those whose gate was taken away by hand are nobody's fault.
#[derive(Default)]
pub(crate) struct Judge {
    running: BTreeMap<Arc<str>, u32>,
    on_node: BTreeMap<(Arc<str>, Arc<str>), u32>,
    starts: BTreeMap<(Arc<str>, Arc<str>), VecDeque<u64>>,
    /// Since when each size holds.
    sizes: BTreeMap<Arc<str>, Vec<(u64, u32)>>,
    pub(crate) runs: BTreeMap<u32, u32>,
    pub(crate) most: u32,
}

impl Judge {
    pub(crate) fn sized(&mut self, pool: &Arc<str>, size: u32, now: u64) {
        self.sizes.entry(pool.clone()).or_default().push((now, size));
    }

    /// The largest that was configured since.
    fn size_since(&self, pool: &Arc<str>, since: u64) -> u32 {
        let sizes = &self.sizes[pool];
        let first = sizes.partition_point(|(at, _)| *at <= since).saturating_sub(1);
        sizes[first..].iter().map(|(_, size)| *size).max().unwrap()
    }

    /// Its gate is gone.
    pub(crate) fn ungated(&mut self, pod: &Pod) {
        let running = self.running.entry(pod.pool.clone()).or_default();
        *running += 1;
        let running = *running;
        self.most = self.most.max(running);
        let given = pod.slot.as_ref().expect("released without a slot").given;
        let given = u64::try_from(given.as_millisecond()).unwrap();
        let size = self.size_since(&pod.pool, given);
        assert!(running <= size, "pool {} has {running} pods of {size}", pod.pool);
    }

    /// It has ended, or it is gone.
    pub(crate) fn over(&mut self, pod: &Pod) {
        if pod.by_hand {
            return;
        }
        *self.running.get_mut(&pod.pool).unwrap() -= 1;
        if let Some(node) = &pod.node {
            *self.on_node.get_mut(&(pod.pool.clone(), node.clone())).unwrap() -= 1;
        }
    }

    pub(crate) fn bound(&mut self, pod: &Pod, per_node: Option<u32>, rate: Option<(u32, u64)>, now: u64) {
        if pod.by_hand {
            return;
        }
        let key = (pod.pool.clone(), pod.node.clone().unwrap());
        let on_node = self.on_node.entry(key.clone()).or_default();
        *on_node += 1;
        assert!(per_node.is_none_or(|most| *on_node <= most), "node {} has {on_node} pods of {}", key.1, key.0);
        let Some((most, within)) = rate else { return };
        let starts = self.starts.entry(key.clone()).or_default();
        starts.push_back(now);
        while starts.front().is_some_and(|at| at + within <= now) {
            starts.pop_front();
        }
        assert!(starts.len() as u32 <= most, "node {} started {starts:?} of {}", key.1, key.0);
    }

    /// Nobody can know of it any more.
    pub(crate) fn forget_start(&mut self, pod: &Pod) {
        let (Some(node), Some(bound)) = (&pod.node, pod.bound) else { return };
        if let Some(starts) = self.starts.get_mut(&(pod.pool.clone(), node.clone())) {
            starts.retain(|at| *at != bound);
        }
    }

    /// Nothing that it did is left.
    pub(crate) fn node_lost(&mut self, node: &Arc<str>) {
        self.starts.retain(|(_, name), _| name != node);
    }

    /// The ledger's own account: it knows of all that run, and everybody who waits has a reason.
    pub(crate) fn hear(&self, ledger: &Ledger, now: u64) {
        for (pool, running) in &self.running {
            let Some(detail) = ledger.pool(pool, usize::MAX, time(now)) else {
                assert!(!ledger.is_ready() || *running == 0, "pool {pool} is not known");
                continue;
            };
            let status = &detail.pool;
            assert!(!ledger.is_ready() || status.used >= *running, "{running} run and {} are counted", status.used);
            assert_eq!(detail.waiting.len(), status.queued as usize, "somebody waits without a reason");
            assert_eq!(status.waiting.values().sum::<u32>(), status.queued, "{status:?}");
            assert_eq!(detail.members.iter().map(|member| member.slots).sum::<u32>(), status.used);
            assert!(detail.waiting.iter().all(|wait| !wait.why.is_empty()));
        }
    }
}
