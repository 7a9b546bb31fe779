//! Which store is in use now. Inputs: the configuration and the mounted Secret, looked at now and then. Output: a backend, or
//! why there is none. A changed Secret makes a new backend; calls that have begun end with the old one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jobmeter_daemon::admin::{SourceBoard, SourceState};

use super::directory::Directory;
use super::s3::S3;
use super::secret::{self, Fields, SecretError, Version};
use crate::config::objects::ObjectsConfig;

/// What is not older need not be looked at again: a few `stat` calls for each upload are still too many.
const LOOK: Duration = Duration::from_secs(5);
/// On the board of sources.
const SOURCE: &str = "object-store";

#[derive(Debug)]
pub(super) enum Backend {
    Directory(Directory),
    S3(S3),
}

#[derive(Debug)]
pub(super) struct Choice {
    config: ObjectsConfig,
    sources: SourceBoard,
    look: Duration,
    chosen: Mutex<Option<Chosen>>,
}

#[derive(Debug)]
struct Chosen {
    looked: Instant,
    version: Version,
    /// There has been a store: its Secret's disappearance is a fault, not a wish for the directory.
    had_store: bool,
    result: Result<Arc<Backend>, String>,
}

impl Choice {
    pub(super) fn new(config: ObjectsConfig, sources: SourceBoard, look: Option<Duration>) -> Self {
        Self { config, sources, look: look.unwrap_or(LOOK), chosen: Mutex::default() }
    }

    /// The backend to use for one call, or why there is none.
    pub(super) fn current(&self) -> Result<Arc<Backend>, String> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = chosen.as_ref()
            && known.looked.elapsed() < self.look
        {
            return known.result.clone();
        }
        // Before the fields are read: a change in between is then noticed the next time.
        let version = self.config.secret_dir.as_deref().map(secret::version).unwrap_or_default();
        let looked = Instant::now();
        match chosen.as_mut() {
            Some(known) if known.version == version => {
                known.looked = looked;
                known.result.clone()
            }
            _ => {
                let had_store = chosen.as_ref().is_some_and(|known| known.had_store);
                let result = self.choose(had_store);
                self.tell(&result);
                let had_store = had_store || matches!(result.as_deref(), Ok(Backend::S3(_)));
                *chosen = Some(Chosen { looked, version, had_store, result: result.clone() });
                result
            }
        }
    }

    fn choose(&self, had_store: bool) -> Result<Arc<Backend>, String> {
        let why = |err: SecretError| err.to_string();
        let fields = match &self.config.secret_dir {
            Some(directory) => Fields::read(directory).map_err(why)?,
            None => Fields::default(),
        };
        let prefix = self.config.prefix.clone();
        match fields.settings(&self.config.plain).map_err(why)? {
            Some(settings) => S3::new(settings, prefix).map(|store| Arc::new(Backend::S3(store))),
            None if had_store => {
                Err("the object store's Secret is gone; put it back, or restart to keep objects in the directory".to_owned())
            }
            None => Ok(Arc::new(Backend::Directory(Directory::new(self.config.directory.clone(), &prefix)))),
        }
    }

    fn tell(&self, result: &Result<Arc<Backend>, String>) {
        match result {
            Ok(backend) => self.sources.set_with_detail(SOURCE, SourceState::Active, backend.describe()),
            Err(error) => self.sources.set(SOURCE, SourceState::Failed { error: error.clone() }),
        }
    }
}

impl Backend {
    fn describe(&self) -> String {
        match self {
            Self::Directory(directory) => format!("the directory {}", directory.root().display()),
            Self::S3(store) => store.describe(),
        }
    }
}
