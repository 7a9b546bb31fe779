//! An agent in this process, with an uplink that remembers what it was told and fails when asked to.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use jobmeter_agent::journal::OpenError;
use jobmeter_agent::{AgentConfig, AgentHandle, LogUplink, PodEvent, StartError, Uplink, UplinkError, start};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::join::join;
use jobmeter_protocol::{Heartbeat, HeartbeatReply, PodEvidence, ReportBatch, ReportReply, Stage, Verdict};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What a coordinator would have at the end.
#[derive(Default)]
pub(crate) struct Coordinator {
    pub(crate) known: watch::Sender<BTreeMap<String, PodEvidence>>,
    pub(crate) batches: Mutex<Vec<ReportBatch>>,
    pub(crate) beats: Mutex<Vec<Heartbeat>>,
    /// What goes wrong with the next calls.
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    pub(crate) replies: Mutex<VecDeque<HeartbeatReply>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Unreachable,
    /// Taken in, and the answer is lost.
    LostAnswer,
    TooLarge,
}

impl Coordinator {
    fn take(&self, batch: &ReportBatch) -> ReportReply {
        let mut verdicts = Vec::new();
        self.known.send_modify(|known| {
            for report in &batch.reports {
                let changed = match known.get_mut(&report.pod_uid) {
                    Some(known) => join(known, report),
                    None => known.insert(report.pod_uid.clone(), report.clone()).is_none(),
                };
                verdicts.push(if changed { Verdict::Accepted } else { Verdict::Duplicate });
            }
        });
        self.batches.lock().unwrap().push(batch.clone());
        ReportReply { verdicts }
    }

    pub(crate) async fn until(&self, pod_uid: &str, holds: impl Fn(&PodEvidence) -> bool) -> PodEvidence {
        let mut known = self.known.subscribe();
        let reached = known.wait_for(|known| known.get(pod_uid).is_some_and(&holds));
        let reached = timeout(Duration::from_secs(20), reached).await;
        let Ok(reached) = reached else { panic!("not reached; known: {:#?}", self.known.borrow().get(pod_uid)) };
        reached.unwrap()[pod_uid].clone()
    }

    pub(crate) async fn until_final(&self, pod_uid: &str) -> PodEvidence {
        self.until(pod_uid, |evidence| evidence.stage == Stage::Final).await
    }
}

impl Uplink for Arc2 {
    fn report(&self, batch: ReportBatch) -> BoxFuture<'_, Result<ReportReply, UplinkError>> {
        let fault = self.0.faults.lock().unwrap().pop_front();
        let outcome = match fault {
            None => Ok(self.0.take(&batch)),
            Some(Fault::Unreachable) => Err(UplinkError::Unreachable("it is away".into())),
            Some(Fault::LostAnswer) => {
                self.0.take(&batch);
                Err(UplinkError::Unreachable("the answer was lost".into()))
            }
            Some(Fault::TooLarge) => Err(UplinkError::TooLarge),
        };
        async move { outcome }.boxed()
    }

    fn heartbeat(&self, _node: &str, beat: Heartbeat) -> BoxFuture<'_, Result<HeartbeatReply, UplinkError>> {
        self.0.beats.lock().unwrap().push(beat);
        let reply = self.0.replies.lock().unwrap().pop_front();
        async move { Ok(reply.unwrap_or_default()) }.boxed()
    }
}

/// The trait is foreign to `Arc`.
pub(crate) struct Arc2(pub(crate) Arc<Coordinator>);

pub(crate) struct Agent {
    pub(crate) handle: AgentHandle,
    pub(crate) pods: mpsc::Sender<PodEvent>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Agent {
    /// Last readings of pods that the watcher has taken.
    pub(crate) fn pod_readings(&self) -> u64 {
        let families = self.handle.registry().gather();
        let readings = families.iter().filter(|family| family.name() == "jobmeter_agent_readings_total");
        let of_pods = readings
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_label().iter().any(|label| label.name() == "level" && label.value() == "pod"));
        of_pods.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    pub(crate) fn start(config: AgentConfig, uplink: Arc<dyn Uplink>) -> Self {
        Self::with_logs(config, uplink, None)
    }

    pub(crate) fn with_logs(config: AgentConfig, uplink: Arc<dyn Uplink>, logs: Option<Arc<dyn LogUplink>>) -> Self {
        let until = Instant::now() + Duration::from_secs(5);
        let (supervisor, pods, handle) = loop {
            let mut supervisor = Supervisor::without_signals(Duration::from_secs(5));
            let (pods, events) = mpsc::channel(64);
            match start(config.clone(), events, Arc::clone(&uplink), logs.clone(), &mut supervisor) {
                Ok(handle) => break (supervisor, pods, handle),
                // Another test forks at this moment: until its child executes its command, it holds what this process held.
                Err(StartError::Journal(OpenError::Locked { .. })) if Instant::now() < until => std::thread::yield_now(),
                Err(error) => panic!("failed to start the agent: {error}"),
            }
        };
        let stop = supervisor.token();
        let ended = tokio::spawn(async move {
            supervisor.run().await;
        });
        Self { handle, pods, stop, ended }
    }

    pub(crate) fn with(config: AgentConfig, coordinator: &Arc<Coordinator>) -> Self {
        Self::start(config, Arc::new(Arc2(Arc::clone(coordinator))))
    }

    pub(crate) async fn say(&self, event: PodEvent) {
        self.pods.send(event).await.unwrap();
    }

    /// An orderly stop, to the end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(10), self.ended).await.expect("stops in time").unwrap();
    }
}

/// A node with nothing to watch, and short waits.
pub(crate) fn config(state: &Path) -> AgentConfig {
    let mut config = AgentConfig::new("node-a", state);
    config.keeper.heartbeat = Duration::from_millis(200);
    config.keeper.batch = Duration::from_millis(20);
    config
}
