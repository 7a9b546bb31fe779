//! How the listeners do, all of them as one source.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use jobmeter_daemon::admin::{SourceBoard, SourceState};

pub(super) const SOURCE: &str = "callbacks";

pub(super) struct Board {
    sources: SourceBoard,
    /// Why not, of those that are not open.
    listeners: Mutex<BTreeMap<SocketAddr, Option<String>>>,
}

impl Board {
    pub(super) fn new(sources: SourceBoard) -> Self {
        sources.set_with_detail(SOURCE, SourceState::Active, "no port besides the coordinator's own");
        Self { sources, listeners: Mutex::default() }
    }

    pub(super) fn open(&self, address: SocketAddr) {
        self.set(address, None);
    }

    pub(super) fn failed(&self, address: SocketAddr, why: &impl ToString) {
        self.set(address, Some(why.to_string()));
    }

    fn set(&self, address: SocketAddr, why: Option<String>) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.insert(address, why);
        let joined = |parts: Vec<String>| parts.join(", ");
        let open = joined(listeners.iter().filter(|(_, why)| why.is_none()).map(|(address, _)| address.to_string()).collect());
        let failed: Vec<String> = listeners
            .iter()
            .filter_map(|(address, why)| Some(format!("cannot listen at {address}: {}", why.as_ref()?)))
            .collect();
        let state = match failed.is_empty() {
            true => SourceState::Active,
            false => SourceState::Failed { error: format!("{}; it is tried again", joined(failed)) },
        };
        self.sources.set_with_detail(SOURCE, state, format!("listening at {open}"));
    }
}
