//! Drives the controller with made-up containers: a script says how long each run takes and how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use jobmeter_protocol::ContainerKind::{self, Init, Main, Sidecar};
use jobmeter_protocol::PoolStatus;
use proptest::prelude::*;

use super::*;
use crate::pool::{Order, Requirements, Size, StartRate, WaitReason as Pooled};

mod pools;

const SECOND: Duration = Duration::from_secs(1);

/// What a run does when it is left alone, and what it makes of SIGTERM.
#[derive(Clone, Copy, Debug)]
struct Script {
    lasts: Duration,
    succeeds: bool,
    obeys: bool,
}

const OK: Script = Script { lasts: SECOND, succeeds: true, obeys: true };
const FAILS: Script = Script { lasts: SECOND, succeeds: false, obeys: true };
const ENDLESS: Script = Script { lasts: Duration::from_secs(1_000_000), succeeds: true, obeys: true };
const STUBBORN: Script = Script { obeys: false, ..ENDLESS };

struct World<'a> {
    controller: Controller,
    now: Timestamp,
    script: &'a dyn Fn(RunKey) -> Script,
    ends: BTreeMap<RunKey, (Timestamp, bool)>,
    log: Vec<(Duration, Step)>,
    running: BTreeSet<PodKey>,
    most: usize,
}

fn plan() -> Plan {
    Plan {
        completions: Some(1),
        parallelism: 1,
        indexed: false,
        backoff_limit: 6,
        active_deadline: None,
        pod_active_deadline: None,
        suspended: false,
        restart: Restart::Never,
        grace: 30 * SECOND,
        containers: vec![Main],
        pool: None,
        priority: 0,
        namespace: "default".to_owned(),
    }
}

impl<'a> World<'a> {
    fn new(pool: usize, script: &'a dyn Fn(RunKey) -> Script) -> Self {
        let settings = Settings { pool, backoff_base: SECOND, backoff_cap: 300 * SECOND };
        Self {
            controller: Controller::new(settings),
            now: Timestamp::UNIX_EPOCH,
            script,
            ends: BTreeMap::new(),
            log: Vec::new(),
            running: BTreeSet::new(),
            most: 0,
        }
    }

    fn observe(&mut self, observation: Observation) {
        let mut inbox = vec![observation];
        while let Some(observation) = inbox.pop() {
            for step in self.controller.observe(observation, self.now) {
                self.log.push((Duration::try_from(self.now.as_duration()).unwrap(), step.clone()));
                match step {
                    Step::StartPod { pod, .. } => {
                        assert!(self.running.insert(pod));
                        self.most = self.most.max(self.running.len());
                    }
                    Step::StartContainer { run } => {
                        let Script { lasts, succeeds, .. } = (self.script)(run);
                        assert!(self.ends.insert(run, (after(self.now, lasts), succeeds)).is_none());
                    }
                    Step::Signal { run, ending } => {
                        if ending == Ending::Kill || (self.script)(run).obeys {
                            self.ends.insert(run, (self.now, false));
                        }
                    }
                    Step::FinishPod { pod, .. } => {
                        assert!(self.running.remove(&pod));
                        assert!(!self.ends.keys().any(|run| run.pod == pod), "finished with a container running");
                        inbox.push(Observation::Settled { pod });
                    }
                    Step::RetryAt { .. } | Step::FinishJob { .. } => {}
                }
            }
        }
    }

    fn submit(&mut self, job: u64, plan: Plan) {
        self.observe(Observation::Submitted { job: JobKey(job), plan });
    }

    /// Lets time pass until `until`, or until nothing is left to happen.
    fn run_until(&mut self, until: Duration) {
        let until = after(Timestamp::UNIX_EPOCH, until);
        for _ in 0..100_000 {
            let end = self.ends.iter().map(|(run, (at, ok))| (*at, *run, *ok)).min();
            let next = earlier(end.map(|(at, ..)| at), self.controller.next_wake());
            let Some(next) = next.filter(|next| *next <= until) else { return };
            assert!(next >= self.now, "woken for the past");
            self.now = next;
            match end {
                Some((at, run, succeeded)) if at == next => {
                    self.ends.remove(&run);
                    self.observe(Observation::Ended { run, succeeded });
                }
                _ => self.observe(Observation::Woken),
            }
        }
        panic!("it goes on for ever");
    }

    fn run(&mut self) {
        self.run_until(Duration::from_secs(10_000_000));
    }

    fn starts(&self) -> Vec<(u64, u32, usize, u32)> {
        self.log
            .iter()
            .filter_map(|(at, step)| match step {
                Step::StartContainer { run } => Some((at.as_secs(), run.pod.serial, run.container, run.attempt)),
                _ => None,
            })
            .collect()
    }

    fn pod_ends(&self) -> Vec<PodOutcome> {
        let outcome = |(_, step): &(_, Step)| if let Step::FinishPod { outcome, .. } = step { Some(*outcome) } else { None };
        self.log.iter().filter_map(outcome).collect()
    }

    fn job_ends(&self) -> Vec<(u64, u64, JobOutcome)> {
        self.log
            .iter()
            .filter_map(|(at, step)| match step {
                Step::FinishJob { job, outcome } => Some((at.as_secs(), job.0, *outcome)),
                _ => None,
            })
            .collect()
    }
}

fn alone(plan: Plan, script: &dyn Fn(RunKey) -> Script) -> World<'_> {
    let mut world = World::new(8, script);
    world.submit(0, plan);
    world.run();
    world
}

const COMPLETE: JobOutcome = JobOutcome::Complete;
const BACKOFF: JobOutcome = JobOutcome::Failed(JobFailure::BackoffLimitExceeded);
const DEADLINE: JobOutcome = JobOutcome::Failed(JobFailure::DeadlineExceeded);

#[test]
fn six_completions_three_at_a_time_take_two_rounds() {
    let world = alone(Plan { completions: Some(6), parallelism: 3, ..plan() }, &|_| OK);
    assert_eq!(world.starts().iter().map(|start| start.0).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert_eq!(world.job_ends(), [(2, 0, COMPLETE)]);
}

#[test]
fn failed_pods_are_replaced_with_doubling_backoff_until_the_limit() {
    let world = alone(Plan { backoff_limit: 2, ..plan() }, &|_| FAILS);
    // Ends at 1, waits 1; ends at 3, waits 2; ends at 6: the third failure is beyond the limit.
    assert_eq!(world.starts(), [(0, 0, 0, 0), (2, 1, 0, 0), (5, 2, 0, 0)]);
    assert_eq!(world.job_ends(), [(6, 0, BACKOFF)]);
}

#[test]
fn a_limit_of_zero_means_one_attempt() {
    let world = alone(Plan { backoff_limit: 0, ..plan() }, &|_| FAILS);
    assert_eq!(world.starts().len(), 1);
    assert_eq!(world.job_ends(), [(1, 0, BACKOFF)]);
}

#[test]
fn on_failure_the_container_restarts_in_its_pod() {
    let plan = Plan { restart: Restart::OnFailure, backoff_limit: 3, ..plan() };
    let script = |run: RunKey| if run.attempt < 2 { FAILS } else { OK };
    let world = alone(plan, &script);
    assert_eq!(world.starts(), [(0, 0, 0, 0), (2, 0, 0, 1), (5, 0, 0, 2)]);
    assert_eq!(world.job_ends(), [(6, 0, COMPLETE)]);
}

#[test]
fn restarts_count_against_the_backoff_limit() {
    let world = alone(Plan { restart: Restart::OnFailure, backoff_limit: 1, ..plan() }, &|_| FAILS);
    assert_eq!(world.starts().len(), 2);
    assert_eq!(world.pod_ends(), [PodOutcome::Failed(PodFailure::JobFailed)]);
    assert_eq!(world.job_ends(), [(3, 0, BACKOFF)]);
}

#[test]
fn init_containers_go_in_order_and_main_ones_at_once() {
    let world = alone(Plan { containers: vec![Init, Init, Main, Main], ..plan() }, &|_| OK);
    assert_eq!(world.starts(), [(0, 0, 0, 0), (1, 0, 1, 0), (2, 0, 2, 0), (2, 0, 3, 0)]);
}

#[test]
fn a_failed_init_container_keeps_the_main_one_from_starting() {
    let plan = Plan { containers: vec![Init, Main], backoff_limit: 0, ..plan() };
    let world = alone(plan, &|_| FAILS);
    assert_eq!(world.starts(), [(0, 0, 0, 0)]);
    assert_eq!(world.pod_ends(), [PodOutcome::Failed(PodFailure::ContainerFailed)]);
}

#[test]
fn a_sidecar_runs_alongside_restarts_and_is_ended_last() {
    let script = |run: RunKey| match (run.container, run.attempt) {
        (0, 0) => FAILS,
        (0, _) => ENDLESS,
        _ => Script { lasts: 5 * SECOND, ..OK },
    };
    let world = alone(Plan { containers: vec![Sidecar, Init, Main], backoff_limit: 0, ..plan() }, &script);
    assert_eq!(world.starts(), [(0, 0, 0, 0), (0, 0, 1, 0), (2, 0, 0, 1), (5, 0, 2, 0)]);
    assert_eq!(world.job_ends(), [(10, 0, COMPLETE)]);
}

#[test]
fn one_failed_container_of_several_fails_the_pod_after_all_have_ended() {
    let script = |run: RunKey| if run.container == 0 { FAILS } else { Script { lasts: 9 * SECOND, ..OK } };
    let world = alone(Plan { containers: vec![Main, Main], backoff_limit: 0, ..plan() }, &script);
    assert_eq!(world.job_ends(), [(9, 0, BACKOFF)]);
}

#[test]
fn the_deadline_of_a_job_terminates_then_kills() {
    for (script, end) in [(ENDLESS, 60), (STUBBORN, 90)] {
        let script = move |_| script;
        let world = alone(Plan { active_deadline: Some(60 * SECOND), ..plan() }, &script);
        assert_eq!(world.pod_ends(), [PodOutcome::Failed(PodFailure::DeadlineExceeded)]);
        assert_eq!(world.job_ends(), [(end, 0, DEADLINE)]);
    }
}

#[test]
fn the_deadline_of_a_pod_is_a_failure_that_is_retried() {
    let script = |run: RunKey| if run.pod.serial == 0 { ENDLESS } else { OK };
    let world = alone(Plan { pod_active_deadline: Some(10 * SECOND), ..plan() }, &script);
    assert_eq!(world.pod_ends(), [PodOutcome::Failed(PodFailure::DeadlineExceeded), PodOutcome::Succeeded]);
    assert_eq!(world.job_ends(), [(12, 0, COMPLETE)]);
}

#[test]
fn a_job_that_fails_ends_its_other_pods() {
    let plan = Plan { completions: Some(2), parallelism: 2, backoff_limit: 0, ..plan() };
    let script = |run: RunKey| if run.pod.serial == 0 { FAILS } else { ENDLESS };
    let world = alone(plan, &script);
    let failed = |why| PodOutcome::Failed(why);
    assert_eq!(world.pod_ends(), [failed(PodFailure::ContainerFailed), failed(PodFailure::JobFailed)]);
    assert_eq!(world.job_ends(), [(1, 0, BACKOFF)]);
}

#[test]
fn an_indexed_job_gives_the_index_of_a_failed_pod_to_the_next() {
    let script = |run: RunKey| if run.pod.serial == 1 { FAILS } else { OK };
    let world = alone(Plan { completions: Some(3), parallelism: 1, indexed: true, ..plan() }, &script);
    let index = |(_, step): &(_, Step)| if let Step::StartPod { index, .. } = step { *index } else { None };
    assert_eq!(world.log.iter().filter_map(index).collect::<Vec<_>>(), [0, 1, 1, 2]);
}

#[test]
fn a_work_queue_starts_nothing_after_the_first_success_and_waits_for_the_rest() {
    let script = |run: RunKey| Script { lasts: SECOND * (run.pod.serial + 1), ..OK };
    let world = alone(Plan { completions: None, parallelism: 3, ..plan() }, &script);
    assert_eq!(world.starts().len(), 3);
    assert_eq!(world.job_ends(), [(3, 0, COMPLETE)]);
}

#[test]
fn the_pool_is_first_come_first_served_and_every_waiting_pod_says_why() {
    let mut world = World::new(3, &|_| OK);
    world.submit(0, Plan { completions: Some(5), parallelism: 2, ..plan() });
    world.submit(1, Plan { suspended: true, ..plan() });
    world.submit(2, Plan { completions: Some(2), parallelism: 2, ..plan() });
    let waiting = |job, pods, why| Waiting { job: JobKey(job), pods, why };
    assert_eq!(
        world.controller.waiting(world.now),
        [
            waiting(0, 3, WaitReason::ParallelismReached),
            waiting(1, 1, WaitReason::Suspended),
            waiting(2, 1, WaitReason::PoolFull)
        ]
    );
    world.run();
    assert_eq!(world.most, 3);
    assert_eq!(world.job_ends(), [(2, 2, COMPLETE), (3, 0, COMPLETE)]);
    assert!(world.controller.is_held(JobKey(1)) && !world.controller.is_held(JobKey(0)));
}

#[test]
fn a_job_in_backoff_leaves_its_place_to_the_next() {
    let script = |run: RunKey| if run.pod.job == JobKey(0) { FAILS } else { OK };
    let mut world = World::new(1, &script);
    world.submit(0, Plan { backoff_limit: 1, ..plan() });
    world.submit(1, plan());
    world.run_until(SECOND);
    let until = after(Timestamp::UNIX_EPOCH, 2 * SECOND);
    assert_eq!(world.controller.waiting(world.now), [Waiting { job: JobKey(0), pods: 1, why: WaitReason::BackoffUntil(until) }]);
    world.run();
    assert_eq!(world.job_ends(), [(2, 1, COMPLETE), (3, 0, BACKOFF)]);
}

#[test]
fn stopping_ends_what_runs_and_what_never_ran() {
    let mut world = World::new(1, &|_| ENDLESS);
    world.submit(0, plan());
    world.submit(1, plan());
    world.observe(Observation::Stopping);
    world.submit(2, plan());
    world.run();
    let interrupted = JobOutcome::Failed(JobFailure::Interrupted);
    assert_eq!(world.job_ends(), [(0, 1, interrupted), (0, 2, interrupted), (0, 0, interrupted)]);
    assert_eq!(world.pod_ends(), [PodOutcome::Failed(PodFailure::Interrupted)]);
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let some = |range: std::ops::Range<u64>| proptest::option::of(range.prop_map(Duration::from_secs));
    let kinds = proptest::collection::vec(prop_oneof![Just(Init), Just(Sidecar), Just(Main)], 0..4);
    let numbers = (proptest::option::of(0_u32..6), 1_u32..4, any::<bool>(), 0_u32..4);
    (numbers, some(0..20), some(1..20), any::<bool>(), 0_u64..5, kinds).prop_map(
        |((completions, parallelism, indexed, backoff_limit), active_deadline, pod_active_deadline, never, grace, mut kinds)| {
            kinds.push(Main);
            kinds.sort_by_key(|kind: &ContainerKind| *kind == Main);
            let restart = if never { Restart::Never } else { Restart::OnFailure };
            Plan {
                completions,
                parallelism,
                indexed: indexed && completions.is_some(),
                backoff_limit,
                active_deadline,
                pod_active_deadline,
                suspended: false,
                restart,
                grace: Duration::from_secs(grace),
                containers: kinds,
                ..plan()
            }
        },
    )
}

proptest! {
    #[test]
    fn never_more_than_the_pool_and_every_job_ends(
        plans in proptest::collection::vec(any_plan(), 1..8),
        pool in 1_usize..5,
        lasts in proptest::collection::vec((0_u64..8, any::<bool>(), any::<bool>()), 16),
        stop_at in proptest::option::of(0_u64..60),
    ) {
        let script = |run: RunKey| {
            let key = run.pod.job.0 as usize * 7 + run.pod.serial as usize * 3 + run.container * 5 + run.attempt as usize;
            let (seconds, succeeds, obeys) = lasts[key % lasts.len()];
            Script { lasts: Duration::from_secs(seconds), succeeds, obeys }
        };
        let jobs = plans.len();
        let mut world = World::new(pool, &script);
        for (key, plan) in plans.into_iter().enumerate() {
            world.submit(key as u64, plan);
        }
        if let Some(stop_at) = stop_at {
            world.run_until(Duration::from_secs(stop_at));
            world.observe(Observation::Stopping);
        }
        world.run();
        prop_assert!(world.most <= pool);
        prop_assert_eq!(world.job_ends().len(), jobs);
        prop_assert_eq!(world.controller.unfinished(), 0);
        prop_assert_eq!(world.controller.running(), 0);
        prop_assert!(world.controller.waiting(world.now).is_empty());
    }
}
