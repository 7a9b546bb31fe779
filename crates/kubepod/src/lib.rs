//! A pod as the API server has it → [`jobmeter_protocol::ApiPod`], the part of it that accounting needs.
//!
//! Inputs: `k8s_openapi` objects. Outputs: `protocol` types. Used by the agent's watch (pods of its node) and by the
//! coordinator's (pods of the cluster), so that both read the same pod in the same way.

mod container;
pub mod pod;
pub mod quantity;
pub mod run;

pub use pod::{MapError, api_pod, kubelet_uid};
pub use quantity::{Quantity, QuantityError};
pub use run::is_run;
