//! The token in the URLs that a pod of a run is given. It says run, node and attempt, and nothing is kept of it: whoever has the key
//! can check it, also after a restart and for a pod that is gone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Bytes of the MAC that are used: 144 bits, 24 characters.
const BYTES: usize = 18;

/// Cheap to clone.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// `secret` is the store's, made once.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub fn token(&self, run: &str, node: &str, attempt: u32) -> String {
        let tag = hmac::sign(&self.0, &message(run, node, attempt));
        URL_SAFE_NO_PAD.encode(&tag.as_ref()[..BYTES])
    }

    /// Which attempt of that node the token is of, `up_to` at most.
    pub fn attempt(&self, token: &str, run: &str, node: &str, up_to: u32) -> Option<u32> {
        use subtle::ConstantTimeEq;
        // The last ones first: it is mostly one of these.
        (0..=up_to).rev().find(|attempt| bool::from(self.token(run, node, *attempt).as_bytes().ct_eq(token.as_bytes())))
    }
}

/// Neither a run's ID nor a node's name has a line feed.
fn message(run: &str, node: &str, attempt: u32) -> Vec<u8> {
    format!("jobmeter run report 1\n{run}\n{node}\n{attempt}").into_bytes()
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_run_one_node_and_one_attempt() {
        let key = TokenKey::new(b"secret");
        let token = key.token("202611211930", "node-a", 1);
        assert_eq!(token.len(), 24);
        assert_eq!(key.attempt(&token, "202611211930", "node-a", 3), Some(1));
        assert_eq!(key.attempt(&token, "202611211930", "node-a", 0), None, "an attempt that was not made yet");
        assert_eq!(key.attempt(&token, "202611211930", "node-b", 3), None);
        assert_eq!(key.attempt(&token, "202611211931", "node-a", 3), None);
        assert_eq!(TokenKey::new(b"other").attempt(&token, "202611211930", "node-a", 3), None);
        assert_eq!(key.attempt("", "202611211930", "node-a", 3), None);
    }
}
