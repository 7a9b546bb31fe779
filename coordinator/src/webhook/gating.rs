//! Asks the API server once which way of holding back it has. Input: what is configured. Output: the choice, for the webhook and
//! for the pool, and a line at `/status`. A cluster that is upgraded past 1.27 changes its way with the coordinator's next start.

use std::time::Duration;

use jobmeter_daemon::admin::{SourceBoard, SourceState};
use jobmeter_daemon::supervise::Supervisor;
use jobmeter_decide::gating::{self, Choice, Wanted};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const GATING: &str = "gating";
const CALL: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// `None` until the API server has answered.
pub type Chosen = watch::Receiver<Option<Choice>>;

pub fn detect(wanted: Wanted, client: kube::Client, sources: SourceBoard, supervisor: &mut Supervisor) -> Chosen {
    let (chosen, choice) = watch::channel(None);
    match gating::configured(wanted) {
        Some(choice) => show(choice, &chosen, &sources),
        None => supervisor.spawn(GATING, ask(client, chosen, sources, supervisor.token())),
    }
    choice
}

async fn ask(
    client: kube::Client,
    chosen: watch::Sender<Option<Choice>>,
    sources: SourceBoard,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let version = tokio::select! {
            () = token.cancelled() => return Ok(()),
            version = tokio::time::timeout(CALL, client.apiserver_version()) => version,
        };
        let why = match version {
            Ok(Ok(version)) => {
                show(gating::by_version(&version.major, &version.minor), &chosen, &sources);
                token.cancelled().await;
                return Ok(());
            }
            Ok(Err(err)) => err.to_string(),
            Err(_) => format!("no answer within {CALL:?}"),
        };
        let error = format!("failed to ask the API server for its version, trying again: {why}");
        sources.set(GATING, SourceState::Failed { error });
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

fn show(choice: Choice, chosen: &watch::Sender<Option<Choice>>, sources: &SourceBoard) {
    sources.set_with_detail(GATING, SourceState::Active, choice.why.clone());
    chosen.send_replace(Some(choice));
}
