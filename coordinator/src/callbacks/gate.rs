//! Who may post: a pod of a run that is kept, by the token of its node and attempt. Asked before any byte of a body is read.

use std::sync::Arc;

use jobmeter_protocol::runs::{NodeRun, RunSettings, StoredRun};

use crate::runs::{RunsSnapshot, RunsView};

/// As the path says.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) node: &'a str,
    pub(super) run: &'a str,
    pub(super) token: Option<&'a str>,
}

/// Small: many wait at a time, and a run as it was when each of them came would be as many copies of it.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    run: String,
    pub(super) settings: Arc<RunSettings>,
    pub(super) node: String,
    pub(super) attempt: u32,
    /// Of the node's latest attempt: what the name of an earlier one was, nobody knows any more.
    pub(super) pod: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GateError {
    #[error("the runs are not known here yet")]
    NotHere,
    /// batch-job-controller's words.
    #[error("node / execution ID not allowed")]
    NotAllowed,
    #[error("there is no run {run}, or it is not kept any more")]
    NoRun { run: String },
    #[error("node {node} is none of run {run}")]
    NoNode { run: String, node: String },
    #[error("the token in the URL is not one of node {node} in run {run}")]
    Token { run: String, node: String },
    #[error("the URL has no token of node {node} in run {run}")]
    NoToken { run: String, node: String },
}

/// Why not, and whether to say it in batch-job-controller's way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) error: GateError,
    pub(super) compatible: bool,
}

pub(super) fn admit(runs: &RunsView, token_required: bool, asked: Asked<'_>) -> Result<Admitted, Refused> {
    let (Some(key), Ok(snapshot)) = (runs.key(), runs.snapshot()) else {
        return Err(Refused { error: GateError::NotHere, compatible: false });
    };
    let (run, node) = (shortened(asked.run), shortened(asked.node));
    let Some(stored) = snapshot.runs.get(asked.run) else {
        return Err(unknown(any_compatible(&snapshot), GateError::NoRun { run }));
    };
    let compatible = stored.settings.compatible;
    let Some(known) = stored.nodes.get(asked.node).filter(|known| may_have_a_pod(known)) else {
        return Err(unknown(compatible, GateError::NoNode { run, node }));
    };
    let attempt = match asked.token {
        Some(token) => key.attempt(token, asked.run, asked.node, known.attempt).ok_or(GateError::Token { run, node }),
        None if token_required => Err(GateError::NoToken { run, node }),
        None => Ok(known.attempt),
    };
    let attempt = attempt.map_err(|error| Refused { error, compatible })?;
    let (run, settings, pod) = (asked.run.to_owned(), stored.settings.clone(), known.pod.clone());
    Ok(Admitted { run, settings, node: asked.node.to_owned(), attempt, pod })
}

impl Admitted {
    pub(super) fn compatible(&self) -> bool {
        self.settings.compatible
    }

    pub(super) fn id(&self) -> &str {
        &self.run
    }

    /// As it is now. `None`: the run was forgotten meanwhile.
    pub(super) fn now(&self, runs: &RunsView) -> Option<Arc<StoredRun>> {
        runs.snapshot().ok()?.runs.get(self.id()).cloned()
    }
}

/// A name that becomes part of a path is none that leads elsewhere, whatever the store says.
fn may_have_a_pod(node: &NodeRun) -> bool {
    !node.pod.is_empty() && !node.node.starts_with('.') && !node.node.contains(['/', '\0'])
}

/// A run that is not kept has no settings to ask.
fn any_compatible(snapshot: &RunsSnapshot) -> bool {
    snapshot.definitions.iter().any(|definition| definition.compatible)
        || snapshot.runs.values().any(|run| run.settings.compatible)
}

fn unknown(compatible: bool, error: GateError) -> Refused {
    Refused { error: if compatible { GateError::NotAllowed } else { error }, compatible }
}

/// What strangers send is told back, but not at any length.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
