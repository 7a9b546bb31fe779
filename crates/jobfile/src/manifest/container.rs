//! One container: what to execute, with what around it.

use std::str::FromStr;

use jobmeter_kubepod::Quantity;
use jobmeter_protocol::{ContainerKind, Resources};

use super::{env, job, not_honoured};
use crate::findings::Findings;
use crate::job::Container;
use crate::node::At;

pub(super) fn read(at: &At<'_>, kind: ContainerKind, findings: &mut Findings) -> Option<Container> {
    let mut fields = at.fields(findings)?;
    let name = fields.require("name", findings).and_then(|at| job::dns_name(&at, findings));
    let image = fields.take("image").and_then(|at| {
        at.notice(findings, "is not used on one machine: commands run as they are installed here");
        at.text(findings).map(str::to_owned)
    });
    let kind = match fields.take("restartPolicy") {
        Some(policy) => restart_policy(&policy, kind, findings),
        None => Some(kind),
    };
    let command = fields.take("command").map_or(Some(Vec::new()), |at| at.texts(findings));
    let args = fields.take("args").map_or(Some(Vec::new()), |at| at.texts(findings));
    let resources = fields.take("resources").map_or(Some(Resources::default()), |at| resources(&at, findings));
    if let Some(from) = fields.take("envFrom") {
        env::from_elsewhere(&from, findings);
    }
    let own = resources.unwrap_or_default();
    let env = fields.take("env").map_or(Some(Vec::new()), |at| env::read(&at, own, findings));
    let working_dir = fields.take("workingDir").and_then(|at| at.text(findings).map(str::to_owned));
    fields.finish(not_honoured::CONTAINER, findings);
    let (command, args) = (command?, args?);
    if command.is_empty() {
        at.problem(findings, "needs `command`: one machine has no image whose entrypoint could be run");
        return None;
    }
    let argv = command.into_iter().chain(args).collect();
    Some(Container { name: name?, kind: kind?, image, argv, env: env?, working_dir, resources: resources? })
}

/// `Always` makes a sidecar of an init container; there is nothing else to be said here.
fn restart_policy(at: &At<'_>, kind: ContainerKind, findings: &mut Findings) -> Option<ContainerKind> {
    match (at.text(findings)?, kind) {
        ("Always", ContainerKind::Init) => Some(ContainerKind::Sidecar),
        (other, _) => {
            at.problem(findings, format!("{other} is not supported here; `Always` on an init container makes a sidecar"));
            None
        }
    }
}

fn resources(at: &At<'_>, findings: &mut Findings) -> Option<Resources> {
    let mut fields = at.fields(findings)?;
    let mut resources = Resources::default();
    if let Some(at) = fields.take("limits") {
        (resources.cpu_limit_millicores, resources.memory_limit_bytes) = cpu_and_memory(&at, findings)?;
    }
    if let Some(at) = fields.take("requests") {
        (resources.cpu_request_millicores, resources.memory_request_bytes) = cpu_and_memory(&at, findings)?;
    }
    fields.finish(&[("claims", "")], findings);
    // As the API server does: who sets only a limit, requests as much.
    resources.cpu_request_millicores = resources.cpu_request_millicores.or(resources.cpu_limit_millicores);
    resources.memory_request_bytes = resources.memory_request_bytes.or(resources.memory_limit_bytes);
    Some(resources)
}

fn cpu_and_memory(at: &At<'_>, findings: &mut Findings) -> Option<(Option<u64>, Option<u64>)> {
    let mut fields = at.fields(findings)?;
    let cpu = fields.take("cpu").map(|at| quantity(&at, findings).map(Quantity::millis));
    let memory = fields.take("memory").map(|at| quantity(&at, findings).map(Quantity::units));
    fields.finish_open("has no effect on one machine", findings);
    Some((flatten(cpu)?, flatten(memory)?))
}

/// Absent is fine, unreadable is not.
fn flatten(value: Option<Option<u64>>) -> Option<Option<u64>> {
    value.map_or(Some(None), |value| value.map(Some))
}

pub(super) fn quantity(at: &At<'_>, findings: &mut Findings) -> Option<Quantity> {
    match Quantity::from_str(at.number_or_text(findings)?) {
        Ok(quantity) => Some(quantity),
        Err(error) => {
            at.problem(findings, error.to_string());
            None
        }
    }
}
