//! A Job manifest, understood: what is to run, and by which rules.

use std::collections::BTreeMap;

use jobmeter_decide::local::Plan;
use jobmeter_protocol::{ContainerKind, Resources};

#[derive(Clone, Debug, PartialEq)]
pub struct LocalJob {
    pub name: JobName,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// How many pods, when again, when never again.
    pub plan: Plan,
    pub pod: PodTemplate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobName {
    Fixed(String),
    /// `metadata.generateName`: a suffix is added on submission.
    Generated {
        prefix: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodTemplate {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// In the order of [`Plan::containers`]: init containers first.
    pub containers: Vec<Container>,
    pub service_account: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub name: String,
    pub kind: ContainerKind,
    pub image: Option<String>,
    /// `command` and `args` in one, `$(VAR)` not expanded yet. Never empty.
    pub argv: Vec<String>,
    pub env: Vec<EnvVar>,
    pub working_dir: Option<String>,
    pub resources: Resources,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EnvVar {
    pub name: String,
    pub source: EnvSource,
}

#[derive(Clone, Debug, PartialEq)]
pub enum EnvSource {
    /// `$(VAR)` of variables before it is expanded.
    Value(String),
    PodName,
    PodNamespace,
    PodUid,
    PodLabel(String),
    PodAnnotation(String),
    NodeName,
    ServiceAccountName,
    /// Of pod and host alike: loopback.
    Address,
    Resource {
        of: Resources,
        field: ResourceField,
        divisor: u64,
    },
}

/// What `resourceFieldRef` asks for; the divisor is in millicores or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceField {
    CpuLimit,
    CpuRequest,
    MemoryLimit,
    MemoryRequest,
}
