//! Waiting for a value, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Asks `probe` until it gives a value. On the deadline the last thing it said becomes the error.
pub fn eventually<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > deadline {
            return match last {
                Some(error) => Err(error).with_context(|| format!("waited {deadline:?} for {what}")),
                None => bail!("waited {deadline:?} for {what}"),
            };
        }
        thread::sleep(Duration::from_millis(100));
    }
}
