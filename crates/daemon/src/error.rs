//! An error on one line, for a person, a source's state, or a field that is stored.

use std::error::Error;

/// The error with its causes, each said once: many repeat the one below them.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn every_cause_is_told_and_none_twice() {
        let refused = Told("connection refused", None);
        let connect = Told("failed to connect: connection refused", Some(Box::new(refused)));
        assert_eq!(
            chain(&Told("failed to ask", Some(Box::new(connect)))),
            "failed to ask: failed to connect: connection refused"
        );
    }
}
