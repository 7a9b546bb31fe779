//! What people ask and pods post, until it is durable and can be answered.
//!
//! In: [`Request`]s. Out: observations, results to be stored, and an answer for each request. Owner: the runs task.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jobmeter_decide::runs::{Observation, Refusal, Report, Runs};
use jobmeter_protocol::runs::{NodeResult, Run};
use tokio::sync::oneshot;

use super::mirror::Mirror;
use super::view::Posted as Post;
use super::{ReportRefused, Request};

/// Questions that the plan has not answered yet; beyond it those go whose asker has left.
const ASKING: usize = 64;

#[derive(Default)]
pub(super) struct Requests {
    questions: u64,
    asking: HashMap<u64, oneshot::Sender<Result<Run, Refusal>>>,
    posted: Posted,
}

/// Of one turn.
#[derive(Default)]
pub(super) struct Posted {
    /// The latest of each node, by run and node.
    latest: BTreeMap<(String, String), NodeResult>,
    pub(super) results: Vec<(String, NodeResult)>,
    pub(super) answers: Vec<oneshot::Sender<Result<(), ReportRefused>>>,
}

impl Requests {
    pub(super) fn take(&mut self, request: Request, runs: &mut Runs, mirror: &Mirror, now: Timestamp) {
        match request {
            Request::Command { what, answer } => {
                if self.asking.len() > ASKING {
                    self.asking.retain(|_, asker| !asker.is_closed());
                }
                self.questions += 1;
                self.asking.insert(self.questions, answer);
                runs.observe(Observation::Asked { question: self.questions, what }, now);
            }
            Request::Report { run, node, attempt, what, answer } => {
                let is_known = mirror.node(&run, &node).is_some_and(|known| attempt <= known.attempt);
                if !is_known {
                    // Whoever posted may have left; so below.
                    drop(answer.send(Err(ReportRefused::Unknown { run, node })));
                    return;
                }
                let observation = |what| Observation::Reported { run: run.clone(), node: node.clone(), attempt, what };
                match what {
                    Post::Result(result) => {
                        runs.observe(observation(Report::Result), now);
                        self.result(run, node, *result, mirror);
                    }
                    Post::File { bytes } => runs.observe(observation(Report::File { bytes }), now),
                    Post::Event => runs.observe(observation(Report::Event), now),
                }
                self.posted.answers.push(answer);
            }
        }
    }

    /// A repeated one replaces the one before; one of an earlier attempt never replaces a later attempt's.
    fn result(&mut self, run: String, node: String, result: NodeResult, mirror: &Mirror) {
        let key = (run, node);
        let is_latest = match self.posted.latest.get(&key) {
            Some(before) => before.attempt <= result.attempt,
            None => mirror.takes_result(&key.0, &key.1, result.attempt),
        };
        if is_latest {
            self.posted.latest.insert(key, result);
        }
    }

    /// Since the turn before.
    pub(super) fn posted(&mut self) -> Posted {
        let mut posted = std::mem::take(&mut self.posted);
        posted.results = std::mem::take(&mut posted.latest).into_iter().map(|((run, _), result)| (run, result)).collect();
        posted
    }

    /// Once everything that they rest on is durable.
    pub(super) fn answer(
        &mut self,
        answers: Vec<(u64, Result<Run, Refusal>)>,
        reports: Vec<oneshot::Sender<Result<(), ReportRefused>>>,
    ) {
        for (question, answer) in answers {
            if let Some(asker) = self.asking.remove(&question) {
                drop(asker.send(answer));
            }
        }
        for reporter in reports {
            drop(reporter.send(Ok(())));
        }
    }
}
