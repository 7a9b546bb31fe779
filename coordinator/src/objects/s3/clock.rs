//! The store's clock, as its answers tell it. The SDK corrects the signatures of calls by itself; URLs that are signed in
//! advance are ours to correct.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::box_error::BoxError;

/// `Date` has whole seconds, and an answer travels: less is no difference.
const NOTABLE: i64 = 30;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct StoreClock(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    ahead_seconds: AtomicI64,
    any: AtomicBool,
}

impl StoreClock {
    /// Whether the store has told its time.
    pub(super) fn is_known(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// What the store's clock says while ours says `ours`.
    pub(super) fn at(&self, ours: SystemTime) -> SystemTime {
        let ahead = self.0.ahead_seconds.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { ours.checked_sub(by) } else { ours.checked_add(by) }.unwrap_or(ours)
    }

    fn hear(&self, date: &str, ours: SystemTime) {
        let Ok(theirs) = DateTime::from_str(date, DateTimeFormat::HttpDate) else { return };
        let ahead = theirs.secs() - DateTime::from(ours).secs();
        let ahead = if ahead.abs() < NOTABLE { 0 } else { ahead };
        let before = self.0.ahead_seconds.swap(ahead, Ordering::Relaxed);
        self.0.any.store(true, Ordering::Relaxed);
        if (ahead - before).abs() >= NOTABLE {
            tracing::warn!(ahead_seconds = ahead, "the clocks of object store and coordinator differ");
        }
    }
}

impl Intercept for StoreClock {
    fn name(&self) -> &'static str {
        "store-clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // What a cache answers is as old as the cache says.
        if let (Some(date), None) = (headers.get("date"), headers.get("age")) {
            self.hear(date, SystemTime::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_time_is_ours_and_what_it_is_ahead() {
        let clock = StoreClock::default();
        // 2026-11-21T12:00:00Z
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        assert!(!clock.is_known());
        for (date, seconds) in [
            ("Sat, 21 Nov 2026 12:00:20 GMT", 1_795_262_400),
            ("Sat, 21 Nov 2026 13:00:00 GMT", 1_795_266_000),
            ("Sat, 21 Nov 2026 11:00:00 GMT", 1_795_258_800),
            ("some day", 1_795_258_800),
        ] {
            clock.hear(date, ours);
            assert_eq!(clock.at(ours), SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), "{date}");
        }
        assert!(clock.is_known());
    }
}
