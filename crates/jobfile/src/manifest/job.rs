//! `metadata` and `spec` of a Job. In: the two nodes. Out: the [`LocalJob`], or problems.

use std::time::Duration;

use jobmeter_decide::local::Plan;
use jobmeter_protocol::pools::POOL_LABEL;

use super::{not_honoured, pod};
use crate::findings::Findings;
use crate::job::{JobName, LocalJob};
use crate::node::{At, Fields};

/// What the API server puts where the field is absent.
const DEFAULT_BACKOFF_LIMIT: u32 = 6;

/// So that `<job>-<index>-<suffix>` is still a name of 63 characters.
const MAX_NAME: usize = 52;

pub(super) fn read(metadata: &At<'_>, spec: &At<'_>, findings: &mut Findings) -> Option<LocalJob> {
    let named = read_metadata(metadata, findings);
    let planned = read_spec(spec, findings);
    let (Named { name, namespace, labels, annotations }, (plan, pod)) = (named?, planned?);
    let plan = Plan { namespace: namespace.clone(), ..plan };
    Some(LocalJob { name, namespace, labels, annotations, plan, pod })
}

struct Named {
    name: JobName,
    namespace: String,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
}

fn read_metadata(at: &At<'_>, findings: &mut Findings) -> Option<Named> {
    let mut fields = at.fields(findings)?;
    let name = fields.take("name");
    let prefix = fields.take("generateName");
    let name = match (name, prefix) {
        (Some(name), _) => dns_name(&name, findings).map(JobName::Fixed),
        (None, Some(prefix)) => dns_prefix(&prefix, findings).map(|prefix| JobName::Generated { prefix }),
        (None, None) => {
            at.problem(findings, "needs `name` or `generateName`");
            None
        }
    };
    let namespace = match fields.take("namespace") {
        Some(namespace) => dns_name(&namespace, findings),
        None => Some("default".to_owned()),
    };
    let labels = fields.take("labels").and_then(|labels| labels.text_map(findings)).unwrap_or_default();
    let annotations = fields.take("annotations").and_then(|annotations| annotations.text_map(findings)).unwrap_or_default();
    fields.finish(not_honoured::METADATA, findings);
    Some(Named { name: name?, namespace: namespace?, labels, annotations })
}

fn read_spec(at: &At<'_>, findings: &mut Findings) -> Option<(Plan, crate::job::PodTemplate)> {
    let mut fields = at.fields(findings)?;
    let completions_at = fields.take("completions");
    let completions = completions_at.as_ref().and_then(|at| at.whole(0, findings));
    let parallelism = number(&mut fields, "parallelism", 0, findings);
    let backoff_limit = number(&mut fields, "backoffLimit", 0, findings);
    let active_deadline = seconds(&mut fields, "activeDeadlineSeconds", 0, findings);
    let suspended = fields.take("suspend").and_then(|at| at.flag(findings)).unwrap_or(false);
    let indexed = match fields.take("completionMode") {
        Some(mode) => indexed(&mode, completions_at.is_some(), findings),
        None => false,
    };
    let template = fields.require("template", findings);
    fields.finish(not_honoured::JOB_SPEC, findings);
    let pod = pod::read(&template?, findings)?;
    let plan = Plan {
        completions: completions.or((parallelism.is_none() && completions_at.is_none()).then_some(1)),
        parallelism: parallelism.unwrap_or(1),
        indexed,
        backoff_limit: backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT),
        active_deadline,
        pod_active_deadline: pod.active_deadline,
        suspended,
        restart: pod.restart,
        grace: pod.grace,
        containers: pod.template.containers.iter().map(|container| container.kind).collect(),
        pool: pod.template.labels.get(POOL_LABEL).cloned(),
        priority: pod.priority,
        namespace: String::new(),
    };
    Some((plan, pod.template))
}

fn indexed(mode: &At<'_>, completions_given: bool, findings: &mut Findings) -> bool {
    match mode.text(findings) {
        Some("Indexed") => {
            if !completions_given {
                mode.problem(findings, "Indexed needs `completions`");
            }
            true
        }
        Some("NonIndexed") | None => false,
        Some(other) => {
            mode.problem(findings, format!("must be Indexed or NonIndexed, is {other}"));
            false
        }
    }
}

pub(super) fn number(fields: &mut Fields<'_>, name: &'static str, least: u32, findings: &mut Findings) -> Option<u32> {
    fields.take(name).and_then(|at| at.whole(least, findings))
}

pub(super) fn seconds(fields: &mut Fields<'_>, name: &'static str, least: u32, findings: &mut Findings) -> Option<Duration> {
    number(fields, name, least, findings).map(|seconds| Duration::from_secs(u64::from(seconds)))
}

pub(super) fn dns_name(at: &At<'_>, findings: &mut Findings) -> Option<String> {
    let name = at.text(findings)?;
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !is_dns(name) || !edge(name.chars().next()) || !edge(name.chars().next_back()) {
        at.problem(
            findings,
            format!("{name:?} must be lower case letters, digits, `-` and `.`, and begin and end with one of the first two"),
        );
        return None;
    }
    short_enough(at, name, findings)
}

fn dns_prefix(at: &At<'_>, findings: &mut Findings) -> Option<String> {
    let prefix = at.text(findings)?;
    if !is_dns(prefix) || !prefix.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        at.problem(
            findings,
            format!("{prefix:?} must be lower case letters, digits, `-` and `.`, and begin with one of the first two"),
        );
        return None;
    }
    short_enough(at, prefix, findings)
}

fn is_dns(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.') && !name.contains("..")
}

fn short_enough(at: &At<'_>, name: &str, findings: &mut Findings) -> Option<String> {
    if name.len() > MAX_NAME {
        at.problem(findings, format!("is longer than {MAX_NAME} characters, which leaves no room for the names of its pods"));
        return None;
    }
    Some(name.to_owned())
}
