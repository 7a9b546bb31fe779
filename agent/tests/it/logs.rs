//! Logs through a whole agent: from the kubelet's directory to the answer of the coordinator.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use jobmeter_agent::{AgentConfig, LogUplink, PodEvent, UplinkError, logs::LogsOptions, uplink::PutError};
use jobmeter_decide::example;
use jobmeter_protocol::{
    HeartbeatReply, LogId,
    logs::{
        CompleteReply, CompleteRequest, MultipartReply, MultipartRequest, Target, TargetsReply, TargetsRequest, TicketReply,
        TicketRequest,
    },
};
use tokio::{sync::mpsc, time::timeout};

use crate::agent::{Agent, Arc2, Coordinator, config};

const PATIENCE: Duration = Duration::from_secs(20);

/// Says of every log that it is in the store already.
struct HasAll(mpsc::UnboundedSender<TicketRequest>);

fn away<T>() -> BoxFuture<'static, Result<T, UplinkError>>
where
    T: Send + 'static,
{
    async { Err(UplinkError::TooLarge) }.boxed()
}

impl LogUplink for HasAll {
    fn ticket(&self, request: TicketRequest) -> BoxFuture<'_, Result<TicketReply, UplinkError>> {
        let key = format!("bench/{}.log", request.log.pod);
        self.0.send(request).unwrap();
        async { Ok(TicketReply::Stored { key }) }.boxed()
    }

    fn multipart(&self, _request: MultipartRequest) -> BoxFuture<'_, Result<MultipartReply, UplinkError>> {
        away()
    }

    fn targets(&self, _request: TargetsRequest) -> BoxFuture<'_, Result<TargetsReply, UplinkError>> {
        away()
    }

    fn put<'a>(&'a self, _: &'a Target, _: Option<&'a str>, _: Bytes) -> BoxFuture<'a, Result<String, PutError>> {
        async { Err(PutError::NoEtag) }.boxed()
    }

    fn complete(&self, _request: CompleteRequest) -> BoxFuture<'_, Result<CompleteReply, UplinkError>> {
        away()
    }
}

fn node(dir: &Path) -> AgentConfig {
    let mut config = config(&dir.join("state"));
    config.host.pod_logs = dir.join("pods");
    config.logs = LogsOptions { min_free: 0, ..LogsOptions::new(dir.join("spool")) };
    config.keeper.heartbeat = Duration::from_millis(20);
    config
}

#[tokio::test]
async fn a_log_goes_out_when_the_api_calls_its_pod_a_job_that_has_ended_and_what_was_never_here_is_said_to_be_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let pod = example::api_pod();
    let log = dir.path().join("pods").join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)).join("main/0.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(&log, "2026-11-21T10:00:00.0Z stdout F hello\n").unwrap();
    let coordinator = Arc::new(Coordinator::default());
    let id = |name: &str| LogId {
        namespace: pod.namespace.clone(),
        pod: name.to_owned(),
        pod_uid: pod.uid.clone(),
        container: "main".into(),
        attempt: 0,
    };
    let wanted = vec![id(&pod.name), id("never-here")];
    coordinator.replies.lock().unwrap().push_back(HeartbeatReply { logs_wanted: wanted, ..HeartbeatReply::default() });
    let (tickets, mut asked) = mpsc::unbounded_channel();
    let logs: Arc<dyn LogUplink> = Arc::new(HasAll(tickets));
    let agent = Agent::with_logs(node(dir.path()), Arc::new(Arc2(Arc::clone(&coordinator))), Some(logs));
    agent.say(PodEvent::Applied(pod.clone())).await;

    let ticket = timeout(PATIENCE, asked.recv()).await.unwrap().unwrap();
    assert_eq!((ticket.log, ticket.job), (id(&pod.name), Some(true)));
    timeout(PATIENCE, agent.handle.logs_stored(&pod.uid)).await.unwrap();
    let capabilities = agent.handle.capabilities();
    let links = capabilities.iter().find(|capability| capability.name == "log_capture").unwrap();
    assert_eq!(links.detail, "hard links");
    let answered = || coordinator.beats.lock().unwrap().iter().flat_map(|beat| beat.logs_unknown.clone()).collect::<Vec<_>>();
    timeout(PATIENCE, async {
        while answered().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(answered().iter().map(|lost| lost.log.clone()).collect::<Vec<_>>(), [id("never-here")]);
    agent.stop().await;
    assert!(log.exists(), "the kubelet's own files are the kubelet's");
}
