//! Events that pods of runs ask for, as objects of `events.k8s.io/v1`.
//!
//! In: what a pod says about itself. Out: an Event regarding that pod, which `kubectl describe pod` shows. Owner: the callbacks of the
//! coordinator that leads.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use jobmeter_daemon::error::chain;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::timeout;
use uuid::Uuid;

use crate::execute::places::failure::Failure;

/// Who reports it, beside the pod of the coordinator.
const CONTROLLER: &str = "jobmeter.io/coordinator";
const CALL: Duration = Duration::from_secs(10);
/// Limits of the API server, in bytes.
const MOST_NOTE: usize = 1024;
const MOST_INSTANCE: usize = 128;
/// An object's name has 253; the rest is a number of the Event's own.
const MOST_POD: usize = 200;
const NO_ACTION: &str = "n/a";

/// What a pod wants to be said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    pub namespace: String,
    pub pod: String,
    /// Of type `Warning`; else `Normal`.
    pub warning: bool,
    /// `UpperCamel`, 128 bytes at most.
    pub reason: String,
    /// `n/a` where absent or empty.
    pub action: Option<String>,
    /// As it is to be read; what is longer than 1024 bytes is cut.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("there is no pod {namespace}/{pod} any more")]
    NoPod { namespace: String, pod: String },
    /// Surely not written: it is not what the API server takes, or we may not.
    #[error("the Event of pod {namespace}/{pod} was refused: {why}")]
    Refused { namespace: String, pod: String, why: String },
    #[error("nobody knows whether the Event of pod {namespace}/{pod} was written: {why}")]
    Unknown { namespace: String, pod: String, why: String },
}

pub trait RunEvents: Send + Sync {
    /// Each call writes an Event of its own. Ends within twenty seconds.
    fn post(&self, event: PodEvent) -> BoxFuture<'_, Result<(), EventError>>;
}

pub struct KubeRunEvents {
    client: Client,
    /// Name of the coordinator's own pod.
    instance: String,
}

impl KubeRunEvents {
    /// `instance`: who reports, best the name of the coordinator's own pod.
    pub fn new(client: Client, instance: &str) -> Self {
        let instance = if instance.is_empty() { "coordinator" } else { cut(instance, MOST_INSTANCE) };
        Self { client, instance: instance.to_owned() }
    }

    async fn write(&self, event: PodEvent) -> Result<(), EventError> {
        let (namespace, pod) = (event.namespace.clone(), event.pod.clone());
        let failed = |failure| {
            let (namespace, pod) = (namespace.clone(), pod.clone());
            match failure {
                Failure::Gone => EventError::NoPod { namespace, pod },
                Failure::Refused(why) | Failure::Overtaken(why) => EventError::Refused { namespace, pod, why },
                Failure::Unknown(why) => EventError::Unknown { namespace, pod, why },
            }
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let about = self.call(pods.get(&pod)).await.map_err(failed)?;
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let object = object(event, &about, &self.instance, Timestamp::now());
        let written = self.call(events.create(&PostParams::default(), &object)).await;
        written.map(drop).map_err(|failure| match failure {
            // The namespace: the pod was there.
            Failure::Gone => failed(Failure::Refused(format!("the namespace {namespace} takes no Events"))),
            failure => failed(failure),
        })
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        match timeout(CALL, call).await {
            Ok(answer) => answer.map_err(|err| failure(&err)),
            Err(_) => Err(Failure::Unknown(format!("no answer within {} seconds", CALL.as_secs()))),
        }
    }
}

impl RunEvents for KubeRunEvents {
    fn post(&self, event: PodEvent) -> BoxFuture<'_, Result<(), EventError>> {
        self.write(event).boxed()
    }
}

/// A server that has no time now says nothing about the Event.
fn failure(err: &kube::Error) -> Failure {
    match err {
        kube::Error::Api(status) if matches!(status.code, 401 | 408 | 429) => Failure::Unknown(chain(err)),
        err => Failure::of(err),
    }
}

fn object(event: PodEvent, about: &Pod, instance: &str, now: Timestamp) -> Event {
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(event.namespace.clone()),
        name: Some(event.pod.clone()),
        uid: about.metadata.uid.clone(),
        resource_version: about.metadata.resource_version.clone(),
        field_path: None,
    };
    let name = format!("{}.{}", cut(&event.pod, MOST_POD).trim_end_matches(['.', '-']), Uuid::new_v4().simple());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(event.namespace), ..ObjectMeta::default() },
        event_time: Some(MicroTime(now)),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason),
        action: Some(event.action.filter(|action| !action.is_empty()).unwrap_or_else(|| NO_ACTION.to_owned())),
        note: Some(cut(&event.note, MOST_NOTE).to_owned()),
        related: Some(regarding.clone()),
        regarding: Some(regarding),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

/// So many bytes at most, of whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests;
