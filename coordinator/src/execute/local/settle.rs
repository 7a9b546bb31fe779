//! After a pod's last container: the agent closes the books, then the cgroups go.

use std::sync::Arc;
use std::time::Duration;

use jobmeter_decide::local::PodKey;
use jobmeter_hostfs::own_tree::OwnTree;
use tokio::time::Instant;
use tracing::warn;

use super::NodeAgent;

const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

pub(super) async fn settle(pod: PodKey, uid: String, cgroups: Option<OwnTree>, agent: Arc<dyn NodeAgent>) -> PodKey {
    if let Err(error) = agent.pod_final(&uid).await {
        warn!(error = &error as &dyn std::error::Error, pod_uid = uid, "the record of a pod may lack its last reading");
    }
    if let Some(tree) = cgroups {
        remove(&tree, &uid).await;
    }
    pod
}

/// A cgroup stays busy for as long as a killed process takes to end.
pub(super) async fn remove(tree: &OwnTree, uid: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (tree, pod_uid) = (tree.clone(), uid.to_owned());
        let removed = tokio::task::spawn_blocking(move || tree.known_pod(&pod_uid).and_then(|pod| pod.remove())).await;
        match removed {
            Ok(Ok(())) => return,
            Ok(Err(error)) if error.is_busy() && Instant::now() < give_up => tokio::time::sleep(POLL).await,
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, pod_uid = uid, "failed to remove the cgroups of a pod");
                return;
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, pod_uid = uid, "failed to remove the cgroups of a pod");
                return;
            }
        }
    }
}
