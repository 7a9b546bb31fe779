//! What runs beside the keeper's loop, and what it brings back.

use futures::{FutureExt, future::BoxFuture};
use jobmeter_decide::books::{Identity, Observation, Tree};
use jobmeter_hostfs::podlog;
use jobmeter_protocol::{HeartbeatReply, LostLog, PodEvidence, Reading, ReportReply};
use tokio::sync::oneshot;

use super::{FinalError, Keeper, State, outbox::Sent};
use crate::{
    uplink::UplinkError,
    watch::{ContainerSnapshot, PodSnapshot, TreeKind, WatchClosed},
};

pub(super) type Work = BoxFuture<'static, Done>;

pub(super) enum Done {
    Looked {
        pod_uid: String,
        outcome: Result<Option<Box<PodSnapshot>>, WatchClosed>,
        purpose: Purpose,
    },
    Identified {
        pod_uid: String,
        identity: Option<Identity>,
    },
    Reported {
        sent: Vec<Sent>,
        outcome: Result<ReportReply, UplinkError>,
    },
    Beaten {
        unknown: Vec<String>,
        logs_unknown: Vec<LostLog>,
        outcome: Result<HeartbeatReply, UplinkError>,
    },
    /// Nothing is left to do about it.
    Answered,
}

/// Why a pod was looked at.
pub(super) enum Purpose {
    Books,
    /// It will be removed; whoever does it waits for this answer.
    Final(oneshot::Sender<Result<PodEvidence, FinalError>>),
}

impl Keeper {
    pub(super) fn look(&self, state: &State, pod_uid: String, purpose: Purpose) {
        let watch = self.watch.clone();
        state.work.push(
            async move {
                let outcome = match watch {
                    Some(watch) => watch.read_pod(&pod_uid).await.map(|snapshot| snapshot.map(Box::new)),
                    None => Ok(None),
                };
                Done::Looked { pod_uid, outcome, purpose }
            }
            .boxed(),
        );
    }

    pub(super) fn identify(&self, state: &State, pod_uid: String) {
        let host = self.host.clone();
        state.work.push(
            async move {
                let uid = pod_uid.clone();
                let found = tokio::task::spawn_blocking(move || podlog::find(&host, &uid)).await;
                let identity = match found {
                    Ok(Ok(found)) => found.map(|found| Identity { namespace: found.namespace, pod: found.name }),
                    Ok(Err(err)) => {
                        tracing::warn!(
                            pod_uid,
                            error = &err as &dyn std::error::Error,
                            "failed to look for a pod's log directory"
                        );
                        None
                    }
                    Err(err) => {
                        tracing::error!(pod_uid, error = &err as &dyn std::error::Error, "looking for a log directory died");
                        None
                    }
                };
                Done::Identified { pod_uid, identity }
            }
            .boxed(),
        );
    }
}

pub(super) fn looked(snapshot: PodSnapshot, at: jiff::Timestamp) -> Observation {
    Observation::Looked {
        segment: snapshot.segment,
        tree: tree(snapshot.kind),
        at: snapshot.reading.as_ref().map_or(at, |reading| reading.at),
        pod: snapshot.reading.map(Box::new),
        containers: snapshot.containers.into_iter().map(found).collect(),
    }
}

/// What a running container has used so far is not its last reading.
fn found(container: ContainerSnapshot) -> (String, Option<Box<Reading>>) {
    let last = container.reading.filter(|_| !container.running);
    (container.container_id, last.map(Box::new))
}

pub(super) const fn tree(kind: TreeKind) -> Tree {
    match kind {
        TreeKind::Kubelet => Tree::Kubelet,
        TreeKind::Local => Tree::Local,
    }
}
