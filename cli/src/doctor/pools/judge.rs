//! What the facts mean: pure.

use std::collections::BTreeSet;

use jobmeter_protocol::{Capability, CapabilityState as State, PoolStatus};

use super::cluster::CONFIGURATION;
use super::{Cluster, Facts, Gated, Told, Webhook, suspends};

/// Parts of the coordinator that pools need, by the words in their names.
const PARTS: [&str; 5] = ["pool", "gating", "webhook", "certificate", "leader"];
/// Names in one line.
const NAMED: usize = 3;

pub(super) fn judge(facts: &Facts) -> Vec<Capability> {
    let of_pools = |name: &&String| PARTS.iter().any(|part| name.contains(part));
    let told = facts.sources.iter().filter(|(name, _)| of_pools(name)).map(|(name, told)| part(name, told));
    let mut checks: Vec<Capability> = told.collect();
    checks.push(pools(facts));
    let suspends = suspends(&facts.sources);
    checks.extend(of_nodes(facts).filter(|_| suspends));
    match &facts.cluster {
        Some(cluster) => {
            checks.extend([webhook(cluster, suspends), gated(cluster, facts)]);
            checks.extend(resumes(cluster));
        }
        None => checks.push(check(
            "api_server",
            State::Unsupported,
            "webhook and gated pods were not looked at: the coordinator was not reached through the API server (leave out --server \
             and --data-dir)",
        )),
    }
    checks
}

fn check(name: &str, state: State, detail: impl Into<String>) -> Capability {
    Capability { name: name.to_owned(), state, detail: detail.into() }
}

fn part(name: &str, told: &Told) -> Capability {
    let said = [told.error.as_deref(), told.detail.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    check(&format!("coordinator: {name}"), told.state, said)
}

fn pools(facts: &Facts) -> Capability {
    let pools = match &facts.pools {
        Err(why) => return check("pools", State::Failed, why),
        Ok(pools) => pools,
    };
    let waiting: u32 = pools.iter().map(|pool| pool.queued).fold(0, u32::saturating_add);
    match pools.len() {
        0 => check("pools", State::Disabled, "no pools are configured: see docs/pools.md"),
        count => check("pools", State::Active, format!("{count} configured, {waiting} wait: `jobmeter pools` says for what")),
    }
}

/// Places on nodes are those of pods.
fn of_nodes(facts: &Facts) -> Option<Capability> {
    let pools = facts.pools.iter().flatten().filter(|pool| pool.per_node.is_some() || pool.start_rate.is_some());
    let names: Vec<&str> = pools.map(|pool| pool.name.as_str()).collect();
    let why = || {
        let pools = names.join(", ");
        format!("perNode and startRate of {pools} do not apply: whole Jobs are suspended here, and have no pods on any node yet")
    };
    (!names.is_empty()).then(|| check("limits_of_nodes", State::Unsupported, why()))
}

/// Who holds Jobs back has to be able to let them go.
fn resumes(cluster: &Cluster) -> Option<Capability> {
    let (state, detail) = match cluster.resumes.as_ref()? {
        Ok(true) => (State::Active, "the coordinator may change Jobs".to_owned()),
        Ok(false) => (
            State::Failed,
            "the coordinator may not change Jobs: those that are suspended for a pool are never resumed. Add manifests/components/suspend"
                .to_owned(),
        ),
        Err(why) => (
            State::Unsupported,
            format!("{why}. Without the rights of manifests/components/suspend, Jobs that are suspended for a pool are never resumed"),
        ),
    };
    Some(check("resumed_jobs", state, detail))
}

fn webhook(cluster: &Cluster, suspends: bool) -> Capability {
    let name = "webhook_configuration";
    let webhooks = match &cluster.webhooks {
        Err(why) => return check(name, State::Unsupported, why),
        Ok(None) => {
            let why =
                format!("there is no MutatingWebhookConfiguration {CONFIGURATION}: pods that name a pool are not held back");
            return check(name, State::Failed, why);
        }
        Ok(Some(webhooks)) => webhooks,
    };
    let names = |webhooks: &[&Webhook]| webhooks.iter().map(|webhook| webhook.name.as_str()).collect::<Vec<_>>().join(", ");
    // Without an authority every call of it fails, which holds nobody up where that is ignored.
    let (without, passed): (Vec<&Webhook>, Vec<_>) =
        webhooks.iter().filter(|webhook| !webhook.has_authority).partition(|webhook| webhook.fails_closed);
    // The others warn, or look for labels in templates of all Jobs: nobody's Job may depend on them.
    let holding: Vec<&Webhook> = webhooks.iter().filter(|webhook| webhook.by_label && webhook.of_pods != suspends).collect();
    let open: Vec<&Webhook> = holding.iter().copied().filter(|webhook| !webhook.fails_closed).collect();
    let what = if suspends { "Jobs" } else { "pods" };
    if holding.is_empty() {
        let why = format!("{CONFIGURATION} has no webhook for {what} with the label: those that name a pool are not held back");
        check(name, State::Failed, why)
    } else if !without.is_empty() {
        let why = format!(
            "no caBundle yet in {}: the leading coordinator writes it; until then {what} that name a pool are refused",
            names(&without)
        );
        check(name, State::Failed, why)
    } else if !open.is_empty() {
        let hint = if suspends { " (manifests/components/suspend has it right)" } else { "" };
        let why = format!(
            "failurePolicy of {} is Ignore: while no coordinator answers, {what} that name a pool start without a place{hint}",
            names(&open)
        );
        check(name, State::Failed, why)
    } else {
        let passed = match passed.as_slice() {
            [] => String::new(),
            passed => format!("; no caBundle yet in {}, which is passed by until then", names(passed)),
        };
        check(name, State::Active, format!("{} with an authority, failurePolicy Fail{passed}", names(&holding)))
    }
}

/// Pods that wait for a place which nobody can give.
fn gated(cluster: &Cluster, facts: &Facts) -> Capability {
    let name = "gated_pods";
    let gated = match &cluster.gated {
        Err(why) => return check(name, State::Unsupported, why),
        Ok(gated) => gated,
    };
    let nameless: Vec<&Gated> = gated.iter().filter(|pod| pod.pool.is_none()).collect();
    // A pool that is not configured may be listed for those who ask for it.
    let is_unknown = |name: &str| {
        let known = |pools: &Vec<PoolStatus>| {
            let status = pools.iter().find(|status| status.name == name);
            status.is_some_and(|status| !status.waiting.contains_key("no_such_pool"))
        };
        // Where nobody knows the pools, that is said already.
        !facts.pools.as_ref().map_or(true, known)
    };
    let unknown: Vec<&Gated> = gated.iter().filter(|pod| pod.pool.as_deref().is_some_and(is_unknown)).collect();
    let mut problems = Vec::new();
    if !nameless.is_empty() {
        problems.push(format!(
            "{} without the label jobmeter.io/pool, which nobody lets go ({})",
            nameless.len(),
            names(&nameless)
        ));
    }
    if !unknown.is_empty() {
        let pools: BTreeSet<&str> = unknown.iter().filter_map(|pod| pod.pool.as_deref()).collect();
        let pools: Vec<&str> = pools.into_iter().collect();
        problems.push(format!("{} of pools that are not configured: {} ({})", unknown.len(), pools.join(", "), names(&unknown)));
    }
    match problems.is_empty() {
        true if gated.is_empty() => check(name, State::Active, "none waits"),
        true => check(name, State::Active, format!("{} gated, each of a pool that is configured", gated.len())),
        false => check(name, State::Failed, problems.join("; ")),
    }
}

fn names(pods: &[&Gated]) -> String {
    let first: Vec<String> = pods.iter().take(NAMED).map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
    let more = if pods.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}
