//! Does the steps of the runs. In: [`Step`]s. Out: an [`Outcome`] for each, in whatever order they end. Owner: the runs task.
//!
//! At most [`AT_ONCE`] calls are on their way. A write asks for the authority when its turn has come, and not before.

use std::sync::Arc;
use std::time::Duration;

use jobmeter_decide::runs::{Answer, CreatePod, Step, StepKey};
use jobmeter_protocol::runs::RunSettings;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::directories::Directories;
use super::pod_logs::{Ended, PodLogs};
use crate::execute::run_pods::RunPods;
use crate::leadership::Authority;

const AT_ONCE: usize = 32;
/// An API server that takes longer may have written all the same.
const CALL: Duration = Duration::from_secs(5);
/// For all pods of a run at once.
const CALL_OF_MANY: Duration = Duration::from_secs(30);

pub(super) struct Outcome {
    pub(super) step: StepKey,
    pub(super) answer: Answer,
}

pub(super) struct Steps {
    hands: Hands,
    running: JoinSet<Outcome>,
    saving: JoinSet<()>,
}

#[derive(Clone)]
struct Hands {
    pods: Arc<dyn RunPods>,
    directories: Arc<Directories>,
    logs: PodLogs,
    permits: Arc<Semaphore>,
    authority: Authority,
}

impl Steps {
    pub(super) fn new(pods: Arc<dyn RunPods>, authority: Authority) -> Self {
        let logs = PodLogs::new(pods.clone());
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let hands = Hands { pods, directories: Arc::default(), logs, permits, authority };
        Self { hands, running: JoinSet::new(), saving: JoinSet::new() }
    }

    /// `ended`: the log that is to be saved before the pod is deleted.
    pub(super) fn start(&mut self, step: Step, ended: Option<Ended>) {
        let hands = self.hands.clone();
        self.running.spawn(async move {
            let key = key(&step);
            let answer = hands.take(step, ended).await;
            tell(&key, &answer);
            Outcome { step: key, answer }
        });
    }

    pub(super) fn save_log(&mut self, ended: Ended) {
        let logs = self.hands.logs.clone();
        self.saving.spawn(async move { logs.save(&ended).await });
    }

    /// The next that ends; never, where nothing was started. Cancel-safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<Outcome> {
        match self.running.join_next().await {
            Some(outcome) => Ok(outcome?),
            None => std::future::pending().await,
        }
    }

    pub(super) fn try_next(&mut self) -> anyhow::Result<Option<Outcome>> {
        while let Some(saved) = self.saving.try_join_next() {
            saved?;
        }
        Ok(self.running.try_join_next().transpose()?)
    }
}

impl Hands {
    async fn take(self, step: Step, ended: Option<Ended>) -> Answer {
        match step {
            Step::Create(pod) => self.create(&pod).await,
            Step::Delete { namespace, name, uid } => {
                if let Some(ended) = ended {
                    self.logs.save_in_time(&ended).await;
                }
                self.write(CALL, || self.pods.delete(&namespace, &name, &uid)).await
            }
            Step::Bind { namespace, name, uid, node } => {
                self.write(CALL, || self.pods.bind(&namespace, &name, &uid, &node)).await
            }
            Step::Forget { run, settings } => self.forget(&run, &settings).await,
        }
    }

    /// A pod that finds no directory for its reports is not made.
    async fn create(&self, pod: &CreatePod) -> Answer {
        match self.directories.begin(&pod.settings, &pod.run).await {
            Ok(()) => self.write(CALL, || self.pods.create(pod)).await,
            Err(why) => Answer::Refused { why },
        }
    }

    /// The pods first: what they still post is refused once the run is gone.
    async fn forget(&self, run: &str, settings: &RunSettings) -> Answer {
        match self.write(CALL_OF_MANY, || self.pods.forget(&settings.namespace, run)).await {
            Answer::Done | Answer::Gone | Answer::Made(_) => {}
            Answer::Refused { why } | Answer::Unknown { why } => return Answer::Unknown { why },
        }
        self.logs.forget(run).await;
        match self.directories.forget(settings, run).await {
            Ok(()) => Answer::Done,
            Err(why) => Answer::Unknown { why },
        }
    }

    async fn write<F: Future<Output = Answer>>(&self, patience: Duration, call: impl FnOnce() -> F) -> Answer {
        // Never closed.
        let _permit = self.permits.acquire().await;
        if !self.authority.holds() {
            // A refusal would be an attempt of the node, and the next leader would find it failed.
            return Answer::Unknown { why: "this coordinator does not lead any more".to_owned() };
        }
        let late = || Answer::Unknown { why: format!("no answer within {} seconds", patience.as_secs()) };
        timeout(patience, call()).await.unwrap_or_else(|_| late())
    }
}

fn key(step: &Step) -> StepKey {
    match step {
        Step::Create(pod) => StepKey::Create { namespace: pod.settings.namespace.clone(), name: pod.name.clone() },
        Step::Delete { uid, .. } => StepKey::Delete { uid: uid.clone() },
        Step::Bind { uid, .. } => StepKey::Bind { uid: uid.clone() },
        Step::Forget { run, .. } => StepKey::Forget { run: run.clone() },
    }
}

fn tell(key: &StepKey, answer: &Answer) {
    let (outcome, why) = match answer {
        Answer::Made(_) | Answer::Done | Answer::Gone => return,
        Answer::Refused { why } => ("refused", why),
        Answer::Unknown { why } => ("unknown", why),
    };
    let (step, of) = match key {
        StepKey::Create { name, .. } => ("create", name),
        StepKey::Delete { uid } => ("delete", uid),
        StepKey::Bind { uid } => ("bind", uid),
        StepKey::Forget { run } => ("forget", run),
    };
    tracing::warn!(step, of, outcome, why, "a step of a run was not done");
}
