//! Manifests as people write them: what is understood, what is told, what is refused and where.

// Helpers of tests are not tests to clippy.
#![allow(clippy::unwrap_used)]

mod manifests;
mod never_panics;
mod problems;
