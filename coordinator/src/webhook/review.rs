//! One admission review: in comes what is about to be created, out comes what the pool changes about it, or why it may not be.
//! A pure function; the same request twice gets the same answer.
//!
//! **Pods.** One that names a pool gets the pool's gate beside whatever gates it has, and loses a place that its creator wrote
//! onto it: places are given by the coordinator alone. One that has the gate already is left as it is. One that names its node
//! is refused, because no gate holds what passes by the scheduler.
//!
//! **Jobs** are left alone where pods can be gated. Elsewhere a Job that names a pool, on itself or on its pod template, is
//! suspended and marked as suspended *by us*. A Job that its creator suspended is not marked: whoever suspended it wants to
//! start it himself, or has another controller do it, and resuming it for him would run what he held back. When he resumes it,
//! it runs without asking and takes its places in the pool. Who wants the pool to start his suspended Job writes the mark
//! himself, just as a pod may bring the gate along.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobmeter_decide::gating::Gating;
use jobmeter_protocol::pools::{POOL_GATE, POOL_LABEL, SLOT_ANNOTATION, SUSPENDED_ANNOTATION};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview, Operation};
use serde_json::{Value, json};

use change::Changes;

mod change;
#[cfg(test)]
mod tests;

/// Of a static pod's image in the API: the kubelet started the pod already.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// "Unprocessable": what the API server itself says to a pod that cannot be.
const REFUSED: u16 = 422;

#[derive(Debug)]
pub struct Reviewed {
    /// `pod`, `job` or `other`.
    pub kind: &'static str,
    /// `gated`, `suspended`, `stripped`, `unchanged` or `refused`.
    pub answer: &'static str,
    /// The `AdmissionReview` with its response.
    pub review: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("not an AdmissionReview (admission.k8s.io/v1): {0}")]
    NotAReview(#[source] serde_json::Error),
    #[error("the AdmissionReview has no request")]
    NoRequest,
    #[error("the AdmissionReview {uid} has no object to create")]
    NoObject { uid: String },
    #[error("in the AdmissionReview {uid}, {field} is not {expected}")]
    Field { uid: String, field: &'static str, expected: &'static str },
}

/// What becomes of an object.
enum Verdict {
    /// With an operation at least, or nothing changes.
    Allowed {
        changed: &'static str,
        changes: Changes,
        warning: Option<String>,
    },
    Refused {
        why: String,
    },
}

pub fn review(body: &[u8], gating: Gating) -> Result<Reviewed, Malformed> {
    let review: AdmissionReview<DynamicObject> = serde_json::from_slice(body).map_err(Malformed::NotAReview)?;
    let request: AdmissionRequest<DynamicObject> = review.try_into().map_err(|_| Malformed::NoRequest)?;
    let kind = match (request.resource.group.as_str(), request.resource.resource.as_str()) {
        ("", "pods") => "pod",
        ("batch", "jobs") => "job",
        _ => "other",
    };
    // Somebody's rule sends more than ours: that is not for us to refuse.
    let ours = request.operation == Operation::Create && request.sub_resource.as_deref().unwrap_or_default().is_empty();
    let verdict = if !ours || kind == "other" {
        unchanged()
    } else {
        let object = request.object.as_ref().ok_or_else(|| Malformed::NoObject { uid: request.uid.clone() })?;
        let field = |(field, expected)| Malformed::Field { uid: request.uid.clone(), field, expected };
        if kind == "pod" { pod(object, gating) } else { job(object, gating) }.map_err(field)?
    };
    let mut response = json!({ "uid": request.uid, "allowed": true });
    let answer = match verdict {
        Verdict::Refused { why } => {
            response["allowed"] = json!(false);
            response["status"] = json!({ "status": "Failure", "code": REFUSED, "reason": "Invalid", "message": why });
            "refused"
        }
        Verdict::Allowed { changed, changes, warning } => {
            if let Some(warning) = warning {
                response["warnings"] = json!([warning]);
            }
            match changes.operations() {
                Some(operations) => {
                    response["patchType"] = json!("JSONPatch");
                    response["patch"] = json!(STANDARD.encode(operations.to_string()));
                    changed
                }
                None => "unchanged",
            }
        }
    };
    let review = json!({ "apiVersion": request.types.api_version, "kind": request.types.kind, "response": response });
    Ok(Reviewed { kind, answer, review })
}

/// Which field is not what it should be, and what that is.
type Wrong = (&'static str, &'static str);

fn pod(pod: &DynamicObject, gating: Gating) -> Result<Verdict, Wrong> {
    let Some(pool) = label(pod.metadata.labels.as_ref()) else { return Ok(unchanged()) };
    let spec = spec(pod)?;
    if annotation(pod, MIRROR_ANNOTATION) {
        return Ok(unchanged());
    }
    if pool.is_empty() {
        return Ok(empty());
    }
    let mut changes = Changes::default();
    changes.strip(pod, SLOT_ANNOTATION);
    if gating == Gating::Suspend {
        return Ok(Verdict::Allowed { changed: "stripped", changes, warning: (!is_of_a_job(pod)).then(|| not_held(pool)) });
    }
    if let Some(node) = spec.get("nodeName").and_then(Value::as_str).filter(|node| !node.is_empty()) {
        let why = format!(
            "the pod names its node (spec.nodeName: {node}), so it would run without asking the pool `{pool}` of its label \
             {POOL_LABEL}: ask for the node by spec.nodeSelector `kubernetes.io/hostname: {node}` instead, or remove the label"
        );
        return Ok(Verdict::Refused { why });
    }
    let gate = json!({ "name": POOL_GATE });
    match spec.get("schedulingGates") {
        None | Some(Value::Null) => changes.add("/spec/schedulingGates", json!([gate])),
        Some(Value::Array(gates)) if gates.iter().any(|gate| gate.get("name").and_then(Value::as_str) == Some(POOL_GATE)) => {
            return Ok(Verdict::Allowed { changed: "stripped", changes, warning: None });
        }
        Some(Value::Array(_)) => changes.add("/spec/schedulingGates/-", gate),
        Some(_) => return Err(("spec.schedulingGates", "a list")),
    }
    Ok(Verdict::Allowed { changed: "gated", changes, warning: None })
}

fn job(job: &DynamicObject, gating: Gating) -> Result<Verdict, Wrong> {
    let spec = spec(job)?;
    let template = spec.get("template").and_then(|template| template.get("metadata")).and_then(|of| of.get("labels"));
    let of_pods = template.and_then(|labels| labels.get(POOL_LABEL)).and_then(Value::as_str);
    let own = label(job.metadata.labels.as_ref());
    let Some(pool) = own.or(of_pods) else { return Ok(unchanged()) };
    if gating == Gating::SchedulingGates {
        let warning = of_pods.is_none().then(|| {
            format!(
                "the label {POOL_LABEL}={pool} is on the Job but not on its pod template (spec.template.metadata.labels): its pods \
                 will start without asking the pool"
            )
        });
        return Ok(Verdict::Allowed { changed: "unchanged", changes: Changes::default(), warning });
    }
    if pool.is_empty() {
        return Ok(empty());
    }
    let mut changes = Changes::default();
    changes.strip(job, SLOT_ANNOTATION);
    if spec.get("suspend").and_then(Value::as_bool) == Some(true) {
        return Ok(Verdict::Allowed { changed: "stripped", changes, warning: None });
    }
    changes.annotate(job, SUSPENDED_ANNOTATION, "true");
    changes.add("/spec/suspend", Value::Bool(true));
    Ok(Verdict::Allowed { changed: "suspended", changes, warning: None })
}

fn unchanged() -> Verdict {
    Verdict::Allowed { changed: "unchanged", changes: Changes::default(), warning: None }
}

fn empty() -> Verdict {
    Verdict::Refused { why: format!("the label {POOL_LABEL} is empty: write the name of a pool, or remove the label") }
}

fn not_held(pool: &str) -> String {
    format!(
        "this cluster is older than scheduling gates, so only Jobs can be held: this pod starts without asking the pool `{pool}`"
    )
}

fn spec(object: &DynamicObject) -> Result<&Value, Wrong> {
    object.data.get("spec").filter(|spec| spec.is_object()).ok_or(("spec", "an object"))
}

fn label(labels: Option<&std::collections::BTreeMap<String, String>>) -> Option<&str> {
    labels?.get(POOL_LABEL).map(String::as_str)
}

fn annotation(object: &DynamicObject, name: &str) -> bool {
    object.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(name))
}

fn is_of_a_job(pod: &DynamicObject) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.kind == "Job" && owner.api_version == "batch/v1" && owner.controller == Some(true))
}
