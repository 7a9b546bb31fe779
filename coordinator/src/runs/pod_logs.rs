//! Saves the logs of pods that have ended beside their reports, where the definition asks for it.
//!
//! In: pods that ended, or are about to be deleted. Out: files in the run's report directory. Owner: the steps. A few are saved at a
//! time; who deletes a pod waits for its log, but not for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobmeter_daemon::error::chain;
use jobmeter_decide::runs::RunPod;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::reports::ReportDirectory;
use crate::execute::run_pods::RunPods;

const AT_ONCE: usize = 4;
/// For a log that never ends, so that it does not hold up the others.
const LONGEST: Duration = Duration::from_secs(600);
/// So long a deletion waits for a log.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pod that has ended, and where its log belongs.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) pod: RunPod,
    pub(super) reports: ReportDirectory,
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct PodLogs {
    pods: Arc<dyn RunPods>,
    permits: Arc<Semaphore>,
    saved: Arc<Mutex<Saved>>,
}

/// By run, and by UID of the pod. Set when the log was saved or cannot be.
type Saved = HashMap<String, HashMap<String, Arc<OnceCell<()>>>>;

impl PodLogs {
    pub(super) fn new(pods: Arc<dyn RunPods>) -> Self {
        Self { pods, permits: Arc::new(Semaphore::new(AT_ONCE)), saved: Arc::default() }
    }

    /// Once for each pod, whoever asks for it first.
    pub(super) async fn save(&self, ended: &Ended) {
        let Ended { pod, reports } = ended;
        let cell = self.lock().entry(pod.run.clone()).or_default().entry(pod.uid.clone()).or_default().clone();
        let save = async || {
            // Never closed.
            let _permit = self.permits.acquire().await;
            let why = match timeout(LONGEST, self.pods.save_logs(pod, reports)).await {
                Ok(Ok(())) => return,
                Ok(Err(err)) => chain(&err),
                Err(_) => format!("it took longer than {} seconds", LONGEST.as_secs()),
            };
            let (namespace, name, run) = (&pod.namespace, &pod.name, &pod.run);
            tracing::warn!(%namespace, %name, %run, why, "the log of a pod was not saved");
        };
        cell.get_or_init(save).await;
    }

    /// Before the pod is deleted.
    pub(super) async fn save_in_time(&self, ended: &Ended) {
        if timeout(PATIENCE, self.save(ended)).await.is_err() {
            let (namespace, name) = (&ended.pod.namespace, &ended.pod.name);
            tracing::warn!(%namespace, %name, seconds = PATIENCE.as_secs(), "a pod is deleted although its log was not saved yet");
        }
    }

    /// Before the run's directory goes: what is being written there would make it anew.
    pub(super) async fn forget(&self, run: &str) {
        let under_way: Vec<_> = self.lock().remove(run).into_iter().flatten().map(|(_, cell)| cell).collect();
        let all = async {
            for cell in under_way {
                cell.get_or_init(async || {}).await;
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::warn!(run, seconds = PATIENCE.as_secs(), "a run is forgotten while logs of its pods are being saved");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
