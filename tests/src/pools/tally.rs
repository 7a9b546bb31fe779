//! Counts the pods of pools that may run, from the API server's own events in their order, with none of Jobmeter's code.
//!
//! Inputs: a list of pods and the events after it. Outputs: the greatest number at once, in a pool and on a node of it, and who was
//! let go when. A pod counts from the moment its gate is gone until it has ended or is deleted, whatever becomes of its label.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const LABEL: &str = "jobmeter.io/pool";
const GATE: &str = "jobmeter.io/pool";

/// What is looked at of an event; of an error, its message.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) object: Object,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct List {
    pub(super) metadata: Metadata,
    pub(super) items: Vec<Object>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    pub(super) metadata: Metadata,
    spec: Spec,
    status: Status,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    uid: String,
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    pub(super) resource_version: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    scheduling_gates: Vec<Gate>,
    node_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Gate {
    name: String,
}

/// An error's `status` is a word.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Status {
    Pod {
        #[serde(default)]
        phase: String,
    },
    Word(#[allow(dead_code, reason = "only its form matters")] String),
}

impl Default for Status {
    fn default() -> Self {
        Self::Word(String::new())
    }
}

/// What was seen of one pool.
#[derive(Clone, Debug, Default)]
pub struct PoolTally {
    /// The greatest number of pods at once.
    pub most: usize,
    /// The same on each node.
    pub most_on: BTreeMap<String, usize>,
    /// In the order in which they were let go.
    pub released: Vec<Release>,
    /// `namespace/name` of pods that never had the gate.
    pub never_gated: Vec<String>,
    pub pods: usize,
    pub succeeded: usize,
    pub failed: usize,
    /// Deleted before they had ended.
    pub deleted: usize,
    now: usize,
    now_on: BTreeMap<String, usize>,
}

impl PoolTally {
    /// Pods that may run and have not ended.
    pub fn now(&self) -> usize {
        self.now
    }

    /// Still behind their gate.
    pub fn gated(&self) -> usize {
        self.pods - self.now - self.ended()
    }

    pub fn ended(&self) -> usize {
        self.succeeded + self.failed + self.deleted
    }
}

#[derive(Clone, Debug)]
pub struct Release {
    /// `namespace/name`.
    pub pod: String,
    /// How many of the pool could run from then on, this one among them.
    pub then: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Gated,
    Running,
    Ended,
}

#[derive(Clone, Debug)]
struct Pod {
    pool: String,
    state: State,
    node: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pools: BTreeMap<String, PoolTally>,
    pods: HashMap<String, Pod>,
    version: u64,
}

impl Tally {
    /// Where a watch goes on from.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn pool(&self, name: &str) -> PoolTally {
        self.pools.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn list(&mut self, list: &List) -> Result<()> {
        for pod in &list.items {
            self.put(pod);
        }
        self.version = number(&list.metadata.resource_version)?;
        Ok(())
    }

    /// Events of one watch come in the order of their versions: what is counted is a moment that was.
    pub(super) fn apply(&mut self, event: &Event) -> Result<()> {
        if event.kind == "ERROR" {
            bail!("the API server ended the watch of pods: {}", event.object.message);
        }
        let version = number(&event.object.metadata.resource_version)?;
        if version < self.version {
            bail!("the watch of pods went back from version {} to {version}", self.version);
        }
        self.version = version;
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" => self.put(&event.object),
            "DELETED" => self.delete(&event.object),
            "BOOKMARK" => {}
            other => bail!("the watch of pods says {other}"),
        }
        Ok(())
    }

    fn put(&mut self, object: &Object) {
        let metadata = &object.metadata;
        let state = match &object.status {
            Status::Pod { phase } if phase == "Succeeded" || phase == "Failed" => State::Ended,
            _ if object.spec.scheduling_gates.iter().any(|gate| gate.name == GATE) => State::Gated,
            _ => State::Running,
        };
        let name = || format!("{}/{}", metadata.namespace, metadata.name);
        let pod = match self.pods.get_mut(&metadata.uid) {
            Some(pod) => pod,
            None => {
                let Some(pool) = metadata.labels.get(LABEL) else { return };
                let tally = self.pools.entry(pool.clone()).or_default();
                tally.pods += 1;
                if state != State::Gated {
                    tally.never_gated.push(name());
                }
                let pod = Pod { pool: pool.clone(), state: State::Gated, node: String::new() };
                self.pods.entry(metadata.uid.clone()).or_insert(pod)
            }
        };
        let tally = self.pools.entry(pod.pool.clone()).or_default();
        if pod.state == State::Gated && state != State::Gated {
            tally.now += 1;
            tally.most = tally.most.max(tally.now);
            tally.released.push(Release { pod: name(), then: tally.now });
            pod.state = State::Running;
        }
        if pod.state == State::Running && pod.node.is_empty() && !object.spec.node_name.is_empty() {
            pod.node.clone_from(&object.spec.node_name);
            let here = tally.now_on.entry(pod.node.clone()).or_default();
            *here += 1;
            let most = tally.most_on.entry(pod.node.clone()).or_default();
            *most = (*most).max(*here);
        }
        if pod.state == State::Running && state == State::Ended {
            let succeeded = matches!(&object.status, Status::Pod { phase } if phase == "Succeeded");
            tally.succeeded += usize::from(succeeded);
            tally.failed += usize::from(!succeeded);
            end(pod, tally);
        }
    }

    fn delete(&mut self, object: &Object) {
        self.put(object);
        let Some(pod) = self.pods.get_mut(&object.metadata.uid) else { return };
        let tally = self.pools.entry(pod.pool.clone()).or_default();
        if pod.state != State::Ended {
            tally.deleted += 1;
            end(pod, tally);
        }
    }
}

/// It may have been deleted behind its gate.
fn end(pod: &mut Pod, tally: &mut PoolTally) {
    if pod.state == State::Running {
        tally.now -= 1;
        if let Some(here) = tally.now_on.get_mut(&pod.node) {
            *here -= 1;
        }
    }
    pod.state = State::Ended;
}

fn number(version: &str) -> Result<u64> {
    version.parse().with_context(|| format!("the resource version '{version}' is no number"))
}

#[cfg(test)]
#[path = "tally/tests.rs"]
mod tests;
