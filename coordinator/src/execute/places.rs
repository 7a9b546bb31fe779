//! Writes places onto pods and Jobs and removes their gates: the only writes to other people's objects.
//!
//! In: a target and its place, by the ledger's steps. Out: an [`Answer`] that never claims more than is known. Owner: the pool task.

use futures::future::BoxFuture;
use jobmeter_decide::pool::{Answer, Member, Target};
use jobmeter_protocol::PoolSlot;

pub(super) mod failure;
mod kube;
mod patch;
mod surroundings;

pub use kube::KubePlaces;
pub use surroundings::Surroundings;

/// The API server, as the pool needs it. Every call ends within a few seconds.
pub trait Places: Send + Sync + 'static {
    fn reserve<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer>;
    fn release<'a>(&'a self, target: &'a Target, slot: &'a PoolSlot) -> BoxFuture<'a, Answer>;
    /// `Ok(None)`: it is gone, or there is another one of that name. `Err`: nobody knows; a sentence why.
    fn look<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Option<Member>, String>>;
}
