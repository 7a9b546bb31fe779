//! Whether another coordinator leads: learned by the writer, asked by whoever is told that the store is closed.

use std::sync::{Arc, OnceLock};

use super::engine::EngineError;

/// Cheap to clone. Once it is up it stays so.
#[derive(Clone, Default)]
pub(super) struct Fence(Arc<OnceLock<Fenced>>);

/// Another coordinator leads now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// In whose name this one wrote.
    pub epoch: u64,
    pub found: u64,
}

impl Fence {
    pub(super) fn is_up(&self) -> bool {
        self.0.get().is_some()
    }

    pub(super) fn get(&self) -> Option<Fenced> {
        self.0.get().copied()
    }

    /// Takes notice of the error, and gives it back.
    pub(super) fn note(&self, error: EngineError) -> EngineError {
        if let EngineError::Fenced { epoch, found } = error {
            tracing::error!(epoch, found, "another coordinator leads now; this one writes no more");
            self.0.get_or_init(|| Fenced { epoch, found });
        }
        error
    }
}
