//! Remembers for a minute what the API server said of a token, by the token's hash.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tokio::time::Instant;

use super::{Agent, AuthError};

/// A token that was revoked works no longer than this.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// A refusal is remembered too, so that a broken agent does not become a load on the API server.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// More than one agent for each node of the largest cluster; about 1 MiB.
const MAX_ENTRIES: usize = 10_000;

pub(super) type Key = [u8; SHA256_OUTPUT_LEN];

#[derive(Default)]
pub(super) struct Cache {
    entries: Mutex<HashMap<Key, Entry>>,
}

struct Entry {
    until: Instant,
    verdict: Result<Agent, AuthError>,
}

pub(super) fn key(token: &str) -> Key {
    let mut key = [0; SHA256_OUTPUT_LEN];
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}

impl Cache {
    pub(super) fn get(&self, key: &Key) -> Option<Result<Agent, AuthError>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| entry.until > Instant::now()).map(|entry| entry.verdict.clone())
    }

    pub(super) fn put(&self, key: Key, verdict: Result<Agent, AuthError>) {
        let lasts = match &verdict {
            Ok(_) => GOOD_FOR,
            // It says nothing about the token.
            Err(AuthError::Unavailable { .. }) => return,
            Err(_) => REFUSED_FOR,
        };
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.until > now);
        }
        if entries.len() >= MAX_ENTRIES {
            // Somebody tries tokens: forget the refusals, keep the agents.
            entries.retain(|_, entry| entry.verdict.is_ok());
        }
        if entries.len() < MAX_ENTRIES {
            entries.insert(key, Entry { until: now + lasts, verdict });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_said_of_a_token_is_good_for_a_minute_and_a_refusal_for_less() {
        let cache = Cache::default();
        cache.put(key("good"), Ok(Agent { node: Some("a".into()) }));
        cache.put(key("bad"), Err(AuthError::NotBound));
        cache.put(key("later"), Err(AuthError::Unavailable { why: "no API server".into() }));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(cache.get(&key("good")).unwrap().is_ok());
        assert!(cache.get(&key("bad")).unwrap().is_err());
        assert_eq!(cache.get(&key("later")), None);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(cache.get(&key("good")).is_some());
        assert_eq!(cache.get(&key("bad")), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cache.get(&key("good")), None);
    }

    #[tokio::test]
    async fn guessing_tokens_does_not_push_out_the_agents() {
        let cache = Cache::default();
        cache.put(key("agent"), Ok(Agent { node: None }));
        for guess in 0..MAX_ENTRIES + 10 {
            cache.put(key(&guess.to_string()), Err(AuthError::NotBound));
        }
        assert!(cache.get(&key("agent")).is_some());
        assert!(cache.entries.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
