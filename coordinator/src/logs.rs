//! The logs of jobs: where each goes, what is known of it, and reading it.
