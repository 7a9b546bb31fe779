//! `v1.Pod`, `batch/v1` Job → [`Member`], `v1.Node` → [`NodeFacts`]. Pure, but for a line in the log where a note on a pod cannot be
//! read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_decide::pool::placement::{NodeFacts, Requirements, Taint};
use jobmeter_decide::pool::{Kind, Member};
use jobmeter_protocol::PoolSlot;
use jobmeter_protocol::pools::{POOL_GATE, POOL_LABEL, SLOT_ANNOTATION, SUSPENDED_ANNOTATION};
use jobmeter_protocol::runs::RUN_LABEL;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::requirements::{Shared, effect};

/// Of a pod without the label the pool is empty: it may have had one. `None`: it has no UID, or no spec.
pub(crate) fn of_pod(pod: &Pod, shared: &mut Shared) -> Option<Member> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let gates = spec.scheduling_gates.iter().flatten();
    let member = Common::of(meta, meta.labels.as_ref(), shared)?;
    let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let scheduling = conditions.find(|condition| condition.type_ == "PodScheduled");
    let bound = scheduling.filter(|condition| condition.status == "True");
    let scheduled = bound.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
    let unschedulable = scheduling.filter(|condition| condition.reason.as_deref() == Some("Unschedulable"));
    let unschedulable = unschedulable.and_then(|condition| condition.message.as_deref()).map(|why| shared.name(cut(why)));
    let node = spec.node_name.as_deref().filter(|node| !node.is_empty()).map(|node| shared.name(node));
    let gated = node.is_none() && gates.into_iter().any(|gate| gate.name == POOL_GATE);
    Some(Member {
        kind: Kind::Pod,
        priority: spec.priority.unwrap_or(0),
        slots: 1,
        gated,
        node,
        scheduled,
        unschedulable,
        of_run: meta.labels.as_ref().is_some_and(|labels| labels.contains_key(RUN_LABEL)),
        ended: matches!(phase, Some("Succeeded" | "Failed")),
        requirements: shared.requirements(spec),
        ..member.into_member(meta)
    })
}

/// As many places as pods of it may run at once.
pub(crate) fn of_job(job: &Job, shared: &mut Shared) -> Option<Member> {
    let meta = &job.metadata;
    let spec = job.spec.as_ref()?;
    let template = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let own = meta.labels.as_ref().filter(|labels| labels.contains_key(POOL_LABEL));
    let gated = spec.suspend == Some(true) && annotation(meta, SUSPENDED_ANNOTATION).is_some();
    let parallelism = spec.parallelism.unwrap_or(1);
    let at_once = spec.completions.map_or(parallelism, |completions| parallelism.min(completions));
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ended =
        conditions.any(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True");
    let pod = spec.template.spec.as_ref();
    let member = Common::of(meta, own.or(template), shared)?;
    Some(Member {
        kind: Kind::Job,
        priority: pod.and_then(|pod| pod.priority).unwrap_or(0),
        slots: u32::try_from(at_once).unwrap_or(0),
        gated,
        node: None,
        scheduled: None,
        unschedulable: None,
        of_run: false,
        ended,
        requirements: pod.map(|pod| shared.requirements(pod)).unwrap_or_default(),
        ..member.into_member(meta)
    })
}

/// Its owner suspended it: it runs nothing, and waits for its owner and for nobody else.
pub(crate) fn rests(job: &Job) -> bool {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let active = job.status.as_ref().and_then(|status| status.active).unwrap_or(0);
    let ours = [SUSPENDED_ANNOTATION, SLOT_ANNOTATION].into_iter().any(|key| annotation(&job.metadata, key).is_some());
    suspended && active == 0 && !ours
}

pub(crate) fn of_node(node: &Node) -> Option<NodeFacts> {
    let spec = node.spec.as_ref();
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let taints = spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    Some(NodeFacts {
        name: node.metadata.name.as_deref()?.into(),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: taints
            .filter_map(|taint| {
                let effect = effect(&taint.effect)?;
                Some(Taint { key: taint.key.clone(), value: taint.value.clone().unwrap_or_default(), effect })
            })
            .collect(),
        ready: conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
    })
}

/// What pods and Jobs have alike.
struct Common {
    uid: Arc<str>,
    namespace: Arc<str>,
    name: Arc<str>,
    pool: Arc<str>,
    created: Timestamp,
    slot: Option<PoolSlot>,
}

impl Common {
    fn of(meta: &ObjectMeta, labels: Option<&BTreeMap<String, String>>, shared: &mut Shared) -> Option<Self> {
        let slot = slot(meta);
        let label = labels.and_then(|labels| labels.get(POOL_LABEL)).map(String::as_str);
        let pool = label.or(slot.as_ref().map(|slot| slot.pool.as_str())).unwrap_or_default();
        Some(Self {
            uid: meta.uid.as_deref()?.into(),
            namespace: shared.name(meta.namespace.as_deref()?),
            name: meta.name.as_deref()?.into(),
            pool: shared.name(pool),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            slot,
        })
    }

    fn into_member(self, meta: &ObjectMeta) -> Member {
        Member {
            uid: self.uid,
            kind: Kind::Pod,
            namespace: self.namespace,
            name: self.name,
            pool: self.pool,
            priority: 0,
            created: self.created,
            slots: 1,
            gated: false,
            slot: self.slot,
            node: None,
            scheduled: None,
            unschedulable: None,
            of_run: false,
            ended: false,
            deleting: meta.deletion_timestamp.is_some(),
            requirements: Arc::new(Requirements::default()),
        }
    }
}

/// What somebody else wrote there is no place: such a pod waits like one without.
fn slot(meta: &ObjectMeta) -> Option<PoolSlot> {
    let text = annotation(meta, SLOT_ANNOTATION)?;
    match serde_json::from_str(text) {
        Ok(slot) => Some(slot),
        Err(err) => {
            tracing::warn!(
                namespace = meta.namespace,
                name = meta.name,
                error = &err as &dyn std::error::Error,
                "the annotation {SLOT_ANNOTATION} is no place in a pool and is not counted"
            );
            None
        }
    }
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The scheduler's sentence lists every kind of node.
fn cut(why: &str) -> &str {
    const MOST: usize = 300;
    why.get(..why.floor_char_boundary(MOST)).unwrap_or(why)
}

/// Where Jobs are held back, they are counted and not their pods.
pub(crate) fn controlled_by_job(meta: &ObjectMeta) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && owner.kind == "Job" && owner.api_version.starts_with("batch/"))
}

#[cfg(test)]
mod tests;
