//! The local executor as a source of pods. It knows the chain of owners itself, and what it has not told of is not there.

use std::collections::HashSet;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Event, LocalEvent, Seen};

/// Ends with the token; an executor that has nothing more to tell does not end the process.
pub(crate) async fn run(
    mut events: mpsc::Receiver<LocalEvent>,
    world: mpsc::Sender<Event>,
    token: CancellationToken,
) -> anyhow::Result<()> {
    // Whatever an earlier process left open is over: its jobs ended with it.
    let mut next = Some(Event::PodsListed { namespace: None, pods: Vec::new(), present: HashSet::new() });
    let mut after = Some(Event::JobsListed { namespace: None, jobs: Vec::new() });
    loop {
        if let Some(event) = next.take().or_else(|| after.take()) {
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                sent = world.send(event) => if sent.is_err() { return Ok(()) },
            }
            continue;
        }
        // Cancel-safe per docs of `recv`.
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            event = events.recv() => match event {
                Some(event) => next = Some(translate(event)),
                None => { token.cancelled().await; return Ok(()) }
            },
        }
    }
}

fn translate(event: LocalEvent) -> Event {
    match event {
        LocalEvent::Applied { pod, owners } => Event::PodApplied(Seen { pod: Box::new(pod), owners: Some(owners) }),
        LocalEvent::Gone { pod_uid } => Event::PodGone { uid: pod_uid, last: None },
        LocalEvent::Job(job) => Event::JobApplied(job),
        LocalEvent::JobGone { uid } => Event::JobGone { uid, last: None },
    }
}
