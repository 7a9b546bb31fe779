//! The jobs that are not over, by key and by name, and what an API server would say of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jobmeter_decide::job_view::{JobCondition, JobObject};
use jobmeter_decide::local::{JobKey, JobOutcome};
use jobmeter_jobfile::{JobName, LocalJob};
use jobmeter_protocol::OwnerRef;

use super::{JobRef, SubmitError, identity};

#[derive(Default)]
pub(super) struct JobBooks {
    jobs: BTreeMap<JobKey, JobBook>,
    submitted: u64,
}

#[derive(Clone)]
pub(super) struct JobBook {
    pub(super) spec: Arc<LocalJob>,
    pub(super) name: Arc<JobRef>,
    pub(super) owner: OwnerRef,
    created: Timestamp,
}

impl JobBooks {
    pub(super) fn get(&self, key: JobKey) -> Option<&JobBook> {
        self.jobs.get(&key)
    }

    /// All of them or none: what they are called must be free.
    pub(super) fn add(&mut self, jobs: Vec<LocalJob>, now: Timestamp) -> Result<Vec<JobKey>, SubmitError> {
        let mut books: Vec<JobBook> = Vec::with_capacity(jobs.len());
        for spec in jobs {
            let namespace = spec.namespace.clone();
            let name = match &spec.name {
                JobName::Fixed(name) => name.clone(),
                JobName::Generated { prefix } => identity::job_name(prefix),
            };
            let same = |book: &JobBook| book.name.namespace == namespace && book.name.name == name;
            if self.jobs.values().any(same) {
                return Err(SubmitError::AlreadyExists { namespace, name });
            }
            if books.iter().any(same) {
                return Err(SubmitError::NamedTwice { namespace, name });
            }
            let uid = identity::uid();
            let owner =
                OwnerRef { api_version: "batch/v1".to_owned(), kind: "Job".to_owned(), name: name.clone(), uid: uid.clone() };
            books.push(JobBook { spec: Arc::new(spec), name: Arc::new(JobRef { namespace, name, uid }), owner, created: now });
        }
        let mut keys = Vec::with_capacity(books.len());
        for book in books {
            let key = JobKey(self.submitted);
            self.submitted += 1;
            self.jobs.insert(key, book);
            keys.push(key);
        }
        Ok(keys)
    }

    pub(super) fn remove(&mut self, key: JobKey) -> Option<JobBook> {
        self.jobs.remove(&key)
    }
}

impl JobBook {
    pub(super) fn object(&self, ended: Option<(JobOutcome, Timestamp)>) -> JobObject {
        JobObject {
            namespace: self.name.namespace.clone(),
            owner: self.owner.clone(),
            parent: None,
            condition: match ended {
                None => JobCondition::Active,
                Some((JobOutcome::Complete, _)) => JobCondition::Complete,
                Some((JobOutcome::Failed(_), _)) => JobCondition::Failed,
            },
            created: Some(self.created),
            finished: ended.map(|(_, at)| at),
        }
    }
}
