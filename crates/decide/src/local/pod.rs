//! One pod: which of its containers run now. In: ends of containers, time, an order to stop. Out: steps, at last an outcome.

use jiff::Timestamp;
use jobmeter_protocol::ContainerKind;

use super::{Ending, Plan, PodFailure, PodKey, PodOutcome, Restart, RunKey, Settings, Step, after, earlier};

pub(super) struct Pod {
    pub(super) key: PodKey,
    pub(super) index: Option<u32>,
    pub(super) started: Timestamp,
    /// Of init and main containers; a sidecar's do not count against the job.
    pub(super) restarts: u32,
    deadline: Option<Timestamp>,
    containers: Vec<Container>,
    winding_down: Option<WindDown>,
}

struct Container {
    kind: ContainerKind,
    attempt: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running { told: Option<Ending> },
    Backoff { until: Timestamp },
    Ended { succeeded: bool },
}

/// The outcome is decided; what still runs is being ended.
struct WindDown {
    outcome: PodOutcome,
    kill_at: Timestamp,
}

impl Pod {
    pub(super) fn new(key: PodKey, index: Option<u32>, plan: &Plan, now: Timestamp) -> Self {
        let container = |kind: &ContainerKind| Container { kind: *kind, attempt: 0, state: State::Waiting };
        Self {
            key,
            index,
            started: now,
            restarts: 0,
            deadline: plan.pod_active_deadline.map(|deadline| after(now, deadline)),
            containers: plan.containers.iter().map(container).collect(),
            winding_down: None,
        }
    }

    /// Its outcome is decided.
    pub(super) fn is_ending(&self) -> bool {
        self.winding_down.is_some()
    }

    /// The first order to stop decides the outcome.
    pub(super) fn stop(&mut self, why: PodFailure, plan: &Plan, now: Timestamp) {
        self.wind_down(PodOutcome::Failed(why), plan, now);
    }

    pub(super) fn container_ended(
        &mut self,
        run: RunKey,
        succeeded: bool,
        plan: &Plan,
        settings: &Settings,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        let winding_down = self.winding_down.is_some();
        let Some(container) = self.containers.get_mut(run.container) else { return };
        if container.attempt != run.attempt || !matches!(container.state, State::Running { .. }) {
            return;
        }
        let again = container.kind == ContainerKind::Sidecar || (!succeeded && plan.restart == Restart::OnFailure);
        if winding_down || !again {
            container.state = State::Ended { succeeded };
            return;
        }
        let until = after(now, settings.backoff(container.attempt.saturating_add(1)));
        container.state = State::Backoff { until };
        if container.kind != ContainerKind::Sidecar {
            self.restarts += 1;
        }
        steps.push(Step::RetryAt { job: self.key.job, run: Some(run), at: until });
    }

    /// Brings the pod as far as it can go now; `Some` once nothing of it runs any more and nothing will.
    pub(super) fn advance(&mut self, plan: &Plan, now: Timestamp, steps: &mut Vec<Step>) -> Option<PodOutcome> {
        if self.winding_down.is_none() && self.deadline.is_some_and(|deadline| deadline <= now) {
            self.stop(PodFailure::DeadlineExceeded, plan, now);
        }
        if self.winding_down.is_none() {
            self.start_what_is_due(now, steps);
            if let Some(outcome) = self.verdict() {
                self.wind_down(outcome, plan, now);
            }
        }
        self.end_what_is_left(now, steps)
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let running = self.containers.iter().any(|c| matches!(c.state, State::Running { .. }));
        if let Some(down) = &self.winding_down {
            let told = |c: &Container| c.state == State::Running { told: Some(Ending::Kill) };
            return (running && !self.containers.iter().all(|c| told(c) || !matches!(c.state, State::Running { .. })))
                .then_some(down.kill_at);
        }
        let retry = self.containers.iter().filter_map(|c| match c.state {
            State::Backoff { until } => Some(until),
            _ => None,
        });
        earlier(self.deadline, retry.min())
    }

    fn start_what_is_due(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let key = self.key;
        let mut blocked = false;
        for (i, container) in self.containers.iter_mut().enumerate() {
            if blocked && container.state == State::Waiting {
                continue;
            }
            match container.state {
                State::Waiting => {}
                State::Backoff { until } if until <= now => container.attempt += 1,
                // An init container holds back everything after it until it has succeeded.
                _ => {
                    let passed = container.kind != ContainerKind::Init || container.state == State::Ended { succeeded: true };
                    blocked |= !passed;
                    continue;
                }
            }
            container.state = State::Running { told: None };
            blocked |= container.kind == ContainerKind::Init;
            steps.push(Step::StartContainer { run: RunKey { pod: key, container: i, attempt: container.attempt } });
        }
    }

    /// What the ends so far amount to; `None` while anything may still change it.
    fn verdict(&self) -> Option<PodOutcome> {
        let failed = |c: &Container| c.state == State::Ended { succeeded: false };
        let jobs = || self.containers.iter().filter(|c| c.kind != ContainerKind::Sidecar);
        if jobs().any(|c| c.kind == ContainerKind::Init && failed(c)) {
            return Some(PodOutcome::Failed(PodFailure::ContainerFailed));
        }
        if jobs().any(|c| !matches!(c.state, State::Ended { .. })) {
            return None;
        }
        let failed = jobs().any(failed);
        Some(if failed { PodOutcome::Failed(PodFailure::ContainerFailed) } else { PodOutcome::Succeeded })
    }

    fn wind_down(&mut self, outcome: PodOutcome, plan: &Plan, now: Timestamp) {
        if self.winding_down.is_some() {
            return;
        }
        for container in &mut self.containers {
            if matches!(container.state, State::Waiting | State::Backoff { .. }) {
                container.state = State::Ended { succeeded: false };
            }
        }
        self.winding_down = Some(WindDown { outcome, kill_at: after(now, plan.grace) });
    }

    /// Sidecars go last, as a kubelet does it.
    fn end_what_is_left(&mut self, now: Timestamp, steps: &mut Vec<Step>) -> Option<PodOutcome> {
        let down = self.winding_down.as_ref()?;
        let (outcome, kill) = (down.outcome, down.kill_at <= now);
        let jobs_run =
            self.containers.iter().any(|c| c.kind != ContainerKind::Sidecar && matches!(c.state, State::Running { .. }));
        let mut running = false;
        for (i, container) in self.containers.iter_mut().enumerate() {
            let State::Running { told } = container.state else { continue };
            running = true;
            let ending = if kill { Ending::Kill } else { Ending::Terminate };
            let its_turn = kill || !jobs_run || container.kind != ContainerKind::Sidecar;
            if its_turn && told < Some(ending) {
                container.state = State::Running { told: Some(ending) };
                let run = RunKey { pod: self.key, container: i, attempt: container.attempt };
                steps.push(Step::Signal { run, ending });
            }
        }
        (!running).then_some(outcome)
    }
}
