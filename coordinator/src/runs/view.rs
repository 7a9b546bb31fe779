//! What others see of the runs, and how they ask: [`RunsView`] asks, [`RunsDesk`] answers.
//!
//! In: snapshots that the task publishes. Out: the last of them without asking anybody; questions and reports by message. Owner of
//! the desk: the runs task of the coordinator that leads.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jobmeter_decide::runs::{Command, Refusal};
use jobmeter_protocol::runs::{DefinitionStatus, NodeResult, Run, StoredRun};
use tokio::sync::{mpsc, oneshot, watch};

use super::TokenKey;

/// Questions and reports that wait for the task. Beyond it whoever posts waits.
const REQUESTS: usize = 256;

/// Everything that is kept, as it is stored.
#[derive(Clone, Debug, Default)]
pub struct RunsSnapshot {
    /// In the order of names.
    pub definitions: Vec<DefinitionStatus>,
    /// By ID.
    pub runs: BTreeMap<String, Arc<StoredRun>>,
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunsView {
    snapshot: watch::Receiver<Option<Arc<RunsSnapshot>>>,
    requests: mpsc::Sender<Request>,
    key: Arc<OnceLock<TokenKey>>,
}

#[derive(Debug)]
pub struct RunsDesk {
    snapshot: watch::Sender<Option<Arc<RunsSnapshot>>>,
    requests: mpsc::Receiver<Request>,
    key: Arc<OnceLock<TokenKey>>,
}

#[derive(Debug)]
pub enum Request {
    Command {
        what: Command,
        answer: oneshot::Sender<Result<Run, Refusal>>,
    },
    /// Answered once it is durable.
    Report {
        run: String,
        node: String,
        attempt: u32,
        what: Posted,
        answer: oneshot::Sender<Result<(), ReportRefused>>,
    },
}

/// What a pod posted, after it was taken in.
#[derive(Clone, Debug, PartialEq)]
pub enum Posted {
    Result(Box<NodeResult>),
    File { bytes: u64 },
    Event,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportRefused {
    #[error("there is no run {run} any more, or node {node} is not one of its nodes")]
    Unknown { run: String, node: String },
    #[error("the report could not be stored")]
    NotStored,
}

/// Nobody keeps the runs here now: nothing was read yet, this coordinator does not lead, or there is no cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runs are not known here yet")]
pub struct Unknown;

impl RunsView {
    pub fn new() -> (Self, RunsDesk) {
        let (published, snapshot) = watch::channel(None);
        let (asked, requests) = mpsc::channel(REQUESTS);
        let key = Arc::<OnceLock<TokenKey>>::default();
        (Self { snapshot, requests: asked, key: key.clone() }, RunsDesk { snapshot: published, requests, key })
    }

    /// What the tokens of callbacks are checked with; known once somebody keeps the runs.
    pub fn key(&self) -> Option<TokenKey> {
        self.key.get().cloned()
    }

    /// At most a tenth of a second old, and never older than an answer that was given.
    pub fn snapshot(&self) -> Result<Arc<RunsSnapshot>, Unknown> {
        self.snapshot.borrow().clone().ok_or(Unknown)
    }

    /// For whoever follows them, such as a listener for the ports that definitions name.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<RunsSnapshot>>> {
        self.snapshot.clone()
    }

    pub async fn command(&self, what: Command) -> Result<Result<Run, Refusal>, Unknown> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Command { what, answer }).await.map_err(|_| Unknown)?;
        answered.await.map_err(|_| Unknown)
    }

    pub async fn report(&self, run: &str, node: &str, attempt: u32, what: Posted) -> Result<Result<(), ReportRefused>, Unknown> {
        let (answer, answered) = oneshot::channel();
        let request = Request::Report { run: run.to_owned(), node: node.to_owned(), attempt, what, answer };
        self.requests.send(request).await.map_err(|_| Unknown)?;
        answered.await.map_err(|_| Unknown)
    }
}

impl RunsDesk {
    /// Once, before anything is published.
    pub fn set_key(&self, key: TokenKey) {
        self.key.get_or_init(|| key);
    }

    pub fn publish(&self, snapshot: RunsSnapshot) {
        self.snapshot.send_replace(Some(Arc::new(snapshot)));
    }

    /// `None`: nobody can ask any more. Cancel-safe.
    pub async fn request(&mut self) -> Option<Request> {
        self.requests.recv().await
    }

    /// One that is there already.
    pub(super) fn try_request(&mut self) -> Option<Request> {
        self.requests.try_recv().ok()
    }
}
