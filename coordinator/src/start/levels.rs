//! Levels that are read at scrape. A registry that outlives its coordinator has nothing to tell.

use prometheus::Registry;

use crate::handle::CoordinatorHandle;
use crate::metrics::levels::{self, Read, Samples};

pub(super) fn register(handle: &CoordinatorHandle, registry: &Registry) -> Result<(), prometheus::Error> {
    let level = |read: fn(&CoordinatorHandle) -> Samples| -> Read {
        let handle = handle.downgrade();
        Box::new(move || handle.upgrade().map(|handle| read(&handle)).unwrap_or_default())
    };
    let levels = vec![
        ("jobmeter_pods", level(|handle| one(handle.cluster_pods()))),
        ("jobmeter_pods_running", level(|handle| one(handle.node_counts().2))),
        ("jobmeter_coordinator_store_queue", level(|handle| one(handle.store().queued()))),
        ("jobmeter_coordinator_watchers", level(|handle| one(handle.watchers().count()))),
        (
            "jobmeter_nodes",
            level(|handle| {
                let (alive, silent, _) = handle.node_counts();
                vec![(vec!["alive"], alive as f64), (vec!["silent"], silent as f64)]
            }),
        ),
    ];
    levels::register(registry, levels)
}

fn one(value: usize) -> Samples {
    vec![(Vec::new(), value as f64)]
}
