//! The directory that a local run keeps everything in, and reading job files.
//!
//! | path | what |
//! |---|---|
//! | `jobmeter.db` | records, kept from run to run |
//! | `journal/` | what the agent has seen and the records do not hold yet |
//! | `logs/<namespace>_<pod>_<uid>/<container>/<attempt>.log` | output of the jobs |
//! | `token`, `address` | of the `jobmeter standalone` that runs here |

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
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
        fs::create_dir_all(path).with_context(|| format!("failed to create the data directory {}", path.display()))?;
        Ok(Self::at(path))
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
