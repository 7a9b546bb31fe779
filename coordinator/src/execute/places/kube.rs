//! [`Places`] of a cluster. Objects are read and patched as raw JSON, so that nothing of a newer Kubernetes is lost on the way.
//!
//! In: an API server. Out: one `get` and one `patch` for a reservation, one `patch` for the release that follows it. A patch that
//! was overtaken is tried again at once, on what is there then: a young pod changes often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use jobmeter_decide::pool::{Answer, Kind, Member, Target};
use jobmeter_protocol::PoolSlot;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{GetParams, Patch, PatchParams};
use kube::core::Request;
use serde_json::Value;

use super::failure::Failure;
use super::patch::{self, Not};
use super::{Places, Surroundings};
use crate::pool::member::{of_job, of_pod};
use crate::pool::requirements::Shared;

/// Of one write, each on a fresh reading.
const ATTEMPTS: usize = 4;
/// Objects that were just reserved and are about to be released.
const RECENT: usize = 256;

pub struct KubePlaces {
    client: Client,
    surroundings: Arc<Surroundings>,
    shared: Mutex<Shared>,
    /// As they were after their reservation, by UID: the release needs no reading of its own.
    recent: Mutex<HashMap<Arc<str>, Value>>,
}

impl KubePlaces {
    pub fn new(client: Client, surroundings: Arc<Surroundings>) -> Self {
        Self { client, surroundings, shared: Mutex::default(), recent: Mutex::default() }
    }

    async fn get(&self, target: &Target) -> Result<Value, Failure> {
        let request = collection(target).get(&target.name, &GetParams::default());
        let request = request.map_err(|err| Failure::Refused(err.to_string()))?;
        self.client.request(request).await.map_err(|err| Failure::of(&err))
    }

    async fn patch(&self, target: &Target, operations: Value) -> Result<Value, Failure> {
        let operations = serde_json::from_value(operations).map_err(|err| Failure::Refused(err.to_string()))?;
        let request = collection(target).patch(&target.name, &PatchParams::default(), &Patch::Json::<()>(operations));
        let request = request.map_err(|err| Failure::Refused(err.to_string()))?;
        self.client.request(request).await.map_err(|err| Failure::of(&err))
    }

    /// On `known` first, where it is given; then on what is read.
    async fn write(
        &self,
        target: &Target,
        known: Option<Value>,
        build: impl Fn(&Value) -> Result<Value, Not>,
    ) -> Result<(Value, Member), Answer> {
        let mut known = known;
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            let read = match known.take() {
                Some(object) => Ok((object, false)),
                None => self.get(target).await.map(|object| (object, true)),
            };
            let (object, fresh) = read.map_err(answer)?;
            let operations = match build(&object) {
                Ok(operations) => operations,
                Err(Not::Another) => return Err(Answer::Gone),
                Err(Not::Refused(why)) => return Err(Answer::Refused { why }),
                Err(Not::Changed(_)) if !fresh => continue,
                // Nothing was written, but what the ledger believes is wrong.
                Err(Not::Changed(why)) => return Err(Answer::Unknown { why }),
            };
            match self.patch(target, operations).await {
                Ok(after) => {
                    let member = self.member(target.kind, &after).map_err(|why| Answer::Unknown { why })?;
                    return Ok((after, member));
                }
                Err(Failure::Overtaken(overtaken)) => why = overtaken,
                Err(failure) => return Err(answer(failure)),
            }
        }
        Err(Answer::Refused { why: format!("it kept changing while it was written: {why}") })
    }

    fn member(&self, kind: Kind, object: &Value) -> Result<Member, String> {
        use serde::Deserialize;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let member = match kind {
            Kind::Pod => Pod::deserialize(object).map(|pod| of_pod(&pod, &mut shared)),
            Kind::Job => Job::deserialize(object).map(|job| of_job(&job, &mut shared)),
        };
        member
            .map_err(|err| format!("the answer cannot be read: {err}"))?
            .ok_or_else(|| "the answer has no UID or no spec".to_owned())
    }

    fn remember(&self, target: &Target, object: Value) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        // What was never released is of no use any more; the others are read again.
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(target.uid.clone(), object);
    }

    fn recall(&self, target: &Target) -> Option<Value> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).remove(&target.uid)
    }
}

impl Places for KubePlaces {
    fn reserve<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer> {
        async move {
            match self.write(target, None, |object| patch::reserve(target.kind, object, &target.uid, slot)).await {
                Ok((object, member)) => {
                    self.remember(target, object);
                    Answer::Done(Box::new(member))
                }
                Err(answer) => answer,
            }
        }
        .boxed()
    }

    fn release<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer> {
        async move {
            let restriction = match self.surroundings.restriction(slot) {
                Ok(restriction) => restriction,
                Err(why) => return Answer::Refused { why },
            };
            let build = |object: &Value| patch::release(target.kind, object, &target.uid, slot, &restriction);
            match self.write(target, self.recall(target), build).await {
                Ok((_, member)) => Answer::Done(Box::new(member)),
                Err(answer) => answer,
            }
        }
        .boxed()
    }

    fn look<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Option<Member>, String>> {
        async move {
            match self.get(target).await {
                Ok(object) => {
                    let member = self.member(target.kind, &object)?;
                    Ok((member.uid == target.uid).then_some(member))
                }
                Err(Failure::Gone) => Ok(None),
                Err(Failure::Overtaken(why) | Failure::Refused(why) | Failure::Unknown(why)) => Err(why),
            }
        }
        .boxed()
    }
}

fn collection(target: &Target) -> Request {
    Request::new(match target.kind {
        Kind::Pod => format!("/api/v1/namespaces/{}/pods", target.namespace),
        Kind::Job => format!("/apis/batch/v1/namespaces/{}/jobs", target.namespace),
    })
}

fn answer(failure: Failure) -> Answer {
    match failure {
        Failure::Gone => Answer::Gone,
        Failure::Overtaken(why) | Failure::Refused(why) => Answer::Refused { why },
        Failure::Unknown(why) => Answer::Unknown { why },
    }
}
