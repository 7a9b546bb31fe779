//! The effects of decisions. Only this room starts processes, and in a cluster only this room writes to Kubernetes.

pub mod call;
pub mod certificates;
pub mod lease;
pub mod local;
pub mod operator_token;
pub mod places;
pub mod run_pods;
