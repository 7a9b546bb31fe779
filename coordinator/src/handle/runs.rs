//! Runs, for whoever holds the coordinator, and the desk of whoever keeps them.

use std::sync::PoisonError;
use std::time::Duration;

use jobmeter_decide::runs::{Command, Refusal};
use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, Run, RunDetail, RunQuery};

use super::CoordinatorHandle;
use crate::callbacks::Callbacks;
use crate::runs::view::Unknown;
use crate::runs::{RunsDesk, RunsView};
use crate::store::StoreError;

/// A database that is away holds up what is asked for; whoever asked is told so.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why something that was asked for is not done, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunCommandError {
    #[error(transparent)]
    Unknown(#[from] Unknown),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("what was asked for was not stored within {} s; it may be done still", PATIENCE.as_secs())]
    NoAnswer,
}

impl CoordinatorHandle {
    pub fn runs(&self) -> &RunsView {
        &self.0.runs
    }

    /// Of the store. Newest first.
    pub async fn stored_runs(&self, query: &RunQuery) -> Result<Page<Run>, StoreError> {
        self.timed(self.0.store.runs(query)).await
    }

    /// Of the store.
    pub async fn stored_run(&self, id: &str) -> Result<Option<RunDetail>, StoreError> {
        self.timed(self.0.store.run(id)).await
    }

    /// Of the store. `None`: there is no such run.
    pub async fn stored_run_results(&self, id: &str) -> Result<Option<Vec<NodeResult>>, StoreError> {
        self.timed(self.0.store.run_results(id)).await
    }

    pub fn run_definitions(&self) -> Result<Vec<DefinitionStatus>, Unknown> {
        Ok(self.0.runs.snapshot()?.definitions.clone())
    }

    /// Stored when it answers. The run that began, is being cancelled, or retries another.
    pub async fn command_runs(&self, what: Command) -> Result<Run, RunCommandError> {
        // Nobody answers before the runs are known, and nobody is to wait for that.
        self.0.runs.snapshot()?;
        let answer = tokio::time::timeout(PATIENCE, self.0.runs.command(what)).await.map_err(|_| RunCommandError::NoAnswer)?;
        Ok(answer??)
    }

    /// What pods of runs post.
    pub fn callbacks(&self) -> &Callbacks {
        &self.0.callbacks
    }

    /// For the one who keeps the runs. `None`: it was taken before.
    pub fn take_runs_desk(&self) -> Option<RunsDesk> {
        self.0.runs_desk.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
