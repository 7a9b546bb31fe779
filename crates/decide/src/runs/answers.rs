//! What became of the steps. Who got no answer asks again, later and later; each step may be done twice.

use jiff::{SignedDuration, Timestamp};
use jobmeter_protocol::runs::{NodeRun, NodeRunState};

use super::alarms::Alarm;
use super::attempt::Failure;
use super::flights::later;
use super::{Answer, Runs, StepKey};

/// An attempt whose pod was tried to be made so often, which takes some ten minutes, is given up.
const MOST_TRIES: u32 = 15;
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
        // Meanwhile its node may be over, or an attempt further.
        let its = |node: &NodeRun| matches!(step, StepKey::Create { name, .. } if *name == node.pod);
        let waits = |run: &str, name: &str| {
            let kept = self.book.get(run).filter(|kept| kept.unmade.contains(name));
            kept.and_then(|kept| kept.node(name)).is_some_and(its)
        };
        let waits = of.as_ref().is_some_and(|(run, name)| waits(run, name));
        match (answer, of) {
            (Answer::Made(pod), _) => {
                self.flights.came_to_something(step);
                self.pod(*pod, false, now);
            }
            (Answer::Refused { why }, Some((run, name))) => {
                self.flights.came_to_something(step);
                if waits {
                    self.fail(&run, &name, Failure::of(format!("its pod could not be made: {why}")), now);
                }
            }
            (answer, Some((run, name))) => {
                self.book.change(&run, |kept| kept.unsure_until = Some(later(now, SHOWN_WITHIN)));
                if !waits {
                    return self.flights.came_to_something(step);
                }
                let why = if let Answer::Unknown { why } = answer { why } else { "its answer says nothing".to_owned() };
                let why = format!("it is not known whether its pod was made: {why}");
                self.again(step, now);
                if self.flights.tries(step) >= MOST_TRIES {
                    self.flights.came_to_something(step);
                    self.fail(&run, &name, Failure::of(why), now);
                } else {
                    self.change_node(&run, &name, now, |node| node.why = Some(why));
                }
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
