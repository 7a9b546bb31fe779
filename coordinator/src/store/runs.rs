//! What is kept of node runs: rows in, rows out. Each change may be stored twice.
//!
//! In: [`RunChange`]s of the runs task. Out: everything at the beginning of a term; runs, nodes and results for people. Owner: the
//! store's threads.

use jobmeter_protocol::Page;
use jobmeter_protocol::runs::{DefinitionMemory, NodeResult, Run, RunChange, RunDetail, RunQuery, StoredRun};

use super::{Store, StoreError, thread};

pub(super) mod apply;
pub(crate) mod query;
pub(super) mod read;
pub(super) mod schema;

pub use query::RunFilterError;

impl Store {
    /// All or nothing, durable when it answers. What is told of a run that is not there (any more) is left out.
    pub async fn apply_runs(&self, changes: Vec<RunChange>) -> Result<(), StoreError> {
        self.write(|reply| thread::Write::Runs { changes, reply }).await
    }

    /// Everything that is kept, for the beginning of a term; of results as many values as are held in memory, the newest runs' first.
    pub async fn stored_runs(&self) -> Result<(Vec<StoredRun>, Vec<DefinitionMemory>), StoreError> {
        self.read_for_task(|engine| engine.stored_runs()).await
    }

    /// Newest first.
    pub async fn runs(&self, query: &RunQuery) -> Result<Page<Run>, StoreError> {
        let select = query::RunSelect::new(query)?;
        self.read(move |engine| engine.run_page(&select)).await
    }

    pub async fn run(&self, id: &str) -> Result<Option<RunDetail>, StoreError> {
        let id = id.to_owned();
        self.read(move |engine| engine.run(&id)).await
    }

    /// `None`: there is no such run. In the order of nodes.
    pub async fn run_results(&self, id: &str) -> Result<Option<Vec<NodeResult>>, StoreError> {
        let id = id.to_owned();
        self.read(move |engine| engine.run_results(&id)).await
    }

    /// The secret of the tokens: the one that is stored, or `candidate`, which is stored then.
    pub async fn run_secret(&self, candidate: &[u8]) -> Result<Vec<u8>, StoreError> {
        let candidate = candidate.to_vec();
        self.write(|reply| thread::Write::RunSecret { candidate, reply }).await
    }
}
