//! The effects of decisions. Only this room starts processes, and in a cluster only this room writes to Kubernetes.

pub mod local;
