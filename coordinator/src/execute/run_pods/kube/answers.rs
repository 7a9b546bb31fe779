//! What the API server's answers prove. In: pods that are there, errors. Out: [`Answer`]s. Pure.

use jobmeter_daemon::error::chain;
use jobmeter_decide::runs::{Answer, CreatePod, RunPod};
use jobmeter_protocol::runs::RUN_LABEL;
use k8s_openapi::api::core::v1::Pod;

use crate::execute::places::failure::{Failure, why};
use crate::runs::run_pod::run_pod;

/// The pod that was to be made; not one of another attempt or node, and no stranger's.
pub(super) fn ours(there: &Pod, wanted: &CreatePod) -> Option<RunPod> {
    let same = |there: &RunPod| (&there.run, &there.node, there.attempt) == (&wanted.run, &wanted.node, wanted.attempt);
    run_pod(there).filter(same)
}

pub(super) fn in_the_way(there: &Pod, namespace: &str, name: &str) -> String {
    let label = there.metadata.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL));
    let whose = match (run_pod(there), label) {
        (Some(of), _) => format!("of run {}, node {}, attempt {}", of.run, of.node, of.attempt),
        (None, Some(run)) => format!("with the label {RUN_LABEL}={run} and without a task"),
        (None, None) => "of somebody else".to_owned(),
    };
    format!("a pod {whose} is in the way: rename or delete {namespace}/{name}")
}

pub(super) fn bound(there: &Pod, node: &str, why: String) -> Answer {
    match there.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|bound| !bound.is_empty()) {
        Some(bound) if bound == node => Answer::Done,
        Some(other) => Answer::Refused { why: format!("it is bound to node {other} already") },
        // It is on its way out, or was written just now.
        None => Answer::Unknown { why },
    }
}

/// The answer to a `POST` that made no pod.
pub(super) fn not_made(err: &kube::Error) -> Answer {
    match (Failure::of(err), err) {
        // Of the namespace.
        (Failure::Gone, kube::Error::Api(status)) => Answer::Refused { why: why(status) },
        (Failure::Overtaken(why), kube::Error::Api(status)) if status.code == 422 => Answer::Refused { why },
        (Failure::Refused(why), err) => passing(err, why),
        // A quota that was being counted for somebody else.
        (Failure::Overtaken(why) | Failure::Unknown(why), _) => Answer::Unknown { why },
        (Failure::Gone, err) => Answer::Unknown { why: chain(err) },
    }
}

/// A server that has no time, or that does not know us just now, says nothing about the pod.
pub(super) fn passing(err: &kube::Error, why: String) -> Answer {
    match err {
        kube::Error::Api(status) if matches!(status.code, 401 | 408 | 429) => Answer::Unknown { why },
        _ => Answer::Refused { why },
    }
}
