//! Who leads, as this replica knows it.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This process, with that epoch.
    Leading { epoch: u64 },
    /// Somebody else, or nobody.
    Following { leader: Option<Leader>, trouble: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// `<pod>_<uuid>`.
    pub holder: String,
    /// Where its API is; `None`: it did not say.
    pub address: Option<String>,
}

impl Standing {
    pub(crate) fn unknown() -> Self {
        Self::Following { leader: None, trouble: None }
    }

    pub fn leader(&self) -> Option<&Leader> {
        match self {
            Self::Leading { .. } => None,
            Self::Following { leader, .. } => leader.as_ref(),
        }
    }
}

/// For people: what a replica that does not lead waits for.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leading { epoch } => write!(f, "leading, epoch {epoch}"),
            Self::Following { leader: Some(leader), .. } => write!(f, "waiting for the Lease held by {}", leader.holder),
            Self::Following { leader: None, trouble: Some(why) } => write!(f, "waiting for the Lease: {why}"),
            Self::Following { leader: None, trouble: None } => f.write_str("waiting for the Lease, which nobody holds"),
        }
    }
}
