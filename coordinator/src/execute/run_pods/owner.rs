//! What the pods of runs go with: the top-most owner of the coordinator's own pod, so that removing Jobmeter removes them.
//!
//! In: the name of that pod. Out: the reference that is written onto each pod made, found once. Owner: whoever makes the pods.

use jobmeter_daemon::error::chain;
use jobmeter_protocol::OwnerRef;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::api::Api;
use tokio::sync::OnceCell;

use crate::world::job_object::controller;
use crate::world::owners::{self, End};
use crate::world::parents::Parents;

pub struct Owner {
    client: Client,
    /// Namespace and name of the coordinator's pod.
    own_pod: Option<(String, String)>,
    found: OnceCell<Option<OwnerReference>>,
}

impl Owner {
    /// `own_pod`: namespace and name of the coordinator's own pod. Without it pods of runs have no owner.
    pub fn new(client: Client, own_pod: Option<(String, String)>) -> Self {
        Self { client, own_pod, found: OnceCell::new() }
    }

    /// For pods of that namespace: an owner in another one would have the garbage collector delete them. `Err`: not known now.
    pub(super) async fn of(&self, namespace: &str) -> Result<Option<OwnerReference>, String> {
        match &self.own_pod {
            Some((own, pod)) if own == namespace => self.found.get_or_try_init(|| self.find(own, pod)).await.cloned(),
            _ => Ok(None),
        }
    }

    async fn find(&self, namespace: &str, name: &str) -> Result<Option<OwnerReference>, String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let failed = |why: String| format!("the owner of the coordinator's own pod {namespace}/{name} could not be read: {why}");
        let pod = match pods.get(name).await {
            Ok(pod) => pod,
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {
                return Ok(none(namespace, name, &status.message));
            }
            Err(err) => return Err(failed(chain(&err))),
        };
        let Some(first) = controller(&pod.metadata) else { return Ok(none(namespace, name, "it has no owner")) };
        let parents = Parents::new(self.client.clone());
        let (chain, end) = owners::chain(&parents, namespace, first).await.map_err(|err| failed(chain(&err)))?;
        match (chain.last(), end) {
            // A node is not what Jobmeter is removed with.
            (Some(top), End::Top | End::Forbidden | End::TooDeep) if top.kind != "Node" => Ok(Some(reference(top))),
            _ => Ok(none(namespace, name, "its owner is a node, or is gone")),
        }
    }
}

fn none(namespace: &str, pod: &str, why: &str) -> Option<OwnerReference> {
    tracing::warn!(namespace, pod, why, "pods of runs get no owner: they stay when the coordinator is removed");
    None
}

/// It does not manage them, it only takes them along.
fn reference(top: &OwnerRef) -> OwnerReference {
    OwnerReference {
        api_version: top.api_version.clone(),
        kind: top.kind.clone(),
        name: top.name.clone(),
        uid: top.uid.clone(),
        ..OwnerReference::default()
    }
}
