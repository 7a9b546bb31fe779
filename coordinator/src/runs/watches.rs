//! Watches what the runs have to know: pods of runs, nodes, and definitions.
//!
//! In: list and watch of the API server, readings of definitions. Out: [`Observation`]s in order, a list as one of them. Owner: one
//! task for each, for one term.

use jobmeter_decide::runs::{Observation, RunPod};
use jobmeter_protocol::runs::RUN_LABEL;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::definition::Read;
use super::run_pod::run_pod;
use super::task::{Inbox, Seen};
use crate::pool::watches::{NodeNews, Translate, Watching};

pub(super) async fn pods(watching: Watching<Observation>) -> anyhow::Result<()> {
    let labelled = watcher::Config::default().labels(RUN_LABEL);
    watching.run("run-pods", Api::all(watching.client.clone()), labelled, Pods::default()).await
}

pub(super) async fn nodes(watching: Watching<Observation>) -> anyhow::Result<()> {
    watching.run("run-nodes", Api::all(watching.client.clone()), watcher::Config::default(), Nodes::default()).await
}

/// What is wrong with definitions was said where they were read.
pub(super) async fn definitions(mut readings: mpsc::Receiver<Read>, inbox: Inbox) -> anyhow::Result<()> {
    while let Some(read) = readings.recv().await {
        let what = Observation::Definitions(read.definitions);
        if inbox.send(Seen { at: Instant::now(), what }).await.is_err() {
            // Whoever listened is gone, and with it this task.
            return std::future::pending().await;
        }
    }
    anyhow::bail!("nobody reads the definitions of runs any more")
}

#[derive(Default)]
struct Pods {
    listed: Vec<RunPod>,
}

impl Translate<Pod> for Pods {
    type What = Observation;

    fn begin(&mut self) {
        self.listed = Vec::new();
    }

    fn listed(&mut self, pod: &Pod) {
        self.listed.extend(run_pod(pod));
    }

    fn end(&mut self) -> Observation {
        Observation::PodsListed(std::mem::take(&mut self.listed))
    }

    fn applied(&mut self, pod: &Pod) -> Option<Observation> {
        run_pod(pod).map(|pod| Observation::Pod(Box::new(pod)))
    }

    fn gone(&mut self, pod: &Pod) -> Option<Observation> {
        let meta = &pod.metadata;
        let (namespace, name, uid) = (meta.namespace.clone()?, meta.name.clone()?, meta.uid.clone()?);
        Some(Observation::PodGone { namespace, name, uid })
    }
}

#[derive(Default)]
struct Nodes(NodeNews);

impl Translate<Node> for Nodes {
    type What = Observation;

    fn begin(&mut self) {
        self.0.begin();
    }

    fn listed(&mut self, node: &Node) {
        self.0.listed(node);
    }

    fn end(&mut self) -> Observation {
        Observation::NodesListed(self.0.end())
    }

    fn applied(&mut self, node: &Node) -> Option<Observation> {
        self.0.applied(node).map(Observation::Node)
    }

    fn gone(&mut self, node: &Node) -> Option<Observation> {
        self.0.gone(node).map(|name| Observation::NodeGone { name })
    }
}
