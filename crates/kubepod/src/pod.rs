//! `v1.Pod` → [`ApiPod`]. Pure; owner of the mapping that agent and coordinator share.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::{ApiContainer, ApiPod, ContainerKind, OwnerRef, PodPhase, RestartPolicy};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::container::{Spec, api_container};
use crate::run::run;

/// Set by the kubelet on the API's copy of a static pod: the UID under which the kubelet runs it.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The whole manifest once more, as `kubectl apply` leaves it: long, and of no use to accounting.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    #[error("pod has no {field}")]
    Missing { field: &'static str },
}

pub fn api_pod(pod: &Pod) -> Result<ApiPod, MapError> {
    let meta = &pod.metadata;
    let no_spec = PodSpec::default();
    let no_status = PodStatus::default();
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let status = pod.status.as_ref().unwrap_or(&no_status);
    Ok(ApiPod {
        uid: meta.uid.clone().ok_or(MapError::Missing { field: "metadata.uid" })?,
        namespace: meta.namespace.clone().ok_or(MapError::Missing { field: "metadata.namespace" })?,
        name: meta.name.clone().ok_or(MapError::Missing { field: "metadata.name" })?,
        node: spec.node_name.clone(),
        labels: meta.labels.clone().unwrap_or_default(),
        annotations: annotations(meta),
        // What only takes the pods of runs along (the coordinator's Deployment) does not manage them.
        owner: controller(meta).or_else(|| run(meta.labels.as_ref())),
        restart_policy: restart_policy(spec.restart_policy.as_deref()),
        phase: phase(status.phase.as_deref()),
        reason: status.reason.clone().filter(|reason| !reason.is_empty()),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        scheduled: scheduled(status),
        deletion_requested: deletion_requested(meta),
        containers: containers(spec, status),
    })
}

/// `deletionTimestamp` is when the grace period will be over, not when somebody asked.
fn deletion_requested(meta: &ObjectMeta) -> Option<Timestamp> {
    let over = meta.deletion_timestamp.as_ref()?.0;
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
    over.checked_sub(grace).ok()
}

/// The UID that the pod's cgroup bears on its node: for a static pod it is not the one of the API object.
///
/// Anybody may write the annotation; only of a pod that its node manages, and in the form that kubelets give it, is it
/// believed. Otherwise a pod could take the identity of another one.
pub fn kubelet_uid(pod: &ApiPod) -> &str {
    let of_node = pod.owner.as_ref().is_some_and(|owner| owner.api_version == "v1" && owner.kind == "Node");
    let hash = pod.annotations.get(MIRROR).filter(|hash| of_node && is_hash(hash));
    hash.unwrap_or(&pod.uid)
}

/// Never the UID of an object of the API server, which has dashes.
fn is_hash(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn annotations(meta: &ObjectMeta) -> BTreeMap<String, String> {
    let all = meta.annotations.iter().flatten();
    all.filter(|(key, _)| key.as_str() != LAST_APPLIED).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn controller(meta: &ObjectMeta) -> Option<OwnerRef> {
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(OwnerRef {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

/// `Always` is what the API server puts where nothing was written.
fn restart_policy(text: Option<&str>) -> RestartPolicy {
    match text {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

fn phase(text: Option<&str>) -> PodPhase {
    match text {
        None | Some("" | "Pending") => PodPhase::Pending,
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some(_) => PodPhase::Unknown,
    }
}

fn scheduled(status: &PodStatus) -> Option<Timestamp> {
    let conditions = status.conditions.iter().flatten();
    let mut scheduled = conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "True");
    scheduled.next()?.last_transition_time.as_ref().map(|time| time.0)
}

fn containers(spec: &PodSpec, status: &PodStatus) -> Vec<ApiContainer> {
    let init = by_name(status.init_container_statuses.as_deref());
    let main = by_name(status.container_statuses.as_deref());
    let ephemeral = by_name(status.ephemeral_container_statuses.as_deref());
    let mut containers = Vec::new();
    for container in spec.init_containers.iter().flatten() {
        let kind = match container.restart_policy.as_deref() {
            Some("Always") => ContainerKind::Sidecar,
            _ => ContainerKind::Init,
        };
        let spec =
            Spec { name: &container.name, image: container.image.as_deref(), resources: container.resources.as_ref(), kind };
        containers.push(api_container(&spec, init.get(container.name.as_str()).copied()));
    }
    for container in &spec.containers {
        let spec = Spec {
            name: &container.name,
            image: container.image.as_deref(),
            resources: container.resources.as_ref(),
            kind: ContainerKind::Main,
        };
        containers.push(api_container(&spec, main.get(container.name.as_str()).copied()));
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        let spec =
            Spec { name: &container.name, image: container.image.as_deref(), resources: None, kind: ContainerKind::Ephemeral };
        containers.push(api_container(&spec, ephemeral.get(container.name.as_str()).copied()));
    }
    containers
}

fn by_name(statuses: Option<&[ContainerStatus]>) -> HashMap<&str, &ContainerStatus> {
    statuses.unwrap_or_default().iter().map(|status| (status.name.as_str(), status)).collect()
}

#[cfg(test)]
mod tests;
