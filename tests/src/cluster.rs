//! The rig's cluster, driven through kubectl as a person would drive it.

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jobmeter_protocol::{Page, Quality, Record};
use serde_json::Value;

use crate::wait::eventually;

/// How tests reach the coordinator: as people do, through the API server.
const PROXY: &str = "/api/v1/namespaces/jobmeter/services/jobmeter-coordinator:http/proxy";

#[derive(Clone, Debug)]
pub struct Cluster {
    kubectl: String,
    kubeconfig: String,
    pub nodes: Vec<String>,
}

/// The cluster, or `None` after the reason was printed. In CI there is no such excuse.
#[allow(clippy::panic, reason = "a missing cluster is a failed test in CI")]
pub fn or_skip() -> Option<Cluster> {
    match Cluster::from_env() {
        Ok(cluster) => Some(cluster),
        Err(why) if env::var_os("CI").is_some() => panic!("CI must have the cluster: {why:#}"),
        Err(why) => {
            eprintln!("SKIPPED: {why:#}");
            None
        }
    }
}

impl Cluster {
    pub fn from_env() -> Result<Self> {
        let variable = |name: &str| {
            env::var(name).with_context(|| format!("no cluster: {name} is not set; run tests/run, or eval \"$(tests/rig env)\""))
        };
        Ok(Self {
            kubectl: variable("JOBMETER_RIG_KUBECTL")?,
            kubeconfig: variable("KUBECONFIG")?,
            nodes: variable("JOBMETER_RIG_NODES")?.split_whitespace().map(str::to_owned).collect(),
        })
    }

    pub fn has_vm(&self) -> bool {
        self.nodes.iter().any(|node| node == "node-v2")
    }

    /// Runs kubectl; its standard error becomes the error.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        self.kubectl_with("", arguments)
    }

    pub fn kubectl_with<S: AsRef<OsStr>>(&self, input: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        run(command, input)
    }

    pub fn apply(&self, manifest: &Value) -> Result<()> {
        self.kubectl_with(&manifest.to_string(), ["create", "-f", "-"]).map(drop)
    }

    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(["get", "-o", "json"].iter().chain(arguments))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// `GET` of the coordinator's API.
    pub fn api(&self, path_and_query: &str) -> Result<String> {
        self.kubectl(["get", "--raw", &format!("{PROXY}{path_and_query}")])
    }

    pub fn records(&self, namespace: &str) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut after = String::new();
        loop {
            let page: Page<Record> =
                serde_json::from_str(&self.api(&format!("/v1/records?namespace={namespace}&limit=500{after}"))?)?;
            records.extend(page.items);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(records),
            }
        }
    }

    /// Waits until `count` pods of the namespace have a record that nothing can be added to.
    pub fn closed_records(&self, namespace: &str, count: usize, deadline: Duration) -> Result<Vec<Record>> {
        let mut last = Vec::new();
        let waited = eventually(&format!("{count} closed records in {namespace}"), deadline, || {
            last = self.records(namespace)?;
            let closed = last.iter().filter(|r| r.quality != Quality::Provisional).count();
            Ok((closed >= count && closed == last.len()).then_some(()))
        });
        if let Err(error) = waited {
            let open: Vec<_> = last.iter().filter(|r| r.quality == Quality::Provisional).collect();
            return Err(error.context(format!(
                "{} records, of which open: {}",
                last.len(),
                serde_json::to_string_pretty(&open)?
            )));
        }
        ensure!(last.len() == count, "{} records where {count} pods ran", last.len());
        Ok(last)
    }

    /// A namespace of its own for one run of one test (records outlive their namespace); deleted at the end.
    pub fn namespace(&self, name: &str) -> Result<Namespace> {
        let name = format!("{name}-{}", jiff::Timestamp::now().as_millisecond());
        self.kubectl(["create", "namespace", &name])?;
        Ok(Namespace { cluster: self.clone(), name })
    }
}

#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    pub name: String,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.kubectl(["delete", "namespace", &self.name, "--wait=false"]) {
            eprintln!("failed to delete namespace {}: {error:#}", self.name);
        }
    }
}

/// Runs a program to its end; a non-zero exit is an error that quotes what it printed.
pub fn run(mut command: Command, input: &str) -> Result<String> {
    let shown = format!("{command:?}");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| shown.clone())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    if !status.success() {
        bail!("{shown} ended with {status}: {}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    }
    Ok(String::from_utf8(stdout)?)
}
