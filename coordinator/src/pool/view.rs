//! What people see of the pools while a task keeps them: [`PoolView`] asks, [`PoolDesk`] answers.
//!
//! In: the statuses that the keeper publishes. Out: the last of them without asking anybody, and details by question. Owner of the
//! desk: whoever keeps the pools, the pool task in a cluster and the local executor on one machine.

use std::sync::Arc;

use jobmeter_protocol::{PoolDetail, PoolStatus};
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that wait for the keeper: people ask one at a time.
const QUESTIONS: usize = 16;

/// In the order of names.
pub type Statuses = Arc<[PoolStatus]>;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct PoolView {
    statuses: watch::Receiver<Option<Statuses>>,
    questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
pub struct PoolDesk {
    statuses: watch::Sender<Option<Statuses>>,
    questions: mpsc::Receiver<Question>,
}

/// Who is in a pool, and who waits.
#[derive(Debug)]
pub struct Question {
    pub pool: String,
    /// Members and waiting ones each.
    pub limit: usize,
    /// `None`: there is no such pool.
    pub answer: oneshot::Sender<Option<PoolDetail>>,
}

/// Nobody keeps the pools here now: they were not counted yet, or this coordinator does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pools are not known here yet")]
pub struct Unknown;

impl PoolView {
    pub fn new() -> (Self, PoolDesk) {
        let (published, statuses) = watch::channel(None);
        let (asked, questions) = mpsc::channel(QUESTIONS);
        (Self { statuses, questions: asked }, PoolDesk { statuses: published, questions })
    }

    /// At most a tenth of a second old.
    pub fn pools(&self) -> Result<Statuses, Unknown> {
        self.statuses.borrow().clone().ok_or(Unknown)
    }

    pub async fn pool(&self, pool: &str, limit: usize) -> Result<Option<PoolDetail>, Unknown> {
        if !self.pools()?.iter().any(|status| status.name == pool) {
            return Ok(None);
        }
        let (answer, answered) = oneshot::channel();
        let question = Question { pool: pool.to_owned(), limit, answer };
        self.questions.send(question).await.map_err(|_| Unknown)?;
        answered.await.map_err(|_| Unknown)
    }
}

impl PoolDesk {
    pub fn publish(&self, statuses: Vec<PoolStatus>) {
        self.statuses.send_replace(Some(statuses.into()));
    }

    /// `None`: nobody can ask any more. Cancel-safe.
    pub async fn question(&mut self) -> Option<Question> {
        self.questions.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pools_that_nobody_keeps_are_unknown_and_not_empty() {
        let (view, desk) = PoolView::new();
        assert_eq!(view.pools(), Err(Unknown));
        assert_eq!(view.pool("gpu", 1).await, Err(Unknown));
        desk.publish(vec![]);
        assert_eq!(view.pools().unwrap().len(), 0);
        assert_eq!(view.pool("gpu", 1).await, Ok(None));
    }
}
