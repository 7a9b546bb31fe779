//! Where records are kept: a file of this machine, or a PostgreSQL that several coordinators share.

use std::fmt;
use std::path::{Path, PathBuf};

use super::postgres::Address;

#[derive(Clone, Debug)]
pub enum Place {
    /// One coordinator at a time has it open.
    File(PathBuf),
    /// Any number of coordinators read, and the one that leads writes.
    Postgres(Address),
}

impl Place {
    pub fn file(path: &Path) -> Self {
        Self::File(path.to_owned())
    }

    /// A coordinator that does not lead can answer reads from it.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// Without user and password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(address) => address.fmt(f),
        }
    }
}
