//! Batches out, verdicts in.

use std::{error::Error, io};

use futures::{FutureExt, StreamExt};
use jobmeter_decide::books::{Observation, Verdict as Ruling};
use jobmeter_protocol::{PodEvidence, ReportBatch, ReportReply, VERSION, Verdict, wire::MAX_BATCH_BYTES};
use tokio::time::Instant;

use super::{Keeper, State, inbox::Inbox, outbox::Sent, work::Done};
use crate::uplink::{Remedy, UplinkError};

/// Of a batch, without its reports.
const ENVELOPE: usize = 1_024;

impl Keeper {
    pub(super) fn send_due(&self, state: &mut State) {
        if state.outbox.due().is_some_and(|due| due <= Instant::now()) {
            self.send(state);
        }
    }

    fn send(&self, state: &mut State) {
        let mut room = MAX_BATCH_BYTES - ENVELOPE;
        let (mut sent, mut reports) = (Vec::new(), Vec::new());
        while sent.len() < state.outbox.size()
            && let Some(pod_uid) = state.outbox.next()
        {
            // Forgotten since it was queued: acknowledged, or not a job after all.
            let Some(outgoing) = self.books().evidence(&pod_uid) else { continue };
            let size = json_size(&outgoing.evidence) + 1;
            if size > room && !reports.is_empty() {
                state.outbox.put_back(pod_uid);
                break;
            }
            room = room.saturating_sub(size);
            sent.push(Sent { pod_uid, revision: outgoing.revision });
            reports.push(outgoing.evidence);
        }
        if reports.is_empty() {
            return;
        }
        state.outbox.sent();
        let batch = ReportBatch { version: VERSION, node: self.status.node.clone(), reports };
        let uplink = self.uplink.clone();
        state.work.push(async move { Done::Reported { sent, outcome: uplink.report(batch).await } }.boxed());
    }

    pub(super) async fn take_verdicts(
        &self,
        state: &mut State,
        sent: Vec<Sent>,
        outcome: Result<ReportReply, UplinkError>,
    ) -> anyhow::Result<()> {
        let outcome = outcome.and_then(|reply| match reply.verdicts.len() == sent.len() {
            true => Ok(reply.verdicts),
            false => Err(UplinkError::Answer(format!("{} verdicts for {} reports", reply.verdicts.len(), sent.len()).into())),
        });
        match outcome {
            Ok(verdicts) => {
                if state.outbox.failures > 0 {
                    tracing::info!(failures = state.outbox.failures, "coordinator takes reports again");
                }
                state.outbox.answered();
                for (report, verdict) in sent.into_iter().zip(verdicts) {
                    self.take_verdict(state, report, &verdict).await?;
                }
            }
            Err(err) => self.take_failure(state, sent, &err).await?,
        }
        Ok(())
    }

    async fn take_verdict(&self, state: &mut State, report: Sent, verdict: &Verdict) -> anyhow::Result<()> {
        let (word, ruling) = match verdict {
            Verdict::Accepted => ("accepted", Ruling::Kept),
            Verdict::Duplicate => ("duplicate", Ruling::Kept),
            Verdict::Rejected { why } => {
                tracing::error!(pod_uid = report.pod_uid, why, "coordinator rejected a report");
                ("rejected", Ruling::Rejected)
            }
        };
        self.metrics.reports.with_label_values(&[word]).inc();
        let closes = self.books().is_last(&report.pod_uid, report.revision);
        if closes && ruling == Ruling::Kept {
            self.show_ended(&report.pod_uid);
        }
        self.observe(state, &report.pod_uid, Observation::Acked { revision: report.revision, verdict: ruling }).await
    }

    async fn take_failure(&self, state: &mut State, sent: Vec<Sent>, err: &UplinkError) -> anyhow::Result<()> {
        self.metrics.uplink_failures.with_label_values(&["reports", err.cause()]).inc();
        let reports = sent.len();
        // One line when it begins; while it lasts the counter tells. A refusal does not go away by itself.
        if matches!(err, UplinkError::Refused { .. } | UplinkError::TooLarge) {
            tracing::error!(reports, error = err as &dyn Error, "coordinator refuses a batch of reports");
        } else if state.outbox.failures == 0 {
            tracing::warn!(reports, error = err as &dyn Error, "failed to report");
        } else {
            tracing::debug!(reports, error = err as &dyn Error, "failed to report again");
        }
        match err.remedy() {
            Remedy::Later(at_least) => state.outbox.failed(sent, at_least),
            Remedy::Smaller => {
                for report in state.outbox.refused(sent).err().into_iter().flatten() {
                    let why = err.to_string();
                    self.take_verdict(state, report, &Verdict::Rejected { why }).await?;
                }
            }
        }
        Ok(())
    }

    /// The process stops: what was seen goes to the disk, and what can still be sent is sent.
    pub(super) async fn drain(&self, mut state: State, mut inbox: Inbox) -> anyhow::Result<()> {
        self.take_kernel(&mut state, inbox.kernel_now()).await?;
        self.take_pods(&mut state, inbox.pods_now()).await?;
        self.write_journal(&mut state).await?;
        let durable = self.journal.write(Vec::new()).await?;
        if !matches!(durable.await, Ok(Ok(()))) {
            tracing::error!("what was learned last could not be written to the journal");
        }
        let deadline = Instant::now() + self.pace.drain;
        let last_words = async {
            while state.outbox.failures == 0 && (state.outbox.is_under_way() || !state.outbox.is_empty()) {
                if !state.outbox.is_under_way() {
                    self.send(&mut state);
                }
                let Some(done) = state.work.next().await else { return anyhow::Ok(()) };
                if matches!(done, Done::Reported { .. }) {
                    self.finish(&mut state, &mut inbox, done).await?;
                }
            }
            self.write_journal(&mut state).await
        };
        match tokio::time::timeout_at(deadline, last_words).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                tracing::info!("stopping with reports unsent, the journal has them");
                Ok(())
            }
        }
    }
}

/// Without making the text.
fn json_size(evidence: &PodEvidence) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, evidence) {
        Ok(()) => count.0,
        // It will fail again where the error is reported.
        Err(_unserialisable) => usize::MAX / 2,
    }
}
