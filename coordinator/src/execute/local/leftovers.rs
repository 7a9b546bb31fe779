//! What is left behind in our cgroups: by a container whose first process has ended, and by an earlier process of ours that
//! was killed. A parent-death signal reaches only the first process of each container; what that had started lives on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jobmeter_hostfs::own_tree::{OwnTree, OwnTreeError};
use tokio::time::Instant;
use tracing::{info, warn};

use super::settle::remove;
use super::{NodeAgent, PodNews};

/// A killed process that is in the kernel (a hung mount) may take for ever; nothing waits longer for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel tells nobody on cgroup v1 that a cgroup is empty; there are hardly ever any leftovers to poll for.
const POLL: Duration = Duration::from_millis(2);

/// Until nothing runs in the cgroup. `kill`: `false` where there was nothing to kill.
pub(super) async fn kill(cgroup: &Path, kill: impl Fn() -> Result<bool, OwnTreeError>) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match kill() {
            Ok(false) => return,
            Ok(true) if Instant::now() < give_up => tokio::time::sleep(POLL).await,
            Ok(true) => {
                warn!(cgroup = %cgroup.display(), "killed processes do not end");
                return;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, cgroup = %cgroup.display(), "failed to kill what a container left behind");
                return;
            }
        }
    }
}

/// Ends what an earlier process left running in this tree, has its books closed, and removes its cgroups. The tree is of this
/// data directory alone ([`OwnTree::establish_for`]): whatever is in it at the start is of an earlier run.
pub(super) async fn clear(tree: &OwnTree, agent: &Arc<dyn NodeAgent>) {
    let uids = tree.pods().unwrap_or_else(|error| {
        warn!(error = &error as &dyn std::error::Error, "failed to look for cgroups of an earlier run");
        Vec::new()
    });
    join_all(uids.iter().map(|uid| clear_pod(tree, uid, agent))).await;
}

async fn clear_pod(tree: &OwnTree, uid: &str, agent: &Arc<dyn NodeAgent>) {
    match tree.known_pod(uid) {
        Ok(pod) => kill(pod.path(), || pod.kill()).await,
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, pod_uid = uid, "failed to look into a cgroup of an earlier run");
            return;
        }
    }
    if let Err(error) = agent.pod_final(uid).await {
        warn!(error = &error as &dyn std::error::Error, pod_uid = uid, "no last reading of a pod of an earlier run");
    }
    remove(tree, uid).await;
    agent.pod_event(PodNews::Gone { pod_uid: uid.to_owned() }).await;
    info!(pod_uid = uid, "cgroups of an earlier run removed");
}
