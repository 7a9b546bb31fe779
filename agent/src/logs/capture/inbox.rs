//! What others ask of the capture thread, and what they may know of it without asking.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jobmeter_protocol::LogId;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::{Standings, lost::Lost};
use crate::logs::Outcome;

#[derive(Default)]
pub(super) struct Pending {
    /// At most one for each sealed log.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) standings: Option<Arc<dyn Standings>>,
    /// Answered when nothing of the pod waits any more; one for each caller.
    pub(super) awaited: Vec<(String, oneshot::Sender<()>)>,
    /// Something that the books know has changed.
    pub(super) woken: bool,
    pub(super) stop: bool,
    closed: bool,
}

pub(super) struct Inbox {
    pending: Mutex<Pending>,
    bell: EventFd,
    known: Mutex<Known>,
}

/// For the coordinator's questions.
#[derive(Default)]
pub(super) struct Known {
    /// With the sentence to answer, where it is held no more.
    pub(super) logs: BTreeMap<LogId, Option<String>>,
    pub(super) lost: Lost,
}

impl Inbox {
    pub(super) fn new() -> nix::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { pending: Mutex::default(), bell, known: Mutex::default() })
    }

    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }

    pub(super) fn put(&self, add: impl FnOnce(&mut Pending)) {
        let mut pending = self.lock();
        if pending.closed {
            return;
        }
        add(&mut pending);
        drop(pending);
        // Fails only when it has been rung 2⁶⁴ times without being heard.
        self.bell.write(1).unwrap_or_default();
    }

    pub(super) fn take(&self) -> Pending {
        // Silenced before looking: what is put meanwhile rings again.
        self.bell.read().unwrap_or_default();
        std::mem::take(&mut *self.lock())
    }

    /// Nobody will answer any more.
    pub(super) fn close(&self) {
        *self.lock() = Pending { closed: true, ..Pending::default() };
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
