//! What became of the steps. Who got no answer asks again, later and later; each step may be done twice.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::NodeRunState;

use super::alarms::Alarm;
use super::attempt::Failure;
use super::flights::later;
use super::{Answer, Runs, StepKey};

/// After so long every list and watch shows a pod that was made.
pub(super) const SHOWN_WITHIN: SignedDuration = SignedDuration::from_secs(30);

impl Runs {
    pub(super) fn answered(&mut self, step: &StepKey, answer: Answer, now: Timestamp) {
        self.flights.land(step);
        match step {
            StepKey::Create { .. } => self.made(step, answer, now),
            StepKey::Delete { uid } => match answer {
                Answer::Done | Answer::Made(_) => {
                    self.flights.came_to_something(step);
                    self.pods.mark(uid, now, |pod| pod.deleting = true);
                    self.heed(uid, now);
                }
                Answer::Gone => self.lose_pod(uid, now),
                Answer::Refused { .. } | Answer::Unknown { .. } => self.again(step, now),
            },
            StepKey::Bind { uid } => match answer {
                Answer::Done | Answer::Made(_) => {
                    self.flights.came_to_something(step);
                    self.pods.mark(uid, now, |pod| pod.bound = Some(pod.node.clone()));
                }
                Answer::Gone => self.lose_pod(uid, now),
                Answer::Refused { why } => {
                    let node = self.pods.get(uid).map(|known| (known.pod.run.clone(), known.pod.node.clone()));
                    if let Some((run, name)) = node {
                        self.change_node(&run, &name, now, |node| {
                            if node.state == NodeRunState::Starting {
                                node.why = Some(format!("its pod could not be bound to the node: {why}"));
                            }
                        });
                    }
                    self.again(step, now);
                }
                Answer::Unknown { .. } => self.again(step, now),
            },
            StepKey::Forget { run } => match answer {
                Answer::Done | Answer::Gone | Answer::Made(_) => {
                    self.flights.came_to_something(step);
                    self.look.forget.remove(run);
                    self.book.forget(run);
                }
                Answer::Refused { .. } | Answer::Unknown { .. } => self.again(step, now),
            },
        }
    }

    fn made(&mut self, step: &StepKey, answer: Answer, now: Timestamp) {
        let of = self.makes.remove(step);
        if let Some((run, _)) = &of {
            self.book.change(run, |kept| kept.making = kept.making.saturating_sub(1));
        }
        match (answer, of) {
            (Answer::Made(pod), _) => {
                self.flights.came_to_something(step);
                self.pod(*pod, false, now);
            }
            (Answer::Refused { why }, Some((run, name))) => {
                self.flights.came_to_something(step);
                if self.book.get(&run).is_some_and(|kept| kept.unmade.contains(&name)) {
                    self.fail(&run, &name, Failure::of(format!("its pod could not be made: {why}")), now);
                }
            }
            (_, Some((run, _))) => {
                self.book.change(&run, |kept| kept.unsure_until = Some(later(now, SHOWN_WITHIN)));
                self.again(step, now);
            }
            (_, None) => {}
        }
    }

    /// Later.
    fn again(&mut self, step: &StepKey, now: Timestamp) {
        let at = self.flights.came_to_nothing(step, now);
        self.alarms.set(Alarm::Step(step.clone()), Some(at));
    }
}
