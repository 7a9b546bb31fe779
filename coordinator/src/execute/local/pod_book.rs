//! A local pod as an API server would show it. Pure: events of its runs in, [`ApiPod`] out.

use jiff::Timestamp;
use jobmeter_decide::local::{PodFailure, PodOutcome, Restart};
use jobmeter_jobfile::{LocalJob, PodFacts};
use jobmeter_protocol::api_pod::{EarlierRun, OUTPUT_ANNOTATION, OUTPUT_PASSED_THROUGH};
use jobmeter_protocol::{ApiContainer, ApiPod, ExitStatus, OwnerRef, PodPhase, RestartPolicy};

use super::identity;
use super::{LocalOptions, Streams};

/// As the Job controller labels pods; people select by them.
const LABEL_JOB: &str = "batch.kubernetes.io/job-name";
const LABEL_UID: &str = "batch.kubernetes.io/controller-uid";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) struct PodBook {
    pub(super) api: ApiPod,
    pub(super) facts: PodFacts,
    /// A cgroup may be there.
    pub(super) has_run: bool,
    last_exit: Option<ExitStatus>,
    first_failure: Option<ExitStatus>,
}

impl PodBook {
    pub(super) fn new(spec: &LocalJob, job: &OwnerRef, index: Option<u32>, options: &LocalOptions, now: Timestamp) -> Self {
        let (uid, name) = (identity::uid(), identity::pod_name(&job.name, index));
        let (mut labels, mut annotations) = (spec.pod.labels.clone(), spec.pod.annotations.clone());
        labels.insert(LABEL_JOB.to_owned(), job.name.clone());
        labels.insert(LABEL_UID.to_owned(), job.uid.clone());
        if let Some(index) = index {
            labels.insert(INDEX.to_owned(), index.to_string());
            annotations.insert(INDEX.to_owned(), index.to_string());
        }
        match options.streams {
            Streams::Inherit => annotations.insert(OUTPUT_ANNOTATION.to_owned(), OUTPUT_PASSED_THROUGH.to_owned()),
            // Whatever a manifest says: it is kept.
            Streams::Log => annotations.remove(OUTPUT_ANNOTATION),
        };
        let facts = PodFacts {
            name: name.clone(),
            namespace: spec.namespace.clone(),
            uid: uid.clone(),
            labels: labels.clone(),
            annotations: annotations.clone(),
            node: options.node.clone(),
            service_account: spec.pod.service_account.clone(),
            completion_index: index,
            node_millicores: options.node_millicores,
            node_memory_bytes: options.node_memory_bytes,
        };
        let container = |container: &jobmeter_jobfile::Container| ApiContainer {
            name: container.name.clone(),
            kind: container.kind,
            image: container.image.clone(),
            image_id: None,
            container_id: None,
            restart_count: 0,
            resources: container.resources,
            started: None,
            finished: None,
            exit: None,
            reason: None,
            earlier: Vec::new(),
        };
        let api = ApiPod {
            uid,
            namespace: spec.namespace.clone(),
            name,
            // With its first container: a pod that is ended before that never was on a node.
            node: None,
            labels,
            annotations,
            owner: Some(job.clone()),
            restart_policy: match spec.plan.restart {
                Restart::Never => RestartPolicy::Never,
                Restart::OnFailure => RestartPolicy::OnFailure,
            },
            phase: PodPhase::Pending,
            reason: None,
            created: Some(now),
            scheduled: None,
            deletion_requested: None,
            containers: spec.pod.containers.iter().map(container).collect(),
        };
        Self { api, facts, has_run: false, last_exit: None, first_failure: None }
    }

    /// What its end is to be known by: the first failure, else the last end.
    pub(super) fn exit(&self) -> Option<ExitStatus> {
        self.first_failure.or(self.last_exit)
    }

    /// The run before it, where there was one, moves to `earlier`.
    pub(super) fn starting(&mut self, container: usize, attempt: u32, container_id: &str, now: Timestamp) {
        self.api.node.get_or_insert_with(|| self.facts.node.clone());
        self.api.scheduled.get_or_insert(now);
        self.has_run = true;
        let Some(api) = self.api.containers.get_mut(container) else { return };
        if let Some(ended) = api.container_id.take() {
            api.earlier.push(EarlierRun {
                container_id: ended,
                attempt: attempt.saturating_sub(1),
                started: api.started.take(),
                finished: api.finished.take(),
                exit: api.exit.take(),
                reason: api.reason.take(),
            });
        }
        api.restart_count = attempt;
        api.container_id = Some(container_id.to_owned());
    }

    pub(super) fn started(&mut self, container: usize, at: Timestamp) {
        self.api.phase = PodPhase::Running;
        if let Some(api) = self.api.containers.get_mut(container) {
            api.started = Some(at);
        }
    }

    pub(super) fn ended(&mut self, container: usize, started: Timestamp, ended: Timestamp, exit: ExitStatus, ran: bool) {
        self.last_exit = Some(exit);
        if exit.code != Some(0) {
            self.first_failure.get_or_insert(exit);
        }
        let Some(api) = self.api.containers.get_mut(container) else { return };
        api.started = Some(started);
        api.finished = Some(ended);
        api.exit = Some(exit);
        let reason = match (ran, exit.code) {
            (false, _) => "ContainerCannotRun",
            (true, Some(0)) => "Completed",
            (true, _) => "Error",
        };
        api.reason = Some(reason.to_owned());
    }

    pub(super) fn finished(&mut self, outcome: PodOutcome, now: Timestamp) {
        self.api.phase = match outcome {
            PodOutcome::Succeeded => PodPhase::Succeeded,
            PodOutcome::Failed(_) => PodPhase::Failed,
        };
        match outcome {
            PodOutcome::Failed(PodFailure::DeadlineExceeded) => self.api.reason = Some("DeadlineExceeded".to_owned()),
            // What the Job controller, or a person, does by deleting the pod.
            PodOutcome::Failed(PodFailure::JobFailed | PodFailure::Interrupted) => self.api.deletion_requested = Some(now),
            PodOutcome::Failed(PodFailure::ContainerFailed) | PodOutcome::Succeeded => {}
        }
    }
}
