//! Against the real kernel: cgroups that these tests make for themselves, and remove.

// Helpers of tests are not in a #[test] themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod own_tree;
