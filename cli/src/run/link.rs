//! What in a cluster are network calls: the executor tells the agent, the agent reports to the coordinator.

mod logs;

use futures::future::BoxFuture;
use jobmeter_agent::uplink::{Uplink, UplinkError};
use jobmeter_agent::{AgentHandle, PodEvent};
use jobmeter_coordinator::CoordinatorHandle;
use jobmeter_coordinator::execute::local::{NodeAgent, NotFinal, NotStored, PodNews};
use jobmeter_daemon::admin::SourceState;
use jobmeter_daemon::error::chain;
use jobmeter_protocol::{Heartbeat, HeartbeatReply, ReportBatch, ReportReply};
use tokio::sync::{mpsc, watch};

/// As the agent calls it on its board of sources.
const LOG_CAPTURE: &str = "log_capture";

/// Executor → agent.
pub(super) struct Link {
    pub(super) agent: AgentHandle,
    pub(super) news: mpsc::Sender<PodEvent>,
}

/// Agent → coordinator.
#[derive(Clone)]
pub(super) struct InProcess {
    pub(super) coordinator: CoordinatorHandle,
    /// Why the last report was not taken; `None` once one was.
    pub(super) trouble: watch::Sender<Option<String>>,
}

impl NodeAgent for Link {
    fn pod_event(&self, event: PodNews) -> BoxFuture<'_, ()> {
        let event = match event {
            PodNews::Applied(pod) => PodEvent::Applied(*pod),
            PodNews::Exited(exit) => PodEvent::Exited(*exit),
            PodNews::Gone { pod_uid } => PodEvent::Gone { pod_uid },
            PodNews::Started { pod_uid, container_id, pid } => PodEvent::Started { pod_uid, container_id, pid },
        };
        Box::pin(async move {
            // An agent that has ended ends the process; there is nobody else to tell.
            self.news.send(event).await.unwrap_or_default();
        })
    }

    fn pod_final<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), NotFinal>> {
        Box::pin(async move { self.agent.pod_final(pod_uid).await.map(drop).map_err(|error| NotFinal(Box::new(error))) })
    }

    fn logs_stored<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), NotStored>> {
        Box::pin(async move {
            self.agent.logs_stored(pod_uid).await;
            // Where nothing is captured, nothing waits either; and then the files are all there is.
            let sources = self.agent.sources().snapshot();
            match sources.get(LOG_CAPTURE).map(|source| &source.state) {
                Some(SourceState::Active) => Ok(()),
                Some(SourceState::Failed { error }) => Err(NotStored(format!("the capture of logs failed: {error}").into())),
                _ => Err(NotStored("logs are not captured".into())),
            }
        })
    }
}

impl Uplink for InProcess {
    fn report(&self, batch: ReportBatch) -> BoxFuture<'_, Result<ReportReply, UplinkError>> {
        Box::pin(async move {
            let answer = self.coordinator.report(batch).await;
            self.trouble.send_replace(answer.as_ref().err().map(|error| chain(error)));
            answer.map_err(|error| UplinkError::Unreachable(Box::new(error)))
        })
    }

    fn heartbeat(&self, node: &str, beat: Heartbeat) -> BoxFuture<'_, Result<HeartbeatReply, UplinkError>> {
        let node = node.to_owned();
        Box::pin(async move {
            self.coordinator.heartbeat(&node, beat).await.map_err(|error| UplinkError::Unreachable(Box::new(error)))
        })
    }
}
