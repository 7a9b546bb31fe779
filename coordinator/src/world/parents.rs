//! Who owns an owner: one `get` of metadata, of whatever kind it is, remembered.
//!
//! Inputs: owner references. Output: [`Parent`]. No kind is assumed: the API server is asked which resource a kind is.
//! What may not be seen (403) or is gone (404) ends the chain there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobmeter_protocol::OwnerRef;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use tokio::time::Instant;

use super::job_object::controller;

/// kube itself waits for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// An owner reference never changes in practice; what was missing or forbidden may be there later.
const GOOD_FOR: Duration = Duration::from_secs(3600);
const MISSING_FOR: Duration = Duration::from_secs(60);
/// One for each object that owns pods or owns such an object; some MiB.
const MAX_ENTRIES: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Owner(OwnerRef),
    /// Nothing owns it.
    Top,
    /// Not to be known.
    Forbidden,
    /// Gone, or another object bears its name now.
    NotFound,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ParentError {
    #[error("failed to look up {kind} {name}")]
    Api {
        kind: String,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("the API server did not answer in time about {kind} {name}")]
    TimedOut { kind: String, name: String },
}

pub(crate) struct Parents {
    client: kube::Client,
    /// By UID.
    known: Mutex<HashMap<String, (Instant, Parent)>>,
    /// By group, version and kind; `None` for a kind that the API server does not have.
    resources: Mutex<HashMap<GroupVersionKind, (Instant, Option<Resource>)>>,
}

type Resource = (ApiResource, Scope);

impl Parents {
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client, known: Mutex::default(), resources: Mutex::default() }
    }

    /// From a watch that has the object anyway.
    pub(crate) fn learn(&self, uid: &str, parent: Option<OwnerRef>) {
        self.remember(uid, &parent.map_or(Parent::Top, Parent::Owner));
    }

    pub(crate) async fn of(&self, namespace: &str, owner: &OwnerRef) -> Result<Parent, ParentError> {
        // No object of the API server.
        if jobmeter_kubepod::is_run(owner) {
            return Ok(Parent::Top);
        }
        if let Some(parent) = self.recall(&owner.uid) {
            return Ok(parent);
        }
        let (kind, name) = (owner.kind.clone(), owner.name.clone());
        let parent = match tokio::time::timeout(PATIENCE, self.ask(namespace, owner)).await {
            Err(_) => return Err(ParentError::TimedOut { kind, name }),
            Ok(Ok(parent)) => parent,
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Parent::Forbidden,
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Parent::NotFound,
            Ok(Err(source)) => return Err(ParentError::Api { kind, name, source }),
        };
        self.remember(&owner.uid, &parent);
        Ok(parent)
    }

    async fn ask(&self, namespace: &str, owner: &OwnerRef) -> Result<Parent, kube::Error> {
        let Some((resource, scope)) = self.resource(owner).await? else { return Ok(Parent::NotFound) };
        let objects: Api<DynamicObject> = match scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        };
        let object = objects.get_metadata(&owner.name).await?;
        if object.metadata.uid.as_ref() != Some(&owner.uid) {
            return Ok(Parent::NotFound);
        }
        Ok(controller(&object.metadata).map_or(Parent::Top, Parent::Owner))
    }

    async fn resource(&self, owner: &OwnerRef) -> Result<Option<Resource>, kube::Error> {
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        let kind = GroupVersionKind::gvk(group, version, &owner.kind);
        if let Some((until, resource)) = lock(&self.resources).get(&kind)
            && *until > Instant::now()
        {
            return Ok(resource.clone());
        }
        let (lasts, resource) = match pinned_kind(&self.client, &kind).await {
            Ok((resource, capabilities)) => (GOOD_FOR, Some((resource, capabilities.scope))),
            Err(kube::Error::Discovery(_)) => (MISSING_FOR, None),
            Err(kube::Error::Api(status)) if status.is_not_found() => (MISSING_FOR, None),
            Err(err) => return Err(err),
        };
        let mut resources = lock(&self.resources);
        if resources.len() >= MAX_ENTRIES {
            resources.clear();
        }
        resources.insert(kind, (Instant::now() + lasts, resource.clone()));
        Ok(resource)
    }

    fn recall(&self, uid: &str) -> Option<Parent> {
        lock(&self.known).get(uid).filter(|(until, _)| *until > Instant::now()).map(|(_, parent)| parent.clone())
    }

    fn remember(&self, uid: &str, parent: &Parent) {
        let lasts = match parent {
            Parent::Owner(_) | Parent::Top => GOOD_FOR,
            Parent::Forbidden | Parent::NotFound => MISSING_FOR,
        };
        let mut known = lock(&self.known);
        if known.len() >= MAX_ENTRIES && !known.contains_key(uid) {
            let now = Instant::now();
            known.retain(|_, (until, _)| *until > now);
            if known.len() >= MAX_ENTRIES {
                known.clear();
            }
        }
        known.insert(uid.to_owned(), (Instant::now() + lasts, parent.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
