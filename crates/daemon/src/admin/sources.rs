//! What a process measures or watches, and how well each of these sources does. Each source reports its own state;
//! `/status` reads the board. A change is one log line.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SourceState {
    Active,
    /// By configuration.
    Disabled,
    /// This machine does not have it.
    Unsupported,
    Failed {
        error: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    #[serde(flatten)]
    pub state: SourceState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Cheap to clone; all clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct SourceBoard {
    sources: watch::Sender<BTreeMap<&'static str, Source>>,
}

impl SourceBoard {
    /// Removes the detail of an earlier state.
    pub fn set(&self, name: &'static str, state: SourceState) {
        self.change(name, Source { state, detail: None });
    }

    pub fn set_with_detail(&self, name: &'static str, state: SourceState, detail: impl Into<String>) {
        self.change(name, Source { state, detail: Some(detail.into()) });
    }

    pub fn snapshot(&self) -> BTreeMap<&'static str, Source> {
        self.sources.borrow().clone()
    }

    fn change(&self, name: &'static str, source: Source) {
        let changed = self.sources.send_if_modified(|sources| {
            let changed = sources.get(name) != Some(&source);
            if changed {
                sources.insert(name, source.clone());
            }
            changed
        });
        if !changed {
            return;
        }
        let detail = source.detail.as_deref();
        match &source.state {
            SourceState::Active => info!(source = name, detail, "source active"),
            SourceState::Disabled => info!(source = name, detail, "source disabled"),
            SourceState::Unsupported => info!(source = name, detail, "source unsupported"),
            SourceState::Failed { error } => warn!(source = name, detail, error, "source failed"),
        }
    }
}
