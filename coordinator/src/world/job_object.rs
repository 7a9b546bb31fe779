//! `batch/v1` Job → [`JobObject`]. Pure.

use jobmeter_decide::job_view::{JobCondition, JobObject};
use jobmeter_protocol::OwnerRef;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// `None` for an object without UID, name or namespace, which no API server sends.
pub(crate) fn job_object(job: &Job) -> Option<JobObject> {
    let meta = &job.metadata;
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |name: &str| conditions.iter().find(|condition| condition.type_ == name && condition.status == "True");
    let (condition, since) = match (holds("Failed"), holds("Complete")) {
        (Some(failed), _) => (JobCondition::Failed, failed.last_transition_time.as_ref()),
        (None, Some(complete)) => (JobCondition::Complete, complete.last_transition_time.as_ref()),
        (None, None) => (JobCondition::Active, None),
    };
    let completed = status.and_then(|status| status.completion_time.as_ref());
    Some(JobObject {
        namespace: meta.namespace.clone()?,
        owner: OwnerRef {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
        },
        parent: controller(meta),
        condition,
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        finished: completed.or(since).map(|time| time.0),
    })
}

/// The owner that manages an object, of which there is at most one.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<OwnerRef> {
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(OwnerRef {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapped(status: serde_json::Value) -> JobObject {
        let job = json!({
            "metadata": {
                "name": "pi-29", "namespace": "science", "uid": "2", "creationTimestamp": "2026-11-20T10:00:00Z",
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "pi", "uid": "1", "controller": true}]
            },
            "status": status
        });
        job_object(&serde_json::from_value(job).unwrap()).unwrap()
    }

    #[test]
    fn a_job_is_over_when_a_condition_says_so_and_not_before() {
        assert_eq!(mapped(json!({"succeeded": 1})).condition, JobCondition::Active);
        let target =
            json!({"conditions": [{"type": "FailureTarget", "status": "True"}, {"type": "Complete", "status": "False"}]});
        assert_eq!(mapped(target).condition, JobCondition::Active);
        let failed =
            mapped(json!({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-11-20T10:01:00Z"}]}));
        assert_eq!(failed.condition, JobCondition::Failed);
        assert_eq!(failed.finished.unwrap().to_string(), "2026-11-20T10:01:00Z");
    }

    #[test]
    fn the_cron_job_above_it_is_its_parent() {
        assert_eq!(mapped(json!({})).parent.unwrap().kind, "CronJob");
    }
}
