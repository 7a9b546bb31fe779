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

/// What the spools of this machine's nodes keep of the logs of a namespace. Notes beside them stay until the kubelet has forgotten
/// the pod, too, which may take it minutes.
fn spooled(namespace: &str) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for node in ["A", "B"] {
        let log = std::env::var(format!("JOBMETER_RIG_LOG_{node}")).context("the rig names no log folders")?;
        let Ok(entries) = std::fs::read_dir(PathBuf::from(log).join("jobmeter/spool")) else { continue };
        let own = |name: &str| name.starts_with(&format!("{namespace}_"));
        folders.extend(entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(own)).map(|entry| entry.path()));
    }
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("json") => {}
                _ => found.push(path),
            }
        }
    }
    Ok(found)
}

/// No log is kept once it is stored.
fn await_empty_spool(namespace: &str) -> Result<()> {
    let mut left = Vec::new();
    let waited = eventually(&format!("the spools to let go of {namespace}"), Duration::from_secs(120), || {
        left = spooled(namespace)?;
        Ok(left.is_empty().then_some(()))
    });
    waited.with_context(|| format!("left in the spools: {left:#?}"))
}
