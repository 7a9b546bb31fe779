//! Does what the books decided. Dull on purpose.

use futures::FutureExt;
use jiff::Timestamp;
use jobmeter_decide::books::{Forgotten, Observation, Step};
use jobmeter_protocol::{Gap, PodEvidence};

use super::{
    FinalError, Keeper, State,
    inbox::Inbox,
    work::{Done, Purpose, looked},
};
use crate::{journal::Entry, sampler};

impl Keeper {
    pub(super) async fn perform(&self, state: &mut State, steps: Vec<Step>) -> anyhow::Result<()> {
        for step in steps {
            match step {
                Step::Journal(pod_uid) => {
                    state.to_forget.remove(&pod_uid);
                    state.to_journal.insert(pod_uid);
                }
                Step::Report(pod_uid) => state.outbox.add(pod_uid),
                Step::Follow { pod_uid, on } => {
                    if let Some(watch) = &self.watch {
                        watch.follow(&pod_uid, on);
                    }
                }
                Step::Sample { pod_uid, on: true } => self.start_sampling(pod_uid).await?,
                Step::Sample { pod_uid, on: false } => self.command(sampler::Command::Stop { pod_uid }).await?,
                Step::ReadPod(pod_uid) => self.look(state, pod_uid, Purpose::Books),
                Step::Identify(pod_uid) => self.identify(state, pod_uid),
                Step::SayUnknown(pod_uid) => {
                    state.unknown.insert(pod_uid);
                    state.hurry();
                }
                Step::Forget { pod_uid, why } => self.forget(state, pod_uid, why),
                Step::Idle(why) => tracing::trace!(?why, "nothing to do"),
            }
        }
        Ok(())
    }

    async fn start_sampling(&self, pod_uid: String) -> anyhow::Result<()> {
        let place = match &self.watch {
            Some(watch) => watch.locate(&pod_uid).await?,
            None => None,
        };
        let born = self.books().born(&pod_uid).unwrap_or_else(Timestamp::now);
        self.command(sampler::Command::Start { pod_uid, place, born }).await
    }

    /// The sampler takes commands between its rounds and never waits for the keeper.
    pub(super) async fn command(&self, command: sampler::Command) -> anyhow::Result<()> {
        self.sampler.send(command).await.map_err(|_closed| anyhow::anyhow!("the sampler ended"))
    }

    fn forget(&self, state: &mut State, pod_uid: String, why: Forgotten) {
        self.metrics.pods_closed.with_label_values(&[why.as_str()]).inc();
        if why == Forgotten::NoRoom {
            tracing::error!(pod_uid, "too much evidence waits for the coordinator, that of the oldest pod is given up");
        }
        state.outbox.remove(&pod_uid);
        state.to_journal.remove(&pod_uid);
        state.to_forget.insert(pod_uid);
    }

    /// A pod whose books are about to be closed goes on being shown for a while.
    pub(super) fn show_ended(&self, pod_uid: &str) {
        let now = Timestamp::now();
        let closing = {
            let books = self.books();
            books.evidence(pod_uid).map(|outgoing| (books.api(pod_uid).cloned(), outgoing.evidence))
        };
        let Some((api, evidence)) = closing else { return };
        if evidence.stage < jobmeter_protocol::Stage::Final {
            return;
        }
        for gap in &evidence.gaps {
            match gap {
                Gap::ContainerMissed { .. } => self.metrics.readings_missed.with_label_values(&["container"]).inc(),
                Gap::PodMissed { .. } => self.metrics.readings_missed.with_label_values(&["pod"]).inc(),
                Gap::Rebooted { .. } | Gap::Malformed { .. } | Gap::Unsupported { .. } => {}
            }
        }
        self.series.ended(api.as_ref(), &evidence, now);
    }

    pub(super) async fn write_journal(&self, state: &mut State) -> anyhow::Result<()> {
        let mut entries: Vec<Entry> = Vec::new();
        for pod_uid in std::mem::take(&mut state.to_journal) {
            let outgoing = self.books().evidence(&pod_uid);
            entries.extend(outgoing.map(|outgoing| Entry::Evidence { evidence: Box::new(outgoing.evidence) }));
        }
        let forgotten = std::mem::take(&mut state.to_forget);
        entries.extend(forgotten.into_iter().map(|pod_uid| Entry::Forgot { pod_uid }));
        if entries.is_empty() && state.finals.is_empty() {
            return Ok(());
        }
        let durable = self.journal.write(entries).await?;
        let finals = std::mem::take(&mut state.finals);
        if finals.is_empty() {
            return Ok(());
        }
        state.work.push(
            async move {
                let written = durable.await;
                for (evidence, reply) in finals {
                    let not_durable = || FinalError::NotDurable { pod_uid: evidence.pod_uid.clone() };
                    let answer = if matches!(written, Ok(Ok(()))) { Ok(evidence) } else { Err(not_durable()) };
                    // An executor that went away asked for nothing more.
                    drop(reply.send(answer));
                }
                Done::Answered
            }
            .boxed(),
        );
        Ok(())
    }

    pub(super) async fn finish(&self, state: &mut State, inbox: &mut Inbox, done: Done) -> anyhow::Result<()> {
        match done {
            Done::Looked { pod_uid, outcome, purpose } => {
                // The watcher handed over what it found before it answered, and the executor what it knew before it asked.
                self.take_kernel(state, inbox.kernel_now()).await?;
                self.take_pods(state, inbox.pods_now()).await?;
                let seen = outcome?.map_or(Observation::NotThere, |snapshot| looked(*snapshot, Timestamp::now()));
                self.observe(state, &pod_uid, seen).await?;
                if let Purpose::Final(reply) = purpose {
                    self.observe(state, &pod_uid, Observation::FinalAsked).await?;
                    self.answer_final(state, pod_uid, reply);
                }
                Ok(())
            }
            Done::Identified { pod_uid, identity } => self.observe(state, &pod_uid, Observation::Identified(identity)).await,
            Done::Reported { sent, outcome } => self.take_verdicts(state, sent, outcome).await,
            Done::Beaten { unknown, logs_unknown, outcome } => self.take_beat(state, unknown, logs_unknown, outcome).await,
            Done::Answered => Ok(()),
        }
    }

    fn answer_final(
        &self,
        state: &mut State,
        pod_uid: String,
        reply: tokio::sync::oneshot::Sender<Result<PodEvidence, FinalError>>,
    ) {
        match self.books().evidence(&pod_uid) {
            Some(outgoing) => {
                state.to_journal.insert(pod_uid);
                state.finals.push((outgoing.evidence, reply));
            }
            // An executor that went away asked for nothing more.
            None => drop(reply.send(Err(FinalError::NotMetered { pod_uid }))),
        }
    }
}
