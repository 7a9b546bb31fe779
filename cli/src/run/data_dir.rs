//! The directory that a local run keeps everything in, and reading job files.
//!
//! | path | what |
//! |---|---|
//! | `jobmeter.db` | records, kept from run to run |
//! | `journal/` | what the agent has seen and the records do not hold yet |
//! | `logs/<namespace>/<job>/<pod>.log` | output of the jobs, with a manifest beside each |
//! | `pods/<namespace>_<pod>_<uid>/<container>/<attempt>.log` | output of what runs, until it is stored |
//! | `spool/` | the same, held until it is stored |
//! | `token`, `address` | of the `jobmeter standalone` that runs here |

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jobmeter_jobfile::JobFile;

use crate::exit::Usage;

#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to create the data directory {}", path.display());
        // Its parents as usual; in it is what the jobs printed, which is for their owner alone.
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).with_context(failed)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made.with_context(failed)?,
        }
        let files = Self::at(path);
        // Whoever watches it wants it to be there.
        let pods = files.pods();
        fs::create_dir_all(&pods).with_context(|| format!("failed to create {}", pods.display()))?;
        Ok(files)
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.path.join("pods")
    }

    /// An earlier run was killed before its logs were stored.
    pub(crate) fn has_logs_of_pods(&self) -> bool {
        fs::read_dir(self.pods()).is_ok_and(|mut pods| pods.next().is_some())
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.path.join("token")
    }

    pub(crate) fn address(&self) -> PathBuf {
        self.path.join("address")
    }

    /// The token that submissions need: made once, for the owner's eyes only.
    pub(crate) fn ensure_token(&self) -> anyhow::Result<PathBuf> {
        let path = self.token();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(mut file) => {
                let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
                file.write_all(token.as_bytes()).with_context(|| format!("failed to write {}", path.display()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("failed to create {}", path.display())),
        }
        Ok(path)
    }
}

pub(crate) fn display_name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

/// `-` is standard input.
pub(crate) fn read_text(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|mut open| open.read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Usage(format!("failed to read {}: {error}", file.display())).into()),
    }
}

pub(crate) fn read_job_file(file: &Path) -> anyhow::Result<JobFile> {
    jobmeter_jobfile::read(&display_name(file), &read_text(file)?).map_err(|error| Usage(error.to_string()).into())
}
