//! The named pools of one machine: their file, read again while it changes, and what people ask about them. In: both. Out: what the
//! executor is to do about it, and answers. It decides nothing.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jobmeter_decide::local::{Controller, JobKey, Named, Names, PodKey};
use jobmeter_decide::pool::PoolSettings;

use super::job_book::JobBooks;
use super::pod_book::PodBook;
use crate::CoordinatorHandle;
use crate::pool::{PoolDesk, PoolsFile, Question};

/// Where pools come from and where they are shown.
#[derive(Default)]
pub struct LocalPools {
    /// `None`: nobody can ask.
    desk: Option<PoolDesk>,
    file: Option<PoolsFile>,
}

pub(super) enum News {
    Asked(Question),
    Changed(Vec<PoolSettings>),
}

/// What pods and jobs are called.
pub(super) struct Books<'a> {
    pub(super) node: &'a str,
    pub(super) jobs: &'a JobBooks,
    pub(super) pods: &'a HashMap<PodKey, PodBook>,
}

impl LocalPools {
    /// As the coordinator shows them. `file` was read before; it is looked at from now on. To be called within a tokio runtime.
    pub fn of(coordinator: &CoordinatorHandle, file: Option<PathBuf>) -> Self {
        let (sources, metrics) = (coordinator.admin().sources, coordinator.metrics());
        let file = file.map(|path| PoolsFile::new(path, true, sources, metrics.clone()));
        Self { desk: coordinator.take_pool_desk(), file }
    }

    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> News {
        let Self { desk, file } = self;
        let question = async {
            match desk {
                Some(desk) => desk.question().await,
                None => None,
            }
        };
        let changed = async {
            match file {
                Some(file) => file.next().await,
                None => std::future::pending().await,
            }
        };
        // Both are cancel-safe. Without anybody who could ask there is only the file.
        tokio::select! {
            Some(question) = question => News::Asked(question),
            pools = changed => News::Changed(pools),
        }
    }

    pub(super) fn publish(&self, controller: &Controller, now: Timestamp) {
        if let Some(desk) = &self.desk {
            desk.publish(controller.pools(now));
        }
    }
}

impl Names for Books<'_> {
    fn node(&self) -> &str {
        self.node
    }

    fn job(&self, job: JobKey) -> Option<Named> {
        let name = &self.jobs.get(job)?.name;
        Some(Named { name: name.name.clone(), uid: name.uid.clone() })
    }

    fn pod(&self, pod: PodKey) -> Option<Named> {
        let api = &self.pods.get(&pod)?.api;
        Some(Named { name: api.name.clone(), uid: api.uid.clone() })
    }
}
