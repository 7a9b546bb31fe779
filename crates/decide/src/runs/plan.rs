//! One plan: what is due, what is asked, which runs begin and end, and then the steps.

use jiff::Timestamp;
use jobmeter_protocol::runs::RunChange;

use super::alarms::Alarm;
use super::{Plan, Refusal, Runs, StepKey};

impl Runs {
    /// What to store, to do and to answer now. Of each step the answer must be observed.
    pub fn plan(&mut self, now: Timestamp) -> Plan {
        let questions = std::mem::take(&mut self.questions);
        if !self.is_ready() {
            let answers = questions.into_iter().map(|(question, _)| (question, Err(Refusal::NotReady))).collect();
            // Reports count already, and whoever posts them is told so.
            let mut changes = Vec::new();
            self.book.take_changes(&mut changes);
            return Plan { changes, answers, ..Plan::default() };
        }
        while let Some(alarm) = self.alarms.pop(now) {
            self.ring(alarm, now);
        }
        for name in std::mem::take(&mut self.look.definitions) {
            self.look_at_definition(&name, now);
        }
        let begun: Vec<_> = questions.into_iter().map(|(question, what)| (question, self.obey(what, now))).collect();
        loop {
            if std::mem::take(&mut self.look.newcomers) {
                self.look_at_newcomers(now);
            }
            for run in self.book.active() {
                self.look_at_run(&run, now);
            }
            if !self.look.newcomers {
                break;
            }
        }
        for name in std::mem::take(&mut self.look.history) {
            self.look_at_history(&name, now);
        }
        let steps = self.next_steps(now);
        let mut changes = Vec::new();
        self.book.take_changes(&mut changes);
        let memories = std::mem::take(&mut self.memories_changed);
        changes.extend(memories.iter().filter_map(|name| self.memories.get(name)).cloned().map(RunChange::Memory));
        let answer = |run: String| self.book.get(&run).map(|kept| kept.run.clone()).ok_or(Refusal::NoSuchRun { run });
        let answers = begun.into_iter().map(|(question, run)| (question, run.and_then(answer))).collect();
        Plan { changes, steps, answers }
    }

    fn ring(&mut self, alarm: Alarm, now: Timestamp) {
        match alarm {
            Alarm::Definition(name) => drop(self.look.definitions.insert(name)),
            Alarm::History(name) => drop(self.look.history.insert(name)),
            Alarm::Node { run, node } => self.look_at_node(&run, &node, now),
            Alarm::Doubt(uid) => self.lose_pod(&uid, now),
            Alarm::Step(StepKey::Delete { uid } | StepKey::Bind { uid }) => drop(self.look.pods.insert(uid)),
            // All active runs, what is to be made and what is to be forgotten are looked at with every plan.
            Alarm::Run(_) | Alarm::Step(StepKey::Create { .. } | StepKey::Forget { .. }) => {}
        }
    }
}
