//! `jobmeter doctor --pools`: whether what holds job pods back works, and whether it holds pods that nobody will let go.
//!
//! In: what the coordinator says of itself, its pools, and of the API server the webhook's configuration and the gated pods.
//! Out: one line for each check.

mod cluster;
mod judge;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use jobmeter_protocol::{Capability, CapabilityState, PoolStatus};
use serde::Deserialize;

use super::{DoctorForm, listing};
use crate::exit::FAILED;
use crate::source::{Source, SourceArgs};

/// Everything that is judged.
struct Facts {
    /// By name, as `/status` has them.
    sources: BTreeMap<String, Told>,
    /// `Err`: a sentence why nobody knows.
    pools: Result<Vec<PoolStatus>, String>,
    /// `None`: the coordinator was not reached through an API server.
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Status {
    sources: BTreeMap<String, Told>,
}

/// What a part of the coordinator says of itself.
#[derive(Debug, Deserialize)]
struct Told {
    state: CapabilityState,
    detail: Option<String>,
    error: Option<String>,
}

/// `Err`: a sentence why nobody knows.
struct Cluster {
    /// `None`: there is no such configuration.
    webhooks: Result<Option<Vec<Webhook>>, String>,
    gated: Result<Vec<Gated>, String>,
    /// Whether the coordinator may patch Jobs; asked only where it holds them back.
    resumes: Option<Result<bool, String>>,
}

/// Of the MutatingWebhookConfiguration.
struct Webhook {
    name: String,
    /// It is asked about pods; the others are about Jobs.
    of_pods: bool,
    /// It is asked only about those with the label.
    by_label: bool,
    has_authority: bool,
    fails_closed: bool,
}

/// A pod with the pool's gate that waits.
struct Gated {
    namespace: String,
    name: String,
    /// Its label.
    pool: Option<String>,
}

pub(super) async fn run(form: DoctorForm, args: &SourceArgs) -> anyhow::Result<ExitCode> {
    let source = Source::open(args).await?;
    let Status { sources } = source.status().await?;
    let pools = source.pools().await.map_err(|error| format!("{:#}", anyhow::Error::from(error)));
    let cluster = match source.kubernetes() {
        Some((client, namespace)) => Some(cluster::ask(client, namespace, suspends(&sources)).await),
        None => None,
    };
    let checks = judge::judge(&Facts { sources, pools, cluster });
    print(form, &checks)?;
    let failed = checks.iter().any(|check| check.state == CapabilityState::Failed);
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Whole Jobs are held back here, not pods: the coordinator's `gating` begins with the word.
fn suspends(sources: &BTreeMap<String, Told>) -> bool {
    sources.get("gating").and_then(|told| told.detail.as_deref()).is_some_and(|detail| detail.starts_with("suspend"))
}

fn print(form: DoctorForm, checks: &[Capability]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match form {
        DoctorForm::Text => listing::capabilities("CHECK", checks, &mut out)?,
        DoctorForm::Json => writeln!(out, "{}", serde_json::to_string_pretty(checks)?)?,
    }
    Ok(out.flush()?)
}
