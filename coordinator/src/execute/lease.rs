//! Reads and writes the Lease. Every call ends in time, and what it writes is the elector's.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_decide::leadership::{Answer, Claim, Lease as Seen};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};

/// Where the holder's API is.
pub const ADDRESS: &str = "jobmeter.io/address";

/// One Lease, as one candidate sees it.
pub struct LeaseObject {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    address: Option<String>,
    /// As it was read last, so that what others wrote into it stays.
    last: Option<Lease>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(
        "the coordinator's ServiceAccount may not {action} the Lease {name} in namespace {namespace}: grant it get, create and \
         update of leases in coordination.k8s.io there, by a Role and a RoleBinding ({why})"
    )]
    Forbidden { action: &'static str, namespace: String, name: String, why: String },
    #[error("failed to {action} the Lease {name} in namespace {namespace}: no answer within {} s", within.as_secs_f32())]
    NoAnswer { action: &'static str, namespace: String, name: String, within: Duration },
    #[error("failed to {action} the Lease {name} in namespace {namespace}")]
    Failed {
        action: &'static str,
        namespace: String,
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the Lease {name} in namespace {namespace} cannot be used: {why}")]
    Unusable { namespace: String, name: String, why: String },
}

impl LeaseObject {
    /// `identity` is written as the holder, `address` tells the others where it can be asked.
    pub fn new(client: kube::Client, namespace: &str, name: &str, identity: String, address: Option<String>) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), name: name.to_owned(), identity, address, last: None }
    }

    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Where that holder said that it can be asked.
    pub fn address_of(&self, holder: &str) -> Option<String> {
        let lease = self.last.as_ref()?;
        let holds = lease.spec.as_ref()?.holder_identity.as_deref() == Some(holder);
        lease.metadata.annotations.as_ref()?.get(ADDRESS).filter(|_| holds).cloned()
    }

    pub async fn get(&mut self, within: Duration) -> Result<Answer, LeaseError> {
        match self.within("read", within, self.api.get_opt(&self.name)).await? {
            Ok(Some(lease)) => self.seen(lease).map(Answer::Found),
            Ok(None) => Ok(Answer::Absent),
            Err(err) => Err(self.failed("read", err)),
        }
    }

    pub async fn create(&mut self, claim: &Claim, within: Duration) -> Result<Answer, LeaseError> {
        let lease = self.written(ObjectMeta::default(), LeaseSpec::default(), claim)?;
        match self.within("create", within, self.api.create(&PostParams::default(), &lease)).await? {
            Ok(lease) => self.seen(lease).map(Answer::Written),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Answer::Conflict),
            Err(err) => Err(self.failed("create", err)),
        }
    }

    pub async fn replace(&mut self, resource_version: &str, claim: &Claim, within: Duration) -> Result<Answer, LeaseError> {
        let known = self.last.clone().unwrap_or_default();
        let metadata = ObjectMeta { resource_version: Some(resource_version.to_owned()), ..known.metadata };
        let lease = self.written(metadata, known.spec.unwrap_or_default(), claim)?;
        match self.within("update", within, self.api.replace(&self.name, &PostParams::default(), &lease)).await? {
            Ok(lease) => self.seen(lease).map(Answer::Written),
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Answer::Conflict),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Answer::Absent),
            Err(err) => Err(self.failed("update", err)),
        }
    }

    /// The object that is to be written over `metadata` and `spec`.
    fn written(&self, metadata: ObjectMeta, spec: LeaseSpec, claim: &Claim) -> Result<Lease, LeaseError> {
        let now = MicroTime(Timestamp::now());
        let mut annotations: BTreeMap<String, String> = metadata.annotations.unwrap_or_default();
        annotations.remove(ADDRESS);
        if let Some(address) = self.address.as_ref().filter(|_| !claim.holder.is_empty()) {
            annotations.insert(ADDRESS.to_owned(), address.clone());
        }
        let seconds = i32::try_from(claim.duration.as_secs());
        let transitions = i32::try_from(claim.transitions);
        let (Ok(seconds), Ok(transitions)) = (seconds, transitions) else {
            return Err(self.unusable("its leaseTransitions or leaseDurationSeconds would be too large; delete the Lease"));
        };
        Ok(Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                annotations: Some(annotations),
                managed_fields: None,
                ..metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(claim.holder.clone()),
                lease_duration_seconds: Some(seconds),
                lease_transitions: Some(transitions),
                acquire_time: if claim.acquires { Some(now.clone()) } else { spec.acquire_time.clone() },
                renew_time: Some(now),
                ..spec
            }),
        })
    }

    fn seen(&mut self, lease: Lease) -> Result<Seen, LeaseError> {
        let spec = lease.spec.clone().unwrap_or_default();
        let resource_version = lease.metadata.resource_version.clone().unwrap_or_default();
        let transitions = u64::try_from(spec.lease_transitions.unwrap_or(0))
            .map_err(|_| self.unusable("its leaseTransitions is negative; delete the Lease"))?;
        // As Kubernetes' own controllers read a Lease that says nothing: over at once.
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        self.last = Some(lease);
        Ok(Seen {
            resource_version,
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(seconds),
            transitions,
        })
    }

    async fn within<T>(
        &self,
        action: &'static str,
        within: Duration,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Result<T, kube::Error>, LeaseError> {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        tokio::time::timeout(within, call).await.map_err(|_| LeaseError::NoAnswer { action, namespace, name, within })
    }

    fn failed(&self, action: &'static str, err: kube::Error) -> LeaseError {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        match err {
            kube::Error::Api(status) if status.is_forbidden() => {
                LeaseError::Forbidden { action, namespace, name, why: status.message.clone() }
            }
            source => LeaseError::Failed { action, namespace, name, source: Box::new(source) },
        }
    }

    fn unusable(&self, why: &str) -> LeaseError {
        LeaseError::Unusable { namespace: self.namespace.clone(), name: self.name.clone(), why: why.to_owned() }
    }
}

impl fmt::Display for LeaseObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
