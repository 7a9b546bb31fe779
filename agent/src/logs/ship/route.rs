//! Straight to the store, or through the coordinator.
//!
//! In: which puts went well, and which way. Out: the way of the next attempt. Where a network policy or a wrong clock keeps
//! this node from the store, the coordinator passes the bytes on; now and then one log tries the store itself. A store that is
//! away altogether changes nothing here: only an upload that got through where the direct way had failed does.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    Proxied,
}

#[derive(Debug, Default)]
pub(super) struct Route {
    /// Set while uploads pass through the coordinator: when one may try the store itself.
    direct_again: Mutex<Option<Instant>>,
}

/// The way of one log in one attempt.
#[derive(Debug)]
pub(super) struct LogRoute {
    proxied: AtomicBool,
    direct_failed: AtomicBool,
}

impl Route {
    pub(super) fn begin(&self, every: Duration) -> LogRoute {
        let mut direct_again = self.direct_again.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let proxied = match &mut *direct_again {
            None => false,
            Some(due) if *due <= now => {
                *due = now + every;
                false
            }
            Some(_) => true,
        };
        LogRoute { proxied: AtomicBool::new(proxied), direct_failed: AtomicBool::new(false) }
    }

    /// A piece arrived. Returns whether that changes the way of other logs.
    pub(super) fn arrived(&self, log: &LogRoute, way: Way, every: Duration) -> bool {
        let mut direct_again = self.direct_again.lock().unwrap_or_else(PoisonError::into_inner);
        match way {
            Way::Direct => direct_again.take().is_some(),
            Way::Proxied if direct_again.is_none() && log.direct_failed.load(Ordering::Relaxed) => {
                *direct_again = Some(Instant::now() + every);
                true
            }
            Way::Proxied => false,
        }
    }

    pub(super) fn is_proxied(&self) -> bool {
        self.direct_again.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl LogRoute {
    pub(super) fn way(&self) -> Way {
        if self.proxied.load(Ordering::Relaxed) { Way::Proxied } else { Way::Direct }
    }

    /// The rest of this attempt goes through the coordinator.
    pub(super) fn give_up_direct(&self) {
        self.direct_failed.store(true, Ordering::Relaxed);
        self.proxied.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn only_success_through_the_coordinator_turns_others_away_from_the_store() {
        let route = Route::default();
        let log = route.begin(MINUTE);
        log.give_up_direct();
        assert_eq!(log.way(), Way::Proxied);
        assert_eq!(route.begin(MINUTE).way(), Way::Direct, "the store may be away altogether");
        assert!(route.arrived(&log, Way::Proxied, MINUTE));
        assert_eq!(route.begin(MINUTE).way(), Way::Proxied);
        assert!(route.is_proxied());
    }

    #[tokio::test(start_paused = true)]
    async fn one_log_a_minute_tries_the_store_and_brings_the_others_back() {
        let route = Route::default();
        let log = route.begin(MINUTE);
        log.give_up_direct();
        assert!(route.arrived(&log, Way::Proxied, MINUTE));
        tokio::time::advance(MINUTE).await;
        let probe = route.begin(MINUTE);
        assert_eq!((probe.way(), route.begin(MINUTE).way()), (Way::Direct, Way::Proxied));
        assert!(route.arrived(&probe, Way::Direct, MINUTE));
        assert_eq!(route.begin(MINUTE).way(), Way::Direct);
    }
}
