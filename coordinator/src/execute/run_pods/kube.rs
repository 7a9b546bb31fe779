//! [`RunPods`] of a cluster.
//!
//! In: what the runs task decided. Out: pods, and answers that never claim more than is known: what was refused was surely not done,
//! what nobody knows may be done again. Whoever calls asks for the authority right before, and ends what takes too long.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jobmeter_daemon::error::chain;
use jobmeter_decide::runs::{Answer, CreatePod, RunPod};
use jobmeter_protocol::runs::RUN_LABEL;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::Request;
use serde_json::{Value, json};

use super::environment::Callbacks;
use super::pod::{Forced, manifest};
use super::{Owner, RunPods, SaveLogsError, save_logs};
use crate::execute::places::failure::Failure;
use crate::runs::TokenKey;
use crate::runs::address::{AddressError, Addresses};
use crate::runs::definition::template::{Fields, render};
use crate::runs::reports::ReportDirectory;

mod answers;

use answers::{bound, in_the_way, not_made, ours, passing};

pub struct KubeRunPods {
    client: Client,
    key: TokenKey,
    addresses: Arc<Addresses>,
    owner: Owner,
}

impl KubeRunPods {
    /// `key`: of the tokens in the URLs that pods are given. `owner`: with whom the pods go.
    pub fn new(client: Client, key: TokenKey, addresses: Arc<Addresses>, owner: Owner) -> Self {
        Self { client, key, addresses, owner }
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn manifest(&self, pod: &CreatePod) -> Result<Value, Answer> {
        let settings = &pod.settings;
        let refused = |why: String| Answer::Refused { why };
        let address = self.addresses.of(settings).await.map_err(|err| match err {
            AddressError::Unknown { .. } => Answer::Unknown { why: err.to_string() },
            err => refused(err.to_string()),
        })?;
        let owner = self.owner.of(&settings.namespace).await.map_err(|why| Answer::Unknown { why })?;
        let token = self.key.token(&pod.run, &pod.node, pod.attempt);
        let callbacks = Callbacks::new(&address, pod, &token).map_err(|err| refused(err.to_string()))?;
        let fields = Fields { namespace: &settings.namespace, execution_id: &pod.run, node_name: &pod.node };
        let template = render(&settings.pod_template, fields).map_err(|err| refused(chain(&err)))?;
        let forced = Forced { pod, callbacks: &callbacks, owner: owner.as_ref() };
        manifest(template, &forced).map_err(|err| refused(format!("of {}: {err}", settings.name)))
    }

    async fn make(&self, pod: &CreatePod) -> Result<Answer, Answer> {
        let manifest = self.manifest(pod).await?;
        let namespace = &pod.settings.namespace;
        let body = serde_json::to_vec(&manifest).map_err(|err| Answer::Refused { why: err.to_string() })?;
        let request = Request::new(collection(namespace)).create(&PostParams::default(), body);
        let request = request.map_err(|err| Answer::Refused { why: err.to_string() })?;
        match self.client.request::<Pod>(request).await {
            Ok(made) => Ok(match ours(&made, pod) {
                Some(made) => Answer::Made(Box::new(made)),
                // Somebody's webhook took away what it is known by. The next attempt finds it in its way, and says so.
                None => Answer::Unknown { why: format!("the pod {namespace}/{} lost its task when it was made", pod.name) },
            }),
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.there(pod).await,
            Err(err) => Err(not_made(&err)),
        }
    }

    /// Something of that name is there.
    async fn there(&self, pod: &CreatePod) -> Result<Answer, Answer> {
        let namespace = &pod.settings.namespace;
        match self.pods(namespace).get(&pod.name).await {
            Ok(there) => Ok(ours(&there, pod).map_or_else(
                || Answer::Refused { why: in_the_way(&there, namespace, &pod.name) },
                |there| Answer::Made(Box::new(there)),
            )),
            Err(err) => Err(match Failure::of(&err) {
                Failure::Gone => Answer::Unknown { why: "it was there, and then it was not".to_owned() },
                Failure::Overtaken(why) | Failure::Refused(why) | Failure::Unknown(why) => Answer::Unknown { why },
            }),
        }
    }

    async fn remove(&self, namespace: &str, name: &str, uid: &str) -> Answer {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams::background().preconditions(preconditions);
        match self.pods(namespace).delete(name, &parameters).await {
            Ok(_) => Answer::Done,
            Err(err) => match Failure::of(&err) {
                Failure::Gone => Answer::Gone,
                // It is another pod of that name, or somebody wrote it just now.
                Failure::Overtaken(why) => self.look(namespace, name, uid, |_| Answer::Unknown { why }).await,
                Failure::Refused(why) => passing(&err, why),
                Failure::Unknown(why) => Answer::Unknown { why },
            },
        }
    }

    async fn bind_to(&self, namespace: &str, name: &str, uid: &str, node: &str) -> Answer {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}
        });
        let request = Request::new(collection(namespace));
        let request = request.create_subresource("binding", name, &PostParams::default(), binding.to_string().into_bytes());
        let request = match request {
            Ok(request) => request,
            Err(err) => return Answer::Refused { why: err.to_string() },
        };
        let Err(err) = self.client.request::<Value>(request).await else { return Answer::Done };
        match Failure::of(&err) {
            Failure::Gone => Answer::Gone,
            Failure::Overtaken(why) => self.look(namespace, name, uid, |there| bound(there, node, why)).await,
            Failure::Refused(why) => passing(&err, why),
            Failure::Unknown(why) => Answer::Unknown { why },
        }
    }

    /// What became of the pod of that UID, if it is still there.
    async fn look(&self, namespace: &str, name: &str, uid: &str, judge: impl FnOnce(&Pod) -> Answer) -> Answer {
        match self.pods(namespace).get_opt(name).await {
            Ok(Some(there)) if there.metadata.uid.as_deref() == Some(uid) => judge(&there),
            Ok(_) => Answer::Gone,
            Err(err) => Answer::Unknown { why: chain(&err) },
        }
    }
}

impl RunPods for KubeRunPods {
    fn create<'a>(&'a self, pod: &'a CreatePod) -> BoxFuture<'a, Answer> {
        async move { self.make(pod).await.unwrap_or_else(|answer| answer) }.boxed()
    }

    fn delete<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str) -> BoxFuture<'a, Answer> {
        self.remove(namespace, name, uid).boxed()
    }

    fn bind<'a>(&'a self, namespace: &'a str, name: &'a str, uid: &'a str, node: &'a str) -> BoxFuture<'a, Answer> {
        self.bind_to(namespace, name, uid, node).boxed()
    }

    fn forget<'a>(&'a self, namespace: &'a str, run: &'a str) -> BoxFuture<'a, Answer> {
        async move {
            let of_run = ListParams::default().labels(&format!("{RUN_LABEL}={run}"));
            match self.pods(namespace).delete_collection(&DeleteParams::background(), &of_run).await {
                Ok(_) => Answer::Done,
                Err(err) => match Failure::of(&err) {
                    // A namespace that went took its pods along.
                    Failure::Gone => Answer::Done,
                    Failure::Refused(why) => passing(&err, why),
                    Failure::Overtaken(why) | Failure::Unknown(why) => Answer::Unknown { why },
                },
            }
        }
        .boxed()
    }

    fn save_logs<'a>(&'a self, pod: &'a RunPod, reports: &'a ReportDirectory) -> BoxFuture<'a, Result<(), SaveLogsError>> {
        save_logs::save(self.pods(&pod.namespace), pod, reports.path()).boxed()
    }
}

fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

#[cfg(test)]
mod tests;
