//! `spec.template`: the pod.

use std::collections::BTreeSet;
use std::time::Duration;

use jobmeter_decide::local::Restart;
use jobmeter_protocol::ContainerKind;

use super::{container, job, not_honoured};
use crate::findings::Findings;
use crate::job::{Container, PodTemplate};
use crate::node::{At, Fields};

/// What the API server puts where the field is absent.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

pub(super) struct Pod {
    pub(super) template: PodTemplate,
    pub(super) restart: Restart,
    pub(super) grace: Duration,
    pub(super) active_deadline: Option<Duration>,
    pub(super) priority: i32,
}

pub(super) fn read(template: &At<'_>, findings: &mut Findings) -> Option<Pod> {
    let mut fields = template.fields(findings)?;
    let (mut labels, mut annotations) = Default::default();
    if let Some(mut metadata) = fields.take("metadata").and_then(|at| at.fields(findings)) {
        labels = metadata.take("labels").and_then(|at| at.text_map(findings)).unwrap_or_default();
        annotations = metadata.take("annotations").and_then(|at| at.text_map(findings)).unwrap_or_default();
        metadata.finish(not_honoured::TEMPLATE_METADATA, findings);
    }
    let spec = fields.require("spec", findings);
    fields.finish(&[], findings);
    let mut fields = spec?.fields(findings)?;
    let restart = fields.require("restartPolicy", findings).and_then(|at| restart(&at, findings));
    let grace = job::seconds(&mut fields, "terminationGracePeriodSeconds", 0, findings).unwrap_or(DEFAULT_GRACE);
    let active_deadline = job::seconds(&mut fields, "activeDeadlineSeconds", 1, findings);
    let priority = fields.take("priority").and_then(|at| at.signed(findings)).unwrap_or(0);
    let service_account = fields.take("serviceAccountName").and_then(|at| at.text(findings).map(str::to_owned));
    let containers = containers(&mut fields, findings);
    fields.finish(not_honoured::POD_SPEC, findings);
    let service_account = service_account.unwrap_or_else(|| "default".to_owned());
    let template = PodTemplate { labels, annotations, containers: containers?, service_account };
    Some(Pod { template, restart: restart?, grace, active_deadline, priority })
}

fn restart(at: &At<'_>, findings: &mut Findings) -> Option<Restart> {
    match at.text(findings)? {
        "Never" => Some(Restart::Never),
        "OnFailure" => Some(Restart::OnFailure),
        other => {
            at.problem(findings, format!("must be Never or OnFailure for a Job, is {other}"));
            None
        }
    }
}

fn containers(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Vec<Container>> {
    let init = fields.take("initContainers").map(|at| list(&at, ContainerKind::Init, findings));
    let main_at = fields.require("containers", findings)?;
    let main = list(&main_at, ContainerKind::Main, findings);
    let mut all = match init {
        Some(init) => init?,
        None => Vec::new(),
    };
    let main = main?;
    if main.is_empty() {
        main_at.problem(findings, "needs at least one container");
        return None;
    }
    all.extend(main);
    let mut names = BTreeSet::new();
    for container in &all {
        if !names.insert(container.name.as_str()) {
            main_at.problem(findings, format!("two containers are named {:?}", container.name));
            return None;
        }
    }
    Some(all)
}

fn list(at: &At<'_>, kind: ContainerKind, findings: &mut Findings) -> Option<Vec<Container>> {
    let items = at.items(findings)?;
    // Every one is read, so that the problems of all are told.
    let read: Vec<_> = items.iter().map(|item| container::read(item, kind, findings)).collect();
    read.into_iter().collect()
}
