//! The running tasks of a [`Supervisor`](super::Supervisor), by name. Owned by it alone.

use std::any::Any;
use std::collections::HashMap;
use std::pin::Pin;

use tokio::task::{Id, JoinSet};
use tracing::{Instrument, debug, error_span};

#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    running: HashMap<Id, (&'static str, Lifetime)>,
}

pub(super) struct Task {
    name: &'static str,
    lifetime: Lifetime,
    future: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Returning before the process stops is a failure.
    Process,
    /// Returning is how it ends.
    Finite,
}

pub(super) struct Ended {
    pub(super) name: &'static str,
    pub(super) lifetime: Lifetime,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Returned,
    Failed(anyhow::Error),
    Panicked(String),
}

impl Task {
    pub(super) fn new(
        name: &'static str,
        lifetime: Lifetime,
        future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Self {
        Self { name, lifetime, future: Box::pin(future) }
    }
}

impl Tasks {
    pub(super) fn start(&mut self, task: Task) {
        // An error span, so that the name of the task is there whatever the filter lets through.
        let span = error_span!("task", name = task.name);
        let handle = self.set.spawn(task.future.instrument(span));
        self.running.insert(handle.id(), (task.name, task.lifetime));
    }

    /// `None` when nothing runs. Cancel-safe.
    pub(super) async fn next_ended(&mut self) -> Option<Ended> {
        let (id, outcome) = match self.set.join_next_with_id().await? {
            Ok((id, Ok(()))) => (id, Outcome::Returned),
            Ok((id, Err(error))) => (id, Outcome::Failed(error)),
            Err(error) => (error.id(), Outcome::Panicked(error.try_into_panic().map_or("aborted".to_owned(), panic_message))),
        };
        let (name, lifetime) = self.running.remove(&id).unwrap_or(("unnamed", Lifetime::Process));
        debug!(task = name, "task ended");
        Some(Ended { name, lifetime, outcome })
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.running.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }
}

fn panic_message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().map_or("not a text", |message| *message).to_owned(),
    }
}
