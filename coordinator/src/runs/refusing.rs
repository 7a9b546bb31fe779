//! Where there can be no runs: shows none, and refuses what is asked for, with the reason.

use jobmeter_decide::runs::{Command, Refusal};
use tokio_util::sync::CancellationToken;

use super::{ReportRefused, Request, RunsDesk, RunsSnapshot};

/// Why there are no runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Without {
    /// No definitions are configured, or there is no cluster.
    Definitions,
    SchedulingGates,
}

pub(super) const GATES: &str = "node runs need scheduling gates: Kubernetes 1.27, and `gating` must not be `suspend`";

impl Without {
    /// For a term. Ends once `token` is cancelled.
    pub(crate) async fn run(self, mut desk: RunsDesk, token: CancellationToken) -> anyhow::Result<()> {
        desk.publish(RunsSnapshot::default());
        loop {
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                Some(request) = desk.request() => self.refuse(request),
                // Nobody can ask any more.
                else => {
                    token.cancelled().await;
                    return Ok(());
                }
            }
        }
    }

    /// Whoever asked may have left.
    fn refuse(self, request: Request) {
        match request {
            Request::Command { what: Command::Start(start), answer } => drop(answer.send(Err(self.start(start.definition)))),
            Request::Command { what: Command::Cancel { run } | Command::Retry { run }, answer } => {
                drop(answer.send(Err(Refusal::NoSuchRun { run })));
            }
            Request::Report { run, node, answer, .. } => drop(answer.send(Err(ReportRefused::Unknown { run, node }))),
        }
    }

    fn start(self, definition: String) -> Refusal {
        match self {
            Self::Definitions => Refusal::NoSuchDefinition { name: definition, known: "none, none are configured".to_owned() },
            Self::SchedulingGates => Refusal::NoNodes { definition, why: GATES.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::RunsView;
    use jobmeter_protocol::runs::StartRun;

    async fn refused(without: Without) -> String {
        let (view, desk) = RunsView::new();
        let token = CancellationToken::new();
        let task = tokio::spawn(without.run(desk, token.clone()));
        let start = Command::Start(StartRun { definition: "inventory".to_owned(), nodes: vec![] });
        let refused = view.command(start).await.unwrap().unwrap_err();
        let unknown = view.command(Command::Cancel { run: "202611211930".to_owned() }).await.unwrap();
        assert_eq!(unknown, Err(Refusal::NoSuchRun { run: "202611211930".to_owned() }));
        assert_eq!(view.snapshot().unwrap().runs.len(), 0, "there are none, and that is known");
        token.cancel();
        task.await.unwrap().unwrap();
        refused.to_string()
    }

    #[tokio::test]
    async fn where_there_can_be_no_runs_a_question_is_answered_with_the_reason() {
        let why = refused(Without::SchedulingGates).await;
        assert!(why.contains("Kubernetes 1.27"), "{why}");
        let why = refused(Without::Definitions).await;
        assert!(why.contains("none are configured"), "{why}");
    }
}
