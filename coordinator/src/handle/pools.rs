//! Pools, for whoever holds the coordinator, and the desk of whoever keeps them.

use std::sync::PoisonError;

use jobmeter_protocol::PoolDetail;

use super::CoordinatorHandle;
use crate::pool::{PoolDesk, Statuses, Unknown};

impl CoordinatorHandle {
    /// In the order of names, a tenth of a second old at most.
    pub fn pools(&self) -> Result<Statuses, Unknown> {
        self.0.pools.pools()
    }

    /// `None`: there is no such pool. At most `limit` members and waiting ones each.
    pub async fn pool(&self, name: &str, limit: usize) -> Result<Option<PoolDetail>, Unknown> {
        self.0.pools.pool(name, limit).await
    }

    /// Says that there are none, as long as nobody keeps them.
    pub(crate) fn without_pools(&self) {
        if let Some(desk) = &*self.0.pool_desk.lock().unwrap_or_else(PoisonError::into_inner) {
            desk.publish(Vec::new());
        }
    }

    /// For the one who keeps the pools: the pool task of a cluster, or the executor of one machine. `None`: it was taken before.
    pub fn take_pool_desk(&self) -> Option<PoolDesk> {
        self.0.pool_desk.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
