//! Nodes that do not exist: kwok plays their kubelets. They carry a taint and the label `type=kwok`; the pods of a test say that
//! they want them ([`place`]).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::Cluster;
use crate::api::{Api, Call};
use crate::server::Server;
use crate::wait::eventually;

const ANNOTATION: &str = "kwok.x-k8s.io/node";
const NODES: &str = "/api/v1/nodes";
const OURS: &str = "?labelSelector=type%3Dkwok";
/// More at once than the 4 of its default; and leases that hundreds of nodes renew take an API server's time.
const OPTIONS: &str = "\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  podPlayStageParallelism: 16
  nodePlayStageParallelism: 16
  nodeLeaseDurationSeconds: 120
  nodeLeaseParallelism: 4
---
# By its own stages only pods of Jobs end.
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: run-pod-complete
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
      - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
      - {key: .status.phase, operator: In, values: [Running]}
      - {key: '.metadata.labels[\"jobmeter.io/run\"]', operator: Exists}
  delay:
    durationMilliseconds: 500
  next:
    statusTemplate: |
      {{ $now := Now }}
      {{ $root := . }}
      containerStatuses:
      {{ range $index, $item := .spec.containers }}
      {{ $origin := index $root.status.containerStatuses $index }}
      - image: {{ $item.image | Quote }}
        name: {{ $item.name | Quote }}
        ready: false
        restartCount: 0
        started: false
        state:
          terminated:
            exitCode: 0
            finishedAt: {{ $now | Quote }}
            reason: Completed
            startedAt: {{ $now | Quote }}
      {{ end }}
      phase: Succeeded
";

#[derive(Debug)]
pub struct FakeNodes {
    api: Api,
    _kwok: Server,
}

impl FakeNodes {
    /// Returns when all are Ready.
    pub fn start(cluster: &Cluster, count: usize) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: tests/rig env"));
        let (program, stages) = (variable("JOBMETER_KWOK")?, variable("JOBMETER_KWOK_STAGES")?);
        let rig = PathBuf::from(variable("JOBMETER_RIG_DIR")?);
        let options = rig.join("kwok.yaml");
        fs::write(&options, OPTIONS).with_context(|| format!("failed to write {}", options.display()))?;
        let log = rig.join("logs/kwok.log");
        let command = [
            program,
            format!("--kubeconfig={}", variable("KUBECONFIG")?),
            format!("--config={},{stages}", options.display()),
            format!("--manage-nodes-with-annotation-selector={ANNOTATION}=fake"),
        ];
        let kwok = Server::start(&command, &log, Signal::SIGTERM)?;
        let nodes = Self { api: Api::connect()?, _kwok: kwok };
        nodes.clear()?;
        nodes.api.many((0..count).map(|number| Call {
            method: Method::POST,
            path: NODES.to_owned(),
            body: Some(node(number)),
        }))?;
        let ready = eventually(&format!("{count} fake nodes to be Ready"), Duration::from_secs(90), || {
            let text = cluster.kubectl(["get", "nodes", "-l", "type=kwok", "--no-headers"])?;
            Ok((text.lines().filter(|line| line.contains(" Ready ")).count() == count).then_some(()))
        });
        ready.with_context(|| format!("see {}", log.display()))?;
        Ok(nodes)
    }

    fn clear(&self) -> Result<()> {
        self.api.call(Call { method: Method::DELETE, path: format!("{NODES}{OURS}"), body: None }).map(drop)
    }
}

impl Drop for FakeNodes {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("failed to delete the fake nodes: {error:#}");
        }
    }
}

/// Sends a pod to these nodes.
pub fn place(pod_spec: &mut Value) {
    pod_spec["nodeSelector"] = json!({"type": "kwok"});
    pod_spec["tolerations"] = tolerations();
}

/// Of pods, and of pools.
pub fn tolerations() -> Value {
    json!([{"key": ANNOTATION, "operator": "Equal", "value": "fake", "effect": "NoSchedule"}])
}

fn node(number: usize) -> Value {
    let name = format!("fake-{number:04}");
    let room = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION: "fake", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {
                "type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {"taints": [{"key": ANNOTATION, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room},
    })
}
