//! Requests to the kernel thread. Bounded by what callers can have open: one entry a pod, one a waiting caller.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jobmeter_hostfs::cgroup::PodPlace;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::PodSnapshot;

#[derive(Debug)]
pub(super) enum Request {
    Read { pod_uid: String, answer: oneshot::Sender<Option<PodSnapshot>> },
    Locate { pod_uid: String, answer: oneshot::Sender<Option<PodPlace>> },
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) follow: HashMap<String, bool>,
    pub(super) requests: Vec<Request>,
    pub(super) stop: bool,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Inbox {
    pending: Mutex<Pending>,
    /// Readable while something is pending.
    bell: EventFd,
}

impl Inbox {
    pub(super) fn new() -> nix::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { pending: Mutex::default(), bell })
    }

    pub(super) fn bell(&self) -> &EventFd {
        &self.bell
    }

    pub(super) fn put(&self, add: impl FnOnce(&mut Pending)) {
        let mut pending = self.lock();
        if pending.closed {
            // Drops the caller's end of the answer, which tells it that the thread has ended.
            return;
        }
        add(&mut pending);
        drop(pending);
        self.ring();
    }

    pub(super) fn take(&self) -> Pending {
        // Silenced before looking: what is put meanwhile rings again. Fails only when it was silent.
        self.bell.read().unwrap_or_default();
        std::mem::take(&mut *self.lock())
    }

    /// Nobody will answer any more.
    pub(super) fn close(&self) {
        *self.lock() = Pending { closed: true, ..Pending::default() };
    }

    /// Fails only when the bell has been rung 2⁶⁴ times without being heard.
    fn ring(&self) {
        self.bell.write(1).unwrap_or_default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        // Nothing that holds the lock can leave it half-written.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
