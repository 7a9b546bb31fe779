//! No log is lost: what a pod printed is in the store byte for byte, whatever happened meanwhile.

mod directory;
mod faults;
mod full;
mod large;
mod reading;
mod shapes;
mod short_lived;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use jobmeter_tests::wait::eventually;
use serde_json::{Value, json};

/// A container that prints what the test can foretell from its arguments (`jobmeter_tests::babble`).
fn babbling(arguments: &[&str]) -> Value {
    let command: Vec<_> = ["/usr/local/bin/babble"].iter().chain(arguments).collect();
    json!({"name": "main", "image": "localhost/jobmeter-burn:test", "imagePullPolicy": "Never", "command": command})
}

/// Folders of a namespace's pods in the spools of this machine's nodes.
fn spooled(namespace: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for node in ["A", "B"] {
        let log = std::env::var(format!("JOBMETER_RIG_LOG_{node}")).context("the rig names no log folders")?;
        let Ok(entries) = std::fs::read_dir(PathBuf::from(log).join("jobmeter/spool")) else { continue };
        let own = |name: &str| name.starts_with(&format!("{namespace}_"));
        found.extend(entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(own)).map(|entry| entry.path()));
    }
    Ok(found)
}

/// Nothing is kept of pods that are over and done, once the kubelet has forgotten them too.
fn await_empty_spool(namespace: &str) -> Result<()> {
    let mut left = Vec::new();
    let waited = eventually(&format!("the spools to let go of {namespace}"), Duration::from_secs(120), || {
        left = spooled(namespace)?;
        Ok(left.is_empty().then_some(()))
    });
    waited.with_context(|| format!("left in the spools: {left:#?}"))
}
