//! `env` and `envFrom` of a container. What only a cluster can know (ConfigMaps, Secrets) is refused unless it is optional.

use jobmeter_protocol::Resources;

use super::container::quantity;
use crate::findings::Findings;
use crate::job::{EnvSource, EnvVar, ResourceField};
use crate::node::{At, Fields};

/// `Ok(None)`: optional and not to be had here.
type Found = Option<Option<EnvSource>>;

pub(super) fn read(at: &At<'_>, own: Resources, findings: &mut Findings) -> Option<Vec<EnvVar>> {
    let mut vars = Vec::new();
    let mut complete = true;
    for item in at.items(findings)? {
        match variable(&item, own, findings) {
            Some(Some(var)) => vars.push(var),
            Some(None) => {}
            None => complete = false,
        }
    }
    complete.then_some(vars)
}

fn variable(at: &At<'_>, own: Resources, findings: &mut Findings) -> Option<Option<EnvVar>> {
    let mut fields = at.fields(findings)?;
    let name = fields.require("name", findings).and_then(|at| name(&at, findings));
    let value = fields.take("value").map(|at| at.text(findings).map(str::to_owned));
    let from = fields.take("valueFrom");
    fields.finish(&[], findings);
    let source = match (value, from) {
        (Some(_), Some(from)) => {
            from.problem(findings, "`value` and `valueFrom` exclude each other");
            return None;
        }
        (Some(value), None) => Some(EnvSource::Value(value?)),
        (None, Some(from)) => source(&from, own, findings)?,
        (None, None) => Some(EnvSource::Value(String::new())),
    };
    let name = name?;
    Some(source.map(|source| EnvVar { name, source }))
}

fn name(at: &At<'_>, findings: &mut Findings) -> Option<String> {
    let name = at.text(findings)?;
    if name.is_empty() || name.contains(['=', '\0']) {
        at.problem(findings, format!("{name:?} cannot be the name of a variable"));
        return None;
    }
    Some(name.to_owned())
}

fn source(at: &At<'_>, own: Resources, findings: &mut Findings) -> Found {
    let mut fields = at.fields(findings)?;
    let field = fields.take("fieldRef");
    let resource = fields.take("resourceFieldRef");
    let elsewhere = [fields.take("configMapKeyRef"), fields.take("secretKeyRef"), fields.take("fileKeyRef")];
    fields.finish(&[], findings);
    let elsewhere: Vec<_> = elsewhere.into_iter().flatten().collect();
    if usize::from(field.is_some()) + usize::from(resource.is_some()) + elsewhere.len() != 1 {
        at.problem(findings, "must name exactly one source");
        return None;
    }
    if let Some(field) = field {
        return field_ref(&field, findings).map(Some);
    }
    if let Some(resource) = resource {
        return resource_ref(&resource, own, findings).map(Some);
    }
    elsewhere.first().and_then(|at| absent(at, findings)).map(|()| None)
}

/// Neither ConfigMaps nor Secrets exist on one machine. `Some` where the manifest can do without.
fn absent(at: &At<'_>, findings: &mut Findings) -> Option<()> {
    let mut fields = at.fields(findings)?;
    if fields.take("optional").and_then(|at| at.flag(findings)) == Some(true) {
        at.notice(findings, "is left out: one machine has neither ConfigMaps nor Secrets");
        return Some(());
    }
    at.problem(findings, "one machine has neither ConfigMaps nor Secrets; give a `value`, or say `optional: true`");
    None
}

pub(super) fn from_elsewhere(at: &At<'_>, findings: &mut Findings) {
    for item in at.items(findings).unwrap_or_default() {
        let Some(mut fields) = item.fields(findings) else { continue };
        for source in [fields.take("configMapRef"), fields.take("secretRef")].into_iter().flatten() {
            // Its problem or notice is all there is to it.
            absent(&source, findings);
        }
        fields.finish(&[("prefix", "")], findings);
    }
}

fn field_ref(at: &At<'_>, findings: &mut Findings) -> Option<EnvSource> {
    let mut fields = at.fields(findings)?;
    let path_at = fields.require("fieldPath", findings);
    if let Some(version) = fields.take("apiVersion") {
        version.text(findings)?;
    }
    fields.finish(&[], findings);
    let path_at = path_at?;
    let path = path_at.text(findings)?;
    let subscript = |prefix: &str| Some(path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?.to_owned());
    Some(match path {
        "metadata.name" => EnvSource::PodName,
        "metadata.namespace" => EnvSource::PodNamespace,
        "metadata.uid" => EnvSource::PodUid,
        "spec.nodeName" => EnvSource::NodeName,
        "spec.serviceAccountName" => EnvSource::ServiceAccountName,
        "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => {
            path_at.notice(findings, "is 127.0.0.1 on one machine");
            EnvSource::Address
        }
        _ => {
            if let Some(key) = subscript("metadata.labels") {
                EnvSource::PodLabel(key)
            } else if let Some(key) = subscript("metadata.annotations") {
                EnvSource::PodAnnotation(key)
            } else {
                path_at.problem(findings, format!("{path:?} cannot be had by fieldRef"));
                return None;
            }
        }
    })
}

fn resource_ref(at: &At<'_>, own: Resources, findings: &mut Findings) -> Option<EnvSource> {
    let mut fields = at.fields(findings)?;
    let resource_at = fields.require("resource", findings);
    let divisor_at = fields.take("divisor");
    container_name(&mut fields, findings);
    fields.finish(&[], findings);
    let resource_at = resource_at?;
    let field = match resource_at.text(findings)? {
        "limits.cpu" => ResourceField::CpuLimit,
        "requests.cpu" => ResourceField::CpuRequest,
        "limits.memory" => ResourceField::MemoryLimit,
        "requests.memory" => ResourceField::MemoryRequest,
        other => {
            resource_at.problem(findings, format!("{other:?}: one machine knows limits and requests of cpu and memory"));
            return None;
        }
    };
    let cpu = matches!(field, ResourceField::CpuLimit | ResourceField::CpuRequest);
    let divisor = match divisor_at {
        Some(at) => quantity(&at, findings).map(|divisor| if cpu { divisor.millis() } else { divisor.units() })?,
        None => 0,
    };
    // 0 stands for 1, as in Kubernetes: one core or one byte.
    let divisor = if divisor > 0 {
        divisor
    } else if cpu {
        1000
    } else {
        1
    };
    Some(EnvSource::Resource { of: own, field, divisor })
}

/// In `env` it can only be the container itself.
fn container_name(fields: &mut Fields<'_>, findings: &mut Findings) {
    if let Some(at) = fields.take("containerName") {
        at.notice(findings, "is taken to be the container itself");
    }
}
