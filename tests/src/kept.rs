//! The logs that a store holds, read from its files with none of Jobmeter's code but the form of the manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jobmeter_protocol::logs::{LogManifest, LogState};

use crate::cluster::run;
use crate::wait::eventually;

const MANIFEST: &str = ".manifest.json";

/// A log with its manifest.
#[derive(Clone, Debug)]
pub struct Kept {
    pub path: PathBuf,
    pub manifest: LogManifest,
}

impl Kept {
    pub fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).with_context(|| format!("failed to read {}", self.path.display()))
    }

    /// What must hold of every log that nothing is missing of: the manifest agrees with the bytes.
    pub fn check_complete(&self) -> Result<()> {
        let entry = &self.manifest.entry;
        ensure!(entry.state == LogState::Complete, "{} is {:?}", entry.key, entry.state);
        let content = entry.content.as_ref().with_context(|| format!("{} has no content", entry.key))?;
        ensure!(content.missing.is_empty(), "{} lacks {:?}", entry.key, content.missing);
        let bytes = fs::metadata(&self.path).with_context(|| format!("{} is not there", self.path.display()))?.len();
        ensure!(content.bytes == bytes && entry.object_bytes == bytes, "{} has {bytes} bytes: {content:?}", entry.key);
        let said = sha256(&self.path)?;
        ensure!(content.sha256 == said, "{}: sha256sum says {said}, the manifest {}", entry.key, content.sha256);
        Ok(())
    }
}

/// Keys of everything below `prefix`.
pub fn keys(root: &Path, prefix: &str) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut folders = vec![root.join(prefix)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Some(key) = entry.path().strip_prefix(root)?.to_str() {
                keys.insert(key.to_owned());
            }
        }
    }
    Ok(keys)
}

/// The logs below `prefix`, in the order of their keys. A log is there when its manifest is.
pub fn logs(root: &Path, prefix: &str) -> Result<Vec<Kept>> {
    let keys = keys(root, prefix)?;
    let logs = keys.iter().filter_map(|key| Some((key, key.strip_suffix(MANIFEST)?)));
    logs.map(|(manifest, log)| {
        let text = fs::read(root.join(manifest))?;
        let manifest: LogManifest = serde_json::from_slice(&text).with_context(|| format!("{manifest} is no manifest"))?;
        ensure!(manifest.entry.key == log, "the manifest of {log} is of {}", manifest.entry.key);
        Ok(Kept { path: root.join(log), manifest })
    })
    .collect()
}

/// Waits until there are so many, and says which ones there are if there are not.
pub fn await_logs(root: &Path, prefix: &str, count: usize, deadline: Duration) -> Result<Vec<Kept>> {
    let waited = eventually(&format!("{count} logs below {prefix}"), deadline, || {
        let kept = logs(root, prefix)?;
        Ok((kept.len() >= count).then_some(kept))
    });
    waited.with_context(|| format!("below {prefix} there are {:#?}", keys(root, prefix).unwrap_or_default()))
}

fn sha256(path: &Path) -> Result<String> {
    let mut command = Command::new("sha256sum");
    command.arg(path);
    Ok(run(command, "")?.split_whitespace().next().unwrap_or_default().to_owned())
}
