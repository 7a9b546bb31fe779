//! Runs after records whose evidence does not come: asks the agents through their heartbeats, and in the end gives up with
//! the reason. What to do is decided by [`jobmeter_decide::chase`]; here it is done.
//!
//! Inputs: the store's open records, the nodes' heartbeats, time. Outputs: [`Wanted`], and `Close` changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::chase::{self, Deadlines, Step};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::store::{Change, OpenPod, Store, StoreError};

/// Node → pods of it whose evidence is missing.
pub(crate) type Wanted = Arc<BTreeMap<String, BTreeSet<String>>>;

/// Often enough that a heartbeat finds what ended since the one before it; one indexed query each.
const PERIOD: Duration = Duration::from_secs(2);

pub(crate) struct Chase {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) deadlines: Deadlines,
    pub(crate) metrics: Metrics,
    /// An agent has answered that it knows nothing of a pod.
    pub(crate) answered: Arc<Notify>,
    pub(crate) wanted: watch::Sender<Wanted>,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    wanted: BTreeMap<String, BTreeSet<String>>,
    close: Vec<Change>,
    /// Ended, and not complete.
    outstanding: usize,
}

impl Chase {
    pub(crate) async fn run(self, token: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Cancel-safe: both may be dropped and waited for anew; a missed answer is seen at the next tick.
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                _ = tick.tick() => {}
                () = self.answered.notified() => {}
            }
            // The next tick is the retry.
            if let Err(err) = self.once(Timestamp::now()).await {
                tracing::warn!(error = &err as &dyn std::error::Error, "chase failed");
            }
        }
    }

    async fn once(&self, now: Timestamp) -> Result<(), StoreError> {
        let plan = plan(&self.store.open_pods().await?, &self.nodes, &self.deadlines, now);
        self.metrics.wanted(plan.outstanding);
        self.nodes.forget_answers(|uid| plan.wanted.values().any(|uids| uids.contains(uid)));
        self.wanted.send_if_modified(|wanted| {
            let changed = **wanted != plan.wanted;
            if changed {
                *wanted = Arc::new(plan.wanted);
            }
            changed
        });
        if !plan.close.is_empty() {
            self.store.apply(plan.close, now).await?;
        }
        Ok(())
    }
}

fn plan(open: &[OpenPod], nodes: &Nodes, deadlines: &Deadlines, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for pod in open {
        let witness = nodes.witness(pod.node.as_deref(), &pod.uid);
        plan.outstanding += usize::from(pod.known.ended.is_some());
        match chase::chase(&pod.known, &witness, deadlines, now) {
            Step::Ask => {
                if let Some(node) = &pod.node {
                    plan.wanted.entry(node.clone()).or_default().insert(pod.uid.clone());
                }
            }
            Step::Close(ending) => {
                tracing::info!(namespace = pod.namespace, pod = pod.name, node = pod.node, ?ending, "record closed by the chase");
                plan.close.push(Change::Close { uid: pod.uid.clone(), ending });
            }
            Step::Wait(why) => tracing::trace!(pod = pod.name, ?why, "record waits"),
        }
    }
    plan
}
