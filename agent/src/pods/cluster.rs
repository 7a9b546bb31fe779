//! The pods of this node, as the API server tells them.
//!
//! Input: one watch with `spec.nodeName=`. Output: [`PodEvent`]s. While the API server is away the agent goes on metering;
//! the source says so on the board, and the books wait for names.

use std::{error::Error, path::PathBuf, pin::pin};

use futures::TryStreamExt;
use jobmeter_daemon::admin::{Gate, SourceBoard, SourceState};
use jobmeter_kubepod::{api_pod, kubelet_uid};
use jobmeter_protocol::ApiPod;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use tokio::sync::mpsc;

use super::PodEvent;

/// Shorter than kube's 290 s: a connection that died silently is noticed after it.
const WATCH_SECONDS: u32 = 90;

#[derive(Clone, Debug)]
pub struct ClusterOptions {
    pub node: String,
    /// `None`: the ServiceAccount of the agent's pod.
    pub kubeconfig: Option<PathBuf>,
    /// In place of the configured address.
    pub server: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("failed to find the cluster that this pod runs in")]
    InCluster(#[source] kube::config::InClusterError),
    #[error("failed to read the kubeconfig {}", path.display())]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: kube::config::KubeconfigError,
    },
    #[error("{server:?} is no address of an API server: {why}")]
    Server { server: String, why: String },
    #[error("failed to set up the API client")]
    Client(#[source] kube::Error),
}

pub async fn connect(options: &ClusterOptions) -> Result<Client, ClusterError> {
    let mut config = match &options.kubeconfig {
        None => Config::incluster().map_err(ClusterError::InCluster)?,
        Some(path) => {
            let failed = |source| ClusterError::Kubeconfig { path: path.clone(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?
        }
    };
    if let Some(server) = &options.server {
        config.cluster_url =
            server.parse().map_err(|err| ClusterError::Server { server: server.clone(), why: format!("{err}") })?;
    }
    // The watch brings its own retries; the client's would wait up to a quarter of an hour behind its back.
    config.default_retry = false;
    Client::try_from(config).map_err(ClusterError::Client)
}

/// Ends when nobody listens any more.
pub async fn watch(
    client: Client,
    node: String,
    events: mpsc::Sender<PodEvent>,
    board: SourceBoard,
    gate: Gate,
) -> anyhow::Result<()> {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}")).timeout(WATCH_SECONDS);
    let stream = watcher(Api::<Pod>::all(client), config).default_backoff().modify(|pod| pod.metadata.managed_fields = None);
    let mut stream = pin!(stream);
    let mut listed = Vec::new();
    loop {
        let event = match stream.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => anyhow::bail!("the watch of this node's pods ended"),
            Err(err) => {
                tracing::warn!(error = &err as &dyn Error, "watch of this node's pods failed, it will be tried again");
                board.set(SOURCE, SourceState::Failed { error: err.to_string() });
                // Without names, but metering: that is ready enough, and said on the board.
                gate.ready();
                continue;
            }
        };
        let event = match event {
            Event::Init => {
                listed.clear();
                continue;
            }
            Event::InitApply(pod) => {
                listed.extend(map(&pod));
                continue;
            }
            Event::InitDone => {
                board.set(SOURCE, SourceState::Active);
                gate.ready();
                Some(PodEvent::Resynced(std::mem::take(&mut listed)))
            }
            Event::Apply(pod) => map(&pod).map(PodEvent::Applied),
            Event::Delete(pod) => map(&pod).map(|pod| PodEvent::Gone { pod_uid: pod.uid }),
        };
        board.set(SOURCE, SourceState::Active);
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return Ok(());
        }
    }
}

const SOURCE: &str = "pods";

/// Under the UID that its cgroup bears.
fn map(pod: &Pod) -> Option<ApiPod> {
    match api_pod(pod) {
        Ok(mut api) => {
            api.uid = kubelet_uid(&api).to_owned();
            Some(api)
        }
        Err(err) => {
            tracing::error!(error = &err as &dyn Error, "API server sent a pod without an identity");
            None
        }
    }
}
