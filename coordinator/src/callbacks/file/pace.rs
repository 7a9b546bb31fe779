//! How slowly a body may come. Whoever is gone without a word, or trickles, does not keep a place that others wait for.

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Between two pieces of a body, and of all waiting that no bytes have paid for.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes that pay for a second of waiting.
const SLOWEST: u64 = 16 << 10;

#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly: no piece of it for {} s, or less than {SLOWEST} bytes a second", IDLE.as_secs())]
pub(in crate::callbacks) struct TooSlow;

/// Of one request. Time that the disk takes is nobody's fault and does not count.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// Waits for a piece.
    pub(super) async fn next<T>(&mut self, piece: impl Future<Output = T>) -> Result<T, TooSlow> {
        let paid = Duration::from_secs(self.bytes / SLOWEST) + IDLE;
        let began = Instant::now();
        let piece = timeout(paid.saturating_sub(self.waited).min(IDLE), piece).await.map_err(|_| TooSlow)?;
        self.waited += began.elapsed();
        Ok(piece)
    }

    pub(super) fn came(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_for_ever_is_given_up_and_a_slow_one_is_not() {
        let mut trickle = Pace::default();
        let mut seconds = 0;
        while trickle.next(tokio::time::sleep(Duration::from_secs(10))).await.is_ok() {
            trickle.came(1);
            seconds += 10;
            assert!(seconds < 120, "still waited for");
        }
        let mut slow = Pace::default();
        for _ in 0..1_000 {
            slow.next(tokio::time::sleep(Duration::from_secs(10))).await.unwrap();
            slow.came(200 << 10);
        }
        let silent = slow.next(std::future::pending::<()>()).await;
        assert!(silent.unwrap_err().to_string().contains("no piece of it for 60 s"));
    }
}
