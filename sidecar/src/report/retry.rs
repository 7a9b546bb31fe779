//! Tries again while the server is away or asks for time, and no longer than was asked for.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant};

use super::body::Body;
use super::post::{Client, Failure};
use super::secret::SecretUrl;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(8);

pub(super) fn send(
    client: &Client,
    url: &SecretUrl,
    content_type: &str,
    mut body: Body,
    retry_for: Duration,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut tries = 0;
    loop {
        let failure = match client.post(url, content_type, &mut body) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let asked = match &failure {
            Failure::Busy { retry_after, .. } => *retry_after,
            Failure::Unreachable { .. } => None,
            Failure::Read(_) | Failure::Refused { .. } => return Err(failure),
        };
        let pause = asked.unwrap_or_else(|| backoff(tries, random()));
        let left = retry_for.saturating_sub(began.elapsed());
        if pause > left || !body.can_be_sent_again() {
            return Err(failure);
        }
        thread::sleep(pause);
        tries += 1;
    }
}

/// Between half and all of a time that doubles: the pods of a run must not come back as one.
fn backoff(tries: u32, random: u64) -> Duration {
    let full = FIRST.saturating_mul(1 << tries.min(16)).min(LONGEST);
    full / 2 + full.mul_f64((random % 1024) as f64 / 2048.0)
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_eight_seconds_and_differ() {
        for (tries, full) in [(0, 250), (1, 500), (5, 8_000), (40, 8_000)] {
            assert_eq!(backoff(tries, 0), Duration::from_millis(full / 2));
            assert!(backoff(tries, 1023) < Duration::from_millis(full));
            assert!(backoff(tries, 1023) > Duration::from_millis(full * 99 / 100));
        }
    }
}
