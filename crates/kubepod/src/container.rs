//! One container of a pod: its spec joined with its status. Owner: [`crate::pod`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use jobmeter_protocol::{ApiContainer, ContainerKind, ExitStatus, Resources, api_pod::EarlierRun};
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, ResourceRequirements},
    apimachinery::pkg::{api::resource, apis::meta::v1::Time},
};

use crate::quantity::Quantity;

/// What all three kinds of container in a pod spec have in common.
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: Option<&'a str>,
    pub(crate) resources: Option<&'a ResourceRequirements>,
    pub(crate) kind: ContainerKind,
}

pub(crate) fn api_container(spec: &Spec<'_>, status: Option<&ContainerStatus>) -> ApiContainer {
    let mut container = ApiContainer {
        name: spec.name.to_owned(),
        kind: spec.kind,
        image: spec.image.map(str::to_owned),
        image_id: None,
        container_id: None,
        restart_count: 0,
        resources: resources(spec.name, spec.resources),
        started: None,
        finished: None,
        exit: None,
        reason: None,
        earlier: Vec::new(),
    };
    if let Some(status) = status {
        observe(&mut container, status);
    }
    container
}

fn observe(container: &mut ApiContainer, status: &ContainerStatus) {
    container.image_id = non_empty(&status.image_id);
    container.restart_count = u32::try_from(status.restart_count).unwrap_or(0);
    container.container_id = status.container_id.as_deref().and_then(bare_id);
    let state = status.state.as_ref();
    if let Some(running) = state.and_then(|state| state.running.as_ref()) {
        container.started = moment(running.started_at.as_ref());
    }
    if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        container.container_id = terminated.container_id.as_deref().and_then(bare_id).or(container.container_id.take());
        end(container, terminated);
    }
    container.reason = container.reason.take().or_else(|| state.and_then(waiting_reason));
    let Some(last) = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()) else { return };
    let Some(container_id) = last.container_id.as_deref().and_then(bare_id) else { return };
    if container.container_id.as_deref() == Some(&container_id) {
        // While the kubelet backs off, the run that ended is told under `lastState` and is still the latest there is.
        end(container, last);
    } else {
        container.earlier.push(EarlierRun {
            container_id,
            attempt: container.restart_count.saturating_sub(1),
            started: moment(last.started_at.as_ref()),
            finished: moment(last.finished_at.as_ref()),
            exit: Some(exit(last)),
            reason: last.reason.as_deref().and_then(non_empty),
        });
    }
}

fn end(container: &mut ApiContainer, terminated: &ContainerStateTerminated) {
    container.started = moment(terminated.started_at.as_ref());
    container.finished = moment(terminated.finished_at.as_ref());
    container.exit = Some(exit(terminated));
    container.reason = terminated.reason.as_deref().and_then(non_empty);
}

fn exit(terminated: &ContainerStateTerminated) -> ExitStatus {
    match terminated.signal {
        Some(signal) if signal > 0 => ExitStatus { code: None, signal: Some(signal) },
        _ => ExitStatus { code: Some(terminated.exit_code), signal: None },
    }
}

fn waiting_reason(state: &ContainerState) -> Option<String> {
    state.waiting.as_ref()?.reason.as_deref().and_then(non_empty)
}

/// `containerd://0123…` without the name of the runtime.
fn bare_id(id: &str) -> Option<String> {
    non_empty(id.rsplit_once("://").map_or(id, |(_, id)| id))
}

/// A container that never started has 1970 as its start with some runtimes.
fn moment(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0).filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn resources(container: &str, spec: Option<&ResourceRequirements>) -> Resources {
    let Some(spec) = spec else { return Resources::default() };
    let amount = |of: &Option<BTreeMap<String, resource::Quantity>>, resource| quantity(container, of.as_ref(), resource);
    Resources {
        cpu_request_millicores: amount(&spec.requests, "cpu").map(Quantity::millis),
        cpu_limit_millicores: amount(&spec.limits, "cpu").map(Quantity::millis),
        memory_request_bytes: amount(&spec.requests, "memory").map(Quantity::units),
        memory_limit_bytes: amount(&spec.limits, "memory").map(Quantity::units),
    }
}

fn quantity(container: &str, of: Option<&BTreeMap<String, resource::Quantity>>, resource: &str) -> Option<Quantity> {
    // The API server checked it, so this is a notation we do not know: worth a line, not worth the pod.
    of?.get(resource)?
        .0
        .parse()
        .inspect_err(|err| tracing::warn!(container, resource, error = err as &dyn std::error::Error, "unreadable quantity"))
        .ok()
}
