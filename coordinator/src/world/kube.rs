//! Watches pods and Jobs of a cluster and tells the world. Only what may be a job is passed on.
//!
//! Inputs: list and watch of `v1` Pods and `batch/v1` Jobs. Output: [`Event`]s, in order, a list as one of them. Owner: one
//! task for each resource and namespace.

use jobmeter_daemon::error::chain;
use std::collections::HashSet;
use std::fmt::Debug;

use futures::StreamExt;
use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_decide::metered::{Metered, Scope};
use jobmeter_kubepod::{api_pod, kubelet_uid};
use jobmeter_protocol::ApiPod;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::job_object::job_object;
use super::{Event, Seen};
use crate::metrics::Metrics;

/// The API server ends a watch after this many seconds; so long a path that died silently goes unnoticed.
const WATCH_SECONDS: u32 = 90;

pub(crate) const PODS: &str = "pods";
pub(crate) const JOBS: &str = "jobs";

pub(crate) struct Watching {
    pub(crate) client: Client,
    /// All namespaces where absent.
    pub(crate) namespace: Option<String>,
    pub(crate) world: mpsc::Sender<Event>,
    pub(crate) sources: SourceBoard,
    pub(crate) metrics: Metrics,
}

/// How one kind of object becomes news.
trait Translate<K> {
    /// A list begins.
    fn begin(&mut self);
    fn listed(&mut self, object: &K);
    fn end(&mut self, namespace: Option<String>) -> Event;
    fn applied(&mut self, object: &K) -> Option<Event>;
    fn gone(&mut self, object: &K) -> Option<Event>;
}

pub(crate) async fn pods(watching: Watching, scope: Scope, token: CancellationToken) -> anyhow::Result<()> {
    watching.run::<Pod>(PODS, Pods { scope, listed: Vec::new(), present: HashSet::new() }, token).await
}

pub(crate) async fn jobs(watching: Watching, token: CancellationToken) -> anyhow::Result<()> {
    watching.run::<Job>(JOBS, Jobs { listed: Vec::new() }, token).await
}

impl Watching {
    async fn run<K>(self, name: &'static str, mut translate: impl Translate<K>, token: CancellationToken) -> anyhow::Result<()>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        let objects: Api<K> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let events = watcher(objects, watcher::Config::default().timeout(WATCH_SECONDS)).default_backoff();
        let mut events = std::pin::pin!(events);
        loop {
            // Cancel-safe: at shutdown what the stream holds is not needed any more.
            let event = tokio::select! {
                () = token.cancelled() => return Ok(()),
                event = events.next() => match event {
                    Some(event) => event,
                    None => anyhow::bail!("the watch of {name} ended"),
                },
            };
            let news = match event {
                Ok(event) => {
                    if matches!(event, watcher::Event::InitDone) {
                        self.sources.set(name, SourceState::Active);
                    }
                    self.translate(&mut translate, event)
                }
                Err(err) => {
                    self.metrics.watch_error(name);
                    tracing::warn!(
                        watch = name,
                        namespace = self.namespace,
                        error = &err as &dyn std::error::Error,
                        "watch failed"
                    );
                    self.sources.set(name, SourceState::Failed { error: chain(&err) });
                    None
                }
            };
            let Some(news) = news else { continue };
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                sent = self.world.send(news) => if sent.is_err() {
                    token.cancelled().await;
                    return Ok(());
                },
            }
        }
    }

    fn translate<K>(&self, translate: &mut impl Translate<K>, event: watcher::Event<K>) -> Option<Event> {
        match event {
            watcher::Event::Init => {
                translate.begin();
                None
            }
            watcher::Event::InitApply(object) => {
                translate.listed(&object);
                None
            }
            watcher::Event::InitDone => Some(translate.end(self.namespace.clone())),
            watcher::Event::Apply(object) => translate.applied(&object),
            watcher::Event::Delete(object) => translate.gone(&object),
        }
    }
}

struct Pods {
    scope: Scope,
    listed: Vec<Seen>,
    present: HashSet<String>,
}

impl Pods {
    /// `None` for what can be no job, whoever owns it.
    fn seen(&self, pod: ApiPod) -> Option<Seen> {
        match self.scope.judge(&pod, None) {
            Metered::No(_) => None,
            Metered::Yes(_) | Metered::AskOwners { .. } => Some(Seen { pod: Box::new(pod), owners: None }),
        }
    }
}

/// Under the UID by which its node knows it, so that both witnesses of a static pod speak of one record.
fn mapped(pod: &Pod) -> Option<ApiPod> {
    match api_pod(pod) {
        Ok(mut pod) => {
            pod.uid = kubelet_uid(&pod).to_owned();
            Some(pod)
        }
        Err(err) => {
            tracing::warn!(error = &err as &dyn std::error::Error, "unreadable pod from the API server");
            None
        }
    }
}

impl Translate<Pod> for Pods {
    fn begin(&mut self) {
        self.listed.clear();
        self.present.clear();
    }

    fn listed(&mut self, pod: &Pod) {
        let Some(pod) = mapped(pod) else { return };
        self.present.insert(pod.uid.clone());
        self.listed.extend(self.seen(pod));
    }

    fn end(&mut self, namespace: Option<String>) -> Event {
        let (pods, present) = (std::mem::take(&mut self.listed), std::mem::take(&mut self.present));
        Event::PodsListed { namespace, pods, present }
    }

    fn applied(&mut self, pod: &Pod) -> Option<Event> {
        mapped(pod).and_then(|pod| self.seen(pod)).map(Event::PodApplied)
    }

    fn gone(&mut self, pod: &Pod) -> Option<Event> {
        let pod = mapped(pod)?;
        Some(Event::PodGone { uid: pod.uid.clone(), last: self.seen(pod) })
    }
}

struct Jobs {
    listed: Vec<jobmeter_decide::job_view::JobObject>,
}

impl Translate<Job> for Jobs {
    fn begin(&mut self) {
        self.listed.clear();
    }

    fn listed(&mut self, job: &Job) {
        self.listed.extend(job_object(job));
    }

    fn end(&mut self, namespace: Option<String>) -> Event {
        Event::JobsListed { namespace, jobs: std::mem::take(&mut self.listed) }
    }

    fn applied(&mut self, job: &Job) -> Option<Event> {
        job_object(job).map(Event::JobApplied)
    }

    fn gone(&mut self, job: &Job) -> Option<Event> {
        // Its last state may be news, for instance with `ttlSecondsAfterFinished: 0`; the condition in the store never goes back.
        job.metadata.uid.clone().map(|uid| Event::JobGone { uid, last: job_object(job) })
    }
}
