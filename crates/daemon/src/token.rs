//! Bearer tokens: read from a file that the kubelet rotates, taken from a request, compared in constant time.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// Shown nowhere: `Debug` is redacted and there is no `Display`.
#[derive(Clone)]
pub struct Secret(Arc<str>);

/// A projected ServiceAccount token changes while the process runs: ask for [`TokenFile::current`] at each request.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    read: Mutex<Option<(Version, Secret)>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("failed to read the token {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the token {} is empty", path.display())]
    Empty { path: PathBuf },
}

/// Whatever differs when a file is replaced or written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes as long for a nearly right text as for a wrong one; only the length can be told. An empty secret matches nothing.
    pub fn matches(&self, presented: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(presented.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl TokenFile {
    /// Reads nothing yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::new(None) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Costs one `stat`, and a read of a small file when it changed: no need for a blocking thread.
    pub fn current(&self) -> Result<Secret, TokenError> {
        let failed = |source| TokenError::Read { path: self.path.clone(), source };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the read: a change in between is then noticed the next time.
        let version = Version::of(&fs::metadata(&self.path).map_err(failed)?);
        match &*read {
            Some((known, secret)) if *known == version => Ok(secret.clone()),
            _ => {
                let text = fs::read_to_string(&self.path).map_err(failed)?;
                if text.trim().is_empty() {
                    return Err(TokenError::Empty { path: self.path.clone() });
                }
                let secret = Secret::new(text.trim());
                *read = Some((version, secret.clone()));
                Ok(secret)
            }
        }
    }
}

impl Version {
    fn of(file: &fs::Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino(), size: file.size(), modified: (file.mtime(), file.mtime_nsec()) }
    }
}

/// The token of an `Authorization: Bearer …` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_rotated_token_is_read_anew() {
        // As the kubelet does it: the name is a link into a directory that is swapped by renaming another link over it.
        let volume = tempfile::tempdir().unwrap();
        let at = |name: &str| volume.path().join(name);
        for (directory, token) in [("1", "first\n"), ("2", "other\n")] {
            fs::create_dir(at(directory)).unwrap();
            fs::write(at(directory).join("token"), token).unwrap();
        }
        symlink("1", at("..data")).unwrap();
        symlink("..data/token", at("token")).unwrap();

        let file = TokenFile::new(at("token"));
        assert_eq!(file.current().unwrap().expose(), "first");
        symlink("2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(file.current().unwrap().expose(), "other");
    }

    #[test]
    fn an_empty_or_missing_token_is_an_error_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let file = TokenFile::new(&path);
        assert!(matches!(file.current(), Err(TokenError::Read { .. })));
        fs::write(&path, "\n").unwrap();
        assert!(file.current().unwrap_err().to_string().ends_with("token is empty"));
    }

    #[test]
    fn only_the_whole_secret_matches_and_it_is_never_shown() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches("s3cret"));
        assert!(!secret.matches("s3cre"));
        assert!(!secret.matches("S3cret"));
        assert!(!Secret::new("").matches(""));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn the_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        let of =
            |value: &str| bearer(&HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])).map(str::to_owned);
        assert_eq!(of("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(of("bearer  abc"), Some("abc".to_owned()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("Bearer "), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
